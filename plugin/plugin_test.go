package plugin_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
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

// TestImportsGoOneWay asserts that nothing in plugin knows of host or lambda, and nothing in host of lambda.
func TestImportsGoOneWay(t *testing.T) {
	const module = "github.com/quarry-hn/quarry/"
	below := map[string][]string{".": {"host", "lambda"}, "../host": {"lambda"}}
	files := 0
	for root, forbidden := range below {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			// The module's own test may use a host; what it is made of may not.
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			files++
			for _, i := range f.Imports {
				for _, above := range forbidden {
					if imported := strings.Trim(i.Path.Value, `"`); imported == module+above || strings.HasPrefix(imported, module+above+"/") {
						t.Errorf("%s imports %s", path, imported)
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 20 {
		t.Errorf("only %d files were looked at", files)
	}
}
