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

// TestExports compares the module's exports with exports.txt, and what it imports with what docs/ABI.md allows.
func TestExports(t *testing.T) {
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	defer r.Close(t.Context())
	m, err := r.CompileModule(t.Context(), plugin.Wasm)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for name, f := range m.ExportedFunctions() {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s(%s) %s", name, types(f.ParamTypes()), types(f.ResultTypes()))))
	}
	slices.Sort(got)
	want, err := os.ReadFile("exports.txt")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Join(got, "\n") + "\n"; lines != string(want) {
		t.Errorf("the module exports\n%s\nexports.txt says\n%s", lines, want)
	}
	for _, f := range m.ImportedFunctions() {
		if module, name, _ := f.Import(); module != "wasi_snapshot_preview1" && module != "extism:host/env" {
			t.Errorf("it imports %s from %s", name, module)
		}
	}
}

func types(of []api.ValueType) string {
	var names []string
	for _, v := range of {
		names = append(names, api.ValueTypeName(v))
	}
	return strings.Join(names, ", ")
}
