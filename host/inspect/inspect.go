// Package inspect says what a file that quarry reads or writes holds, and whether it is sound.
//
// Input: a path, or a name in a file system; output: fields to show, and what is wrong. The command line's quarry inspect calls it.
package inspect

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/dataset/vectors"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/run"
	"github.com/quarry-hn/quarry/plugin"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/pca"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Inspection is what a file holds.
type Inspection struct {
	Kind     string   `json:"kind"` // "projection", "part", "negatives", "manifest", "vectors", "plugin", or "data" of a folder
	Fields   []Field  `json:"fields"`
	Problems []string `json:"problems"` // what is not sound; empty where the file is
}

// Field is one thing to know about a file.
type Field struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
}

func (i *Inspection) add(name string, value any) { i.Fields = append(i.Fields, Field{name, value}) }

func (i *Inspection) problem(format string, args ...any) {
	i.Problems = append(i.Problems, fmt.Sprintf(format, args...))
}

// found adds an error about an input to the problems. Any other comes back.
func (i *Inspection) found(err error) error {
	if e := (*dataset.Error)(nil); !errors.As(err, &e) {
		return err
	}
	i.problem("%v", err)
	return nil
}

// File tells what a file or a folder on disk holds that quarry reads or writes, and what of it is not sound. One that it cannot make
// out is an error. progress, which may be nil, is told how far the reading is of vectors that cannot be read in place.
func File(ctx context.Context, path string, progress option.Progress) (*Inspection, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, dataset.ReadError(path, err)
	}
	if info.IsDir() {
		return In(ctx, os.DirFS(path), path, ".", progress)
	}
	folder, name := filepath.Split(path)
	return In(ctx, os.DirFS(cmp.Or(folder, ".")), folder, name, progress)
}

// In is File of a name in a file system; "." is all of it. Its files can be read at an offset, as those of os.DirFS can. root is
// what messages call the file system's folder.
func In(ctx context.Context, fsys fs.FS, root, name string, progress option.Progress) (i *Inspection, err error) {
	at, watch := place{fsys, root, name}, dataset.Watch{Context: ctx, Progress: progress}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, dataset.ReadError(at.path(), err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		i = &Inspection{Problems: []string{}}
		return i, errors.Join(f.Close(), i.folder(watch, at))
	}
	start := make([]byte, 64)
	n, err := io.ReadFull(f, start)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, dataset.ReadError(at.path(), err)
	}
	start = start[:n]
	i = &Inspection{Problems: []string{}}
	switch {
	case bytes.HasPrefix(start, []byte("\x00asm")):
		return i, i.plugin(ctx, at)
	case len(start) > 8 && start[8] == '{':
		return i, i.safetensors(watch, at)
	case bytes.HasPrefix(start, []byte(`{"query_id"`)):
		return i, i.negatives(at)
	case bytes.HasPrefix(bytes.TrimSpace(start), []byte("{")) && !strings.HasSuffix(name, ".jsonl"):
		return i, i.manifest(at)
	case vectors.IsVectors(start, info.Size(), name):
		return i, i.vectors(watch, at)
	}
	return nil, &dataset.Error{Path: at.path(), Row: -1, Problem: "not a projection, part, negatives, manifest, .npy or plugin file"}
}

// place is where a file or a folder lies.
type place struct {
	fsys fs.FS
	root string // what messages call the file system's folder
	name string // in it
}

// path is what messages call the place.
func (p place) path() string { return dataset.PathIn(p.root, p.name) }

// beside is the place of another name.
func (p place) beside(name string) place { return place{p.fsys, p.root, name} }

// read reads a file.
func (p place) read() (file []byte, sum string, err error) {
	file, err = fs.ReadFile(p.fsys, p.name)
	if err != nil {
		return nil, "", dataset.ReadError(p.path(), err)
	}
	s := sha256.Sum256(file)
	return file, hex.EncodeToString(s[:]), nil
}

func (i *Inspection) safetensors(watch dataset.Watch, at place) error {
	file, sum, err := at.read()
	if err != nil {
		return err
	}
	i.add("sha256", sum)
	f, err := safetensors.Parse(file, abi.MaxHeader)
	if err != nil {
		i.Fields = nil
		if i.vectors(watch, at) == nil { // of a type that the plugin has not
			return nil
		}
		return &dataset.Error{Path: at.path(), Row: -1, Problem: excerpt.Text(err.Error()), Err: err}
	}
	switch format := f.Metadata["format"]; format {
	case pca.Format:
		return i.projection(file)
	case mine.PartFormat:
		i.Kind = "part"
		p, err := mine.ParsePart(file)
		if err != nil {
			i.problem("%v", excerpt.Error(err))
			return nil
		}
		i.add("pairs", len(p.SQPD))
		i.add("documents", p.Documents())
		i.add("ranges", len(p.Ranges))
		i.add("rule", p.Rule.Name)
		i.add("top", p.Top)
		i.add("projection", p.Projection)
		return nil
	default:
		if slices.ContainsFunc(f.Tensors, func(t safetensors.Tensor) bool { return len(t.Shape) == 2 }) {
			i.Fields = nil
			return i.vectors(watch, at)
		}
		return &dataset.Error{Path: at.path(), Row: -1, Problem: fmt.Sprintf("a safetensors file of format %s; projections are %q, parts %q", excerpt.Quote(format), pca.Format, mine.PartFormat)}
	}
}

