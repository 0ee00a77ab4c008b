package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/pca"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// fitted returns a workspace of the sample, and a projection file fitted on it, by those flags.
func fitted(t *testing.T, flags string) (w workspace, file string) {
	t.Helper()
	w = workFolder(t, sample())
	w.mustRun(t, "fit ./data -o ./out/p.safetensors "+flags)
	return w, w.read(t, "out/p.safetensors")
}

// changed returns a projection file with something in it changed, valid or not.
func changed(file string, change func(*safetensors.File)) string {
	// The conversion copies the bytes, into which the parsed tensors point.
	f := must(safetensors.Parse([]byte(file), 1<<20))
	change(f)
	return string(must(safetensors.Marshal(f.Tensors, f.Metadata)))
}

// setValue sets the first value of a tensor.
func setValue(f *safetensors.File, name string, x float64) {
	tensor, ok := f.Tensor(name)
	switch {
	case !ok:
		panic("there is no tensor " + name)
	case tensor.DType == safetensors.F64:
		binary.LittleEndian.PutUint64(tensor.Data, math.Float64bits(x))
	default:
		binary.LittleEndian.PutUint32(tensor.Data, math.Float32bits(float32(x)))
	}
}

func TestProjectionsThatAreNotSound(t *testing.T) {
	t.Parallel()
	_, good := fitted(t, "")
	header := 8 + int(binary.LittleEndian.Uint64([]byte(good)))
	_, another := fitted(t, "--models b")
	// model is a projection of one model, which the folder lacks or has in another width.
	model := func(name string, width int) string {
		p := &pca.Projection{Models: []pca.Model{{Name: name, Width: width, Weight: 1}}, PCA: "none", FitOn: "docs", Normalize: true}
		return string(must(p.Marshal()))
	}
	const again = "make it again with quarry fit"
	rows := []struct {
		name, file string
		says       []string
	}{
		{"empty", "", []string{"p.safetensors", "cut off", again}},
		{"text", "this is a text, not a projection\n", []string{"p.safetensors", "not a projection file", again}},
		{"a .npy file", sample()["vectors/a/docs.npy"], []string{"p.safetensors", "not a projection file", again}},
		{"cut off in the length", good[:5], []string{"p.safetensors", "cut off: 5 bytes", again}},
		{"cut off after the length", good[:8], []string{"p.safetensors", "cut off: 0 bytes after the first 8", again}},
		{"cut off in the header", good[:header/2], []string{"p.safetensors", "cut off", again}},
		{"cut off after the header", good[:header], []string{"p.safetensors", "cut off", again}},
		{"cut off in the tensors", good[:header+(len(good)-header)/2], []string{"p.safetensors", "cut off", again}},
		{"the last byte is missing", good[:len(good)-1], []string{"p.safetensors", "cut off", again}},
		{"a byte follows", good + "x", []string{"p.safetensors", "1 bytes follow the last tensor", again}},
		{"a safetensors file of another kind", string(must(safetensors.Marshal(nil, map[string]string{"format": "pt"}))),
			[]string{"p.safetensors", `format is "pt"`, `"quarry.projection.v1"`, again}},
		{"a later format", changed(good, func(f *safetensors.File) { f.Metadata["format"] = "quarry.projection.v2" }), []string{`"quarry.projection.v2"`, `"quarry.projection.v1"`}},
		{"NaN in the mean", changed(good, func(f *safetensors.File) { setValue(f, "mean", math.NaN()) }), []string{"p.safetensors", "mean", "NaN", again}},
		{"infinite component", changed(good, func(f *safetensors.File) { setValue(f, "components", math.Inf(1)) }), []string{"p.safetensors", "components, row 0", "+Inf", again}},
		{"negative variance", changed(good, func(f *safetensors.File) { setValue(f, "variances", -1) }), []string{"p.safetensors", "variances, row 0", "-1", again}},
		{"no mean", changed(good, func(f *safetensors.File) { f.Tensors = f.Tensors[:1] }), []string{"p.safetensors", "0 mean values", again}},
		{"weight 0", changed(good, func(f *safetensors.File) { f.Metadata["models"] = `[{"name":"a","width":5,"weight":0}]` }), []string{"p.safetensors", "weight 0", again}},
		{"another width", model("a", 7), []string{"data/vectors/a/docs.npy", "2 columns", "the projection has 7", "fit it again"}},
		{"a model that is not there", model("mpnet", 7), []string{`"mpnet"`, "data/vectors/mpnet", "there are a, b", "fit"}},
	}
	// The file of a fit with --no-pca has no tensors. What it says of models is checked like the rows above.
	for _, command := range []string{"mine ./data -o ./out/n.jsonl", "transform ./data -o ./out"} {
		for _, row := range rows {
			t.Run(command[:4]+"/"+row.name, func(t *testing.T) {
				w := workFolder(t, sample())
				w.write(t, files{"p.safetensors": row.file})
				failure{line: command + " --engine native --projection ./p.safetensors", says: row.says}.run(t, w)
			})
		}
		t.Run(command[:4]+"/no such file", func(t *testing.T) {
			w := workFolder(t, sample())
			failure{line: command + " --engine native --projection ./nosuch.safetensors", says: []string{"nosuch.safetensors", "no such file", "quarry fit"}}.run(t, w)
		})
		t.Run(command[:4]+"/a folder", func(t *testing.T) {
			w := workFolder(t, sample())
			failure{line: command + " --engine native --projection ./data", says: []string{"data", "directory"}}.run(t, w)
		})
		// A projection of some of the folder's models is sound.
		t.Run(command[:4]+"/some of the models", func(t *testing.T) {
			w := workFolder(t, sample())
			w.write(t, files{"p.safetensors": another})
			w.mustRun(t, command+" --engine native --projection ./p.safetensors")
		})
	}
}

