package plugin_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/quarry-hn/quarry/plugin"
)

// modules are the committed ones. The second has to do without SIMD.
var modules = []struct {
	name     string
	features api.CoreFeatures
}{{"plugin.wasm", api.CoreFeaturesV2}, {"plugin-scalar.wasm", api.CoreFeaturesV2 &^ api.CoreFeatureSIMD}}

func TestModulesAreThoseRecorded(t *testing.T) {
	for _, m := range modules {
		wasm := read(t, m.name)
		if recorded, sum := strings.Fields(string(read(t, m.name+".sha256")))[0], fmt.Sprintf("%x", sha256.Sum256(wasm)); sum != recorded {
			t.Errorf("%s has sha256 %s; %s.sha256 says %s", m.name, sum, m.name, recorded)
		}
		if const5MB := 5_000_000; len(wasm) > const5MB {
			t.Errorf("%s has %d bytes; at most %d are allowed", m.name, len(wasm), const5MB)
		}
	}
	if recorded := strings.Fields(string(read(t, "plugin.wasm.sha256")))[0]; plugin.SHA256() != recorded {
		t.Errorf("embedded is %s; plugin.wasm.sha256 says %s", plugin.SHA256(), recorded)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFaces compares the modules' exports with exports.txt, and their imports with imports.txt.
func TestFaces(t *testing.T) {
	for _, row := range modules {
		r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(row.features))
		defer r.Close(t.Context())
		m, err := r.CompileModule(t.Context(), read(t, row.name))
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
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
}

// compareLines compares lines, in any order, with those of a file.
func compareLines(t *testing.T, file string, got []string) {
	t.Helper()
	want := string(read(t, file))
	slices.Sort(got)
	if lines := strings.Join(got, "\n") + "\n"; lines != want {
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