func (i *Inspection) projection(file []byte) error {
	i.Kind = "projection"
	p, err := projection.Parse(file)
	if err != nil {
		i.problem("%v", err)
		return nil
	}
	for _, m := range p.Models {
		i.add("model", fmt.Sprintf("%s, %d columns, weight %v", m.Name, m.Width, m.Weight))
	}
	i.add("columns", p.Columns())
	i.add("components", p.Width())
	i.add("pca", p.PCA)
	i.add("normalize", p.Normalize)
	i.add("center", p.Center)
	i.add("fit_on", p.FitOn)
	i.add("seed", p.Seed)
	i.add("rows", p.Rows)
	i.add("total_variance", p.TotalVariance)
	i.add("captured_variance", p.CapturedVariance)
	i.add("data_sha256", p.DataSHA256)
	if p.Components == nil {
		return nil
	}
	i.add("captured_share", p.CapturedVariance/p.TotalVariance)
	// Components are stored in float32, so they are orthonormal but for rounding.
	d, worst := p.Columns(), 0.0
	row := func(c int) []float32 { return p.Components[c*d : (c+1)*d] }
	for a := range p.Width() {
		for b := range a + 1 {
			dot := kernel.Plain.Dot(row(a), row(b))
			if a == b {
				dot--
			}
			worst = max(worst, math.Abs(dot))
		}
	}
	i.add("orthonormal_within", worst)
	if worst > 1e-5 {
		i.problem("the components are not orthonormal: off by %.2g", worst)
	}
	for c := 1; c < p.Width(); c++ {
		if p.Variances[c] > p.Variances[c-1]*(1+1e-6) {
			i.problem("the variances are not descending at component %d", c)
			break
		}
	}
	return nil
}

func (i *Inspection) vectors(watch dataset.Watch, at place) error {
	i.Kind = "vectors"
	x, report, err := vectors.OpenFile(at.fsys, at.root, at.name, watch)
	if err != nil {
		return err
	}
	defer x.(io.Closer).Close()
	i.add("format", report.Format)
	i.add("told_by", report.Told)
	if report.Parts > 1 {
		i.add("parts", report.Parts)
	}
	if report.Column != "" {
		i.add("column", report.Column)
	}
	if report.ID != "" {
		i.add("ids", report.ID)
	}
	i.add("rows", x.Rows())
	i.add("columns", x.Width())
	i.add("dtype", string(x.DType()))
	// Fusing a row checks it as mining would.
	one := &pca.Projection{Models: []pca.Model{{Name: "vectors", Width: x.Width(), Weight: 1}}}
	dst := make([]float32, x.Width())
	zero, bad := 0, 0
	least, most := math.Inf(1), 0.0
	for r := range x.Rows() {
		if err := watch.Err(); err != nil {
			return err
		}
		raw, err := projection.ReadRaw([]dataset.Matrix{x}, r, 1)
		if err != nil {
			return err
		}
		skip, err := one.Fuse(dst, raw, 1, pca.ZeroSkip, func(string) string { return "vectors" })
		switch {
		case err != nil:
			if bad++; bad == 1 {
				i.problem("row %d (the first is 0): %v", r, abi.AsError(err).Message)
			}
		case skip != nil:
			if zero++; zero == 1 {
				i.problem("row %d (the first is 0): the vector is zero", r)
			}
		default:
			norm := kernel.Norm(kernel.Plain, dst)
			least, most = min(least, norm), max(most, norm)
		}
	}
	if x.Rows() == 0 {
		i.problem("there are no rows")
	}
	i.add("zero_rows", zero)
	i.add("non_finite_rows", bad)
	if most > 0 {
		i.add("norms", fmt.Sprintf("%.6g to %.6g", least, most))
	}
	return nil
}