func TestProjectionAndFitFlagsExclude(t *testing.T) {
	t.Parallel()
	for flag, value := range map[string]string{"models": "=a", "no-normalize": "", "variance": "=0.9", "components": "=2", "no-pca": "", "fit-on": "=all", "no-center": "", "seed": "=1"} {
		t.Run(flag, func(t *testing.T) {
			w := workFolder(t, sample())
			w.mustRun(t, "fit ./data -o ./out/p.safetensors")
			failure{line: mineLine + " --projection ./out/p.safetensors --" + flag + value, code: exitUsage, says: []string{"--" + flag, "--projection"}}.run(t, w)
		})
	}
}

// TestFitOptions fits with each option, and looks for it in the projection.
func TestFitOptions(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	const all = "a:2:1 b:3:1"
	for _, row := range []struct {
		flags, models, pca, fitOn string
		normalize, center         bool
		components, rows          int
		seed                      uint64
	}{
		{"", all, "variance=0.95", "docs", true, true, -1, 8, 0},
		{"--variance 0.5", all, "variance=0.5", "docs", true, true, -1, 8, 0},
		{"--variance 1", all, "variance=1", "docs", true, true, 5, 8, 0},
		{"--components 2", all, "components=2", "docs", true, true, 2, 8, 0},
		{"--components 5", all, "components=5", "docs", true, true, 5, 8, 0},
		{"--no-pca", all, "none", "docs", true, false, 5, 0, 0},
		{"--no-normalize", all, "variance=0.95", "docs", false, true, -1, 8, 0},
		{"--no-center", all, "variance=0.95", "docs", true, false, -1, 8, 0},
		{"--fit-on all", all, "variance=0.95", "all", true, true, -1, 12, 0},
		{"--fit-on sample:6 --seed 18446744073709551615", all, "variance=0.95", "sample:6", true, true, -1, 6, math.MaxUint64},
		{"--fit-on sample:8", all, "variance=0.95", "sample:8", true, true, -1, 8, 0},
		{"--models b", "b:3:1", "variance=0.95", "docs", true, true, -1, 8, 0},
		{"--models b,a", "b:3:1 a:2:1", "variance=0.95", "docs", true, true, -1, 8, 0},
		{"--models b=0.25,a=2e3", "b:3:0.25 a:2:2000", "variance=0.95", "docs", true, true, -1, 8, 0},
		{"--threads 2", all, "variance=0.95", "docs", true, true, -1, 8, 0},
	} {
		t.Run(row.flags, func(t *testing.T) {
			w.mustRun(t, "fit ./data -o ./p.safetensors --force "+row.flags)
			p := must(projection.Load(w.path("p.safetensors")))
			models := ""
			for _, m := range p.Models {
				models += fmt.Sprintf(" %s:%d:%v", m.Name, m.Width, m.Weight)
			}
			if models != " "+row.models || p.PCA != row.pca || p.FitOn != row.fitOn || p.Normalize != row.normalize || p.Center != row.center || p.Seed != row.seed || p.Rows != row.rows {
				t.Errorf("models%s, pca %s, fit_on %s, normalize %v, center %v, seed %d, rows %d; expected %+v", models, p.PCA, p.FitOn, p.Normalize, p.Center, p.Seed, p.Rows, row)
			}
			if row.components >= 0 && p.Width() != row.components {
				t.Errorf("%d components, expected %d", p.Width(), row.components)
			}
			checkVariance(t, p)
		})
	}
}

// checkVariance fails unless the components reach the share of the variance that was asked for, and would not reach it
// without the last one.
func checkVariance(t *testing.T, p *projection.Projection) {
	t.Helper()
	var share, sum float64
	if n, _ := fmt.Sscanf(p.PCA, "variance=%g", &share); n != 1 {
		return
	}
	for _, v := range p.Variances {
		sum += v
	}
	// A share of 1 keeps all of the variance but rounding errors.
	if math.Abs(sum-p.CapturedVariance) > 1e-12 || sum < (share-1e-6)*p.TotalVariance {
		t.Errorf("%v of %v is captured (the components' sum is %v), %v was asked for", p.CapturedVariance, p.TotalVariance, sum, share)
	}
	if last := p.Variances[len(p.Variances)-1]; share < 1 && sum-last >= share*p.TotalVariance {
		t.Errorf("the last of %d components, of variance %v, is not needed for %v of %v", len(p.Variances), last, share, p.TotalVariance)
	}
}

// TestFitOptionsMatter: each option changes the file, and the number of threads does not. The same seed chooses the
// same sample.
func TestFitOptionsMatter(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	fingerprint := func(flags string) string {
		w.mustRun(t, "fit ./data -o ./p.safetensors --force "+flags)
		return w.read(t, "p.safetensors")
	}
	plain := fingerprint("")
	for _, same := range []string{"--threads 1", "--threads 3", "--models a,b", "--variance 0.95", "--fit-on docs", "--seed 0", "--zero skip"} {
		if fingerprint(same) != plain {
			t.Errorf("fit %s: the file differs from that of fit", same)
		}
	}
	seen := map[string]string{plain: ""}
	for _, other := range []string{"--no-normalize", "--no-center", "--no-pca", "--models b,a", "--models a=2,b", "--components 2", "--components 3", "--fit-on all",
		"--fit-on sample:5", "--fit-on sample:5 --seed 1", "--fit-on sample:5 --seed 2"} {
		file := fingerprint(other)
		if was, twice := seen[file]; twice {
			t.Errorf("fit %s: the file is that of fit %s", other, was)
		}
		seen[file] = other
		if fingerprint(other) != file {
			t.Errorf("fit %s: the second file differs from the first", other)
		}
	}
}
