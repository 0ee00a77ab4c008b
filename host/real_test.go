package host_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/engine"
)

// TestRealData mines the real sets with both engines, which must agree to the byte, and compares them with NumPy: identical in the canonical
// order, and with NumPy's own matrix product equal but for comparisons within 1e-12. With -short it is one set, and the vectors of one model.
func TestRealData(t *testing.T) {
	sets, fit := []string{"scifact", "cloud-docs"}, host.FitOptions{}
	if testing.Short() { // one set, and one model, whose covariance is decomposed in a moment
		sets, fit.Models = sets[:1], []host.Weight{{Model: "lsa", Weight: 1}}
	}
	for _, name := range sets {
		t.Run(name, func(t *testing.T) {
			f := realFolder(t, name)
			p, err := host.Fit(t.Context(), f, fit)
			if err != nil {
				t.Fatal(err)
			}
			var want []byte
			for _, e := range append(engine.Natives(engine.Options{}), wasm(t, engine.WasmOptions{})) {
				r, err := host.Mine(t.Context(), f, p, host.MineOptions{Compute: host.Compute{Engine: e}})
				if err != nil {
					t.Fatal(err)
				}
				got := written(t, r)
				if want != nil && !bytes.Equal(got, want) {
					t.Fatal("the engines differ")
				}
				want = got
			}
			interpreter := python(t, "numpy")
			dir := t.TempDir()
			projection, mined := filepath.Join(dir, "projection.safetensors"), filepath.Join(dir, "negatives.jsonl")
			if err := p.Save(projection, false); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(mined, want, 0o600); err != nil {
				t.Fatal(err)
			}
			data := os.Getenv("QUARRY_DATA")
			if data == "" {
				data = "../../shared/data"
			}
			out, err := exec.CommandContext(t.Context(), interpreter, filepath.Join(golden, "compare.py"), filepath.Join(data, name),
				"--projection", projection, "--negatives", mined).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			t.Logf("%s", out)
		})
	}
}