// folder tells how the texts, ids, judgements and vectors of a data folder are read, and what of them mining would refuse before it
// computes anything; or it tells what a folder of parts holds.
func (i *Inspection) folder(watch dataset.Watch, at place) (err error) {
	fsys, err := fs.Sub(at.fsys, at.name)
	if err != nil {
		return dataset.ReadError(at.path(), err)
	}
	_, noVectors := fs.Stat(fsys, "vectors")
	if _, noQrels := fs.Stat(fsys, "qrels"); noVectors != nil && noQrels != nil {
		return i.vectors(watch, at)
	}
	i.Kind = "data"
	data, err := beir.OpenFS(fsys, at.path())
	if err != nil {
		return i.found(err)
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	texts, err := beir.Explain(fsys, data)
	if err != nil {
		return err
	}
	for _, f := range texts {
		i.add(f.Name, f.Is)
	}
	var problems []error
	for _, model := range data.Models {
		for _, side := range []string{"docs", "queries"} {
			if report, err := vectors.New(fsys, at.path(), side, data.Models).Explain(model); err == nil { // else CheckVectors fails too
				i.add(model+" "+side, report.String())
			}
		}
		problems = append(problems, data.CheckVectors(model, watch)...)
	}
	for _, err := range append(problems, mining.CheckJudgements(data)...) {
		if err := i.found(err); err != nil {
			return err
		}
	}
	return nil
}

func (i *Inspection) negatives(at place) error {
	i.Kind = "negatives"
	file, sum, err := at.read()
	if err != nil {
		return err
	}
	i.add("sha256", sum)
	pairs, err := negatives.Read(bytes.NewReader(file), at.path())
	if err != nil {
		i.problem("%v", err)
		return nil
	}
	with, total := 0, 0
	for _, p := range pairs {
		total += len(p.Negatives)
		if len(p.Negatives) > 0 {
			with++
		}
	}
	i.add("pairs", len(pairs))
	i.add("pairs_with_negatives", with)
	i.add("negatives", total)
	manifest := at.beside(run.OutputsBeside(at.name, false, false).Manifest)
	switch m, err := manifest.readManifest(); {
	case err == nil:
		i.add("manifest", manifest.name)
		if m.Negatives != sum {
			i.problem("%s names other negatives: %s", manifest.name, excerpt.Text(m.Negatives))
		}
	case !errors.Is(err, fs.ErrNotExist):
		i.problem("%v", err)
	}
	return nil
}

func (p place) readManifest() (*negatives.Manifest, error) {
	file, _, err := p.read()
	if err != nil {
		return nil, err
	}
	return negatives.ParseManifest(file, p.path())
}

func (i *Inspection) manifest(at place) error {
	i.Kind = "manifest"
	m, err := at.readManifest()
	if err != nil {
		return err
	}
	i.add("rule", m.Rule.Name)
	i.add("top", m.Top)
	i.add("split", m.Split)
	i.add("projection", m.Projection.SHA256)
	i.add("plugin", m.Plugin.SHA256)
	i.add("pairs", m.Tallies.Pairs)
	i.add("negatives", m.Tallies.Negatives)
	i.add("negatives_sha256", m.Negatives)
	// Where the name of the negatives does not end in .jsonl, the manifest's name has all of it.
	base := strings.TrimSuffix(at.name, ".manifest.json")
	for _, beside := range []string{base + ".jsonl", base} {
		if _, sum, err := at.beside(beside).read(); err == nil && beside != at.name {
			if sum != m.Negatives {
				i.problem("%s is not what the manifest names: %s", beside, sum)
			}
			break
		}
	}
	return nil
}

func (i *Inspection) plugin(ctx context.Context, at place) error {
	i.Kind = "plugin"
	module, sum, err := at.read()
	if err != nil {
		return err
	}
	i.add("sha256", sum)
	i.add("bytes", len(module))
	i.add("embedded_here", sum == plugin.SHA256())
	e, err := engine.Wasm(ctx, engine.WasmOptions{Module: module})
	if err != nil {
		i.problem("%v", excerpt.Error(err))
		return nil
	}
	defer e.Close(ctx)
	instance, err := e.Open(ctx)
	if err != nil {
		i.problem("%v", excerpt.Error(err))
		return nil
	}
	defer instance.Close(ctx)
	info, err := engine.Client{Instance: instance}.Info(ctx)
	if err != nil {
		i.problem("info: %v", excerpt.Error(err))
		return nil
	}
	var about struct {
		ABI     string           `json:"abi"`
		Kernels []string         `json:"kernels"`
		Limits  map[string]int64 `json:"limits"`
	}
	if err := json.Unmarshal(info, &about); err != nil {
		i.problem("info: %v", excerpt.Error(err))
		return nil
	}
	i.add("abi", about.ABI)
	i.add("kernels", about.Kernels)
	i.add("limits", about.Limits)
	return nil
}
