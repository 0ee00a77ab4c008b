package plugin_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/quarry-hn/quarry/plugin"
)

func TestModuleIsTheOneRecorded(t *testing.T) {
	recorded, err := os.ReadFile("plugin.wasm.sha256")
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Fields(string(recorded))[0]; plugin.SHA256() != want {
		t.Errorf("plugin.wasm has sha256 %s; plugin.wasm.sha256 says %s", plugin.SHA256(), want)
	}
	if const5MB := 5_000_000; len(plugin.Wasm) > const5MB {
		t.Errorf("plugin.wasm has %d bytes; at most %d are allowed", len(plugin.Wasm), const5MB)
	}
}

// TestFace compares the module's exports with exports.txt, and its imports with imports.txt.
func TestFace(t *testing.T) {
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	defer r.Close(t.Context())
	m, err := r.CompileModule(t.Context(), plugin.Wasm)
	if err != nil {
		t.Fatal(err)
	}
	var exports, imports []string
	for name, f := range m.ExportedFunctions() {
		exports = append(exports, signature(name, f))
	}
	for _, f := range m.ImportedFunctions() {
		module, name, _ := f.Import()
		imports = append(imports, signature(module+" "+name, f))
	}
	compareLines(t, "exports.txt", exports)
	compareLines(t, "imports.txt", imports)
}

// compareLines compares lines, in any order, with those of a file.
func compareLines(t *testing.T, file string, got []string) {
	t.Helper()
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if lines := strings.Join(got, "\n") + "\n"; lines != string(want) {
		t.Errorf("the module has\n%s\n%s says\n%s", lines, file, want)
	}
}

func signature(name string, f api.FunctionDefinition) string {
	return strings.TrimSpace(fmt.Sprintf("%s(%s) %s", name, types(f.ParamTypes()), types(f.ResultTypes())))
}

func types(of []api.ValueType) string {
	var names []string
	for _, v := range of {
		names = append(names, api.ValueTypeName(v))
	}
	return strings.Join(names, ", ")
}
