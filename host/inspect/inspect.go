// Package inspect says what a file that quarry reads or writes holds, and whether it is sound.
//
// Input: a path; output: fields to show, and what is wrong. The command line's quarry inspect calls it.
package inspect

import (
	"bytes"
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
	"github.com/quarry-hn/quarry/host/negatives"
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

// File tells what a file that quarry reads or writes holds, and what of it is not sound. A file that it cannot make out is an error.
func File(ctx context.Context, path string) (i *Inspection, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, dataset.ReadError(path, err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		i = &Inspection{Problems: []string{}}
		return i, errors.Join(f.Close(), i.folder(ctx, path))
	}
	start := make([]byte, 64)
	n, err := io.ReadFull(f, start)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, dataset.ReadError(path, err)
	}
	start = start[:n]
	i = &Inspection{Problems: []string{}}
	switch {
	case bytes.HasPrefix(start, []byte("\x00asm")):
		return i, i.plugin(ctx, path)
	case len(start) > 8 && start[8] == '{':
		return i, i.safetensors(ctx, path)
	case bytes.HasPrefix(start, []byte(`{"query_id"`)):
		return i, i.negatives(path)
	case bytes.HasPrefix(bytes.TrimSpace(start), []byte("{")) && !strings.HasSuffix(path, ".jsonl"):
		return i, i.manifest(path)
	case vectors.IsVectors(start, info.Size(), path):
		return i, i.vectors(ctx, path)
	}
	return nil, &dataset.Error{Path: path, Row: -1, Problem: "not a projection, part, negatives, manifest, .npy or plugin file"}
}

func fileSHA256(path string) (file []byte, sum string, err error) {
	file, err = os.ReadFile(path)
	if err != nil {
		return nil, "", dataset.ReadError(path, err)
	}
	s := sha256.Sum256(file)
	return file, hex.EncodeToString(s[:]), nil
}

func (i *Inspection) safetensors(ctx context.Context, path string) error {
	file, sum, err := fileSHA256(path)
	if err != nil {
		return err
	}
	i.add("sha256", sum)
	f, err := safetensors.Parse(file, abi.MaxHeader)
	if err != nil {
		i.Fields = nil
		if i.vectors(ctx, path) == nil { // of a type that the plugin has not
			return nil
		}
		return &dataset.Error{Path: path, Row: -1, Problem: excerpt.Text(err.Error()), Err: err}
	}
	switch format := f.Metadata["format"]; format {
	case pca.Format:
		return i.projection(path, file)
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
			return i.vectors(ctx, path)
		}
		return &dataset.Error{Path: path, Row: -1, Problem: fmt.Sprintf("a safetensors file of format %s; projections are %q, parts %q", excerpt.Quote(format), pca.Format, mine.PartFormat)}
	}
}

func (i *Inspection) projection(path string, file []byte) error {
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

func (i *Inspection) vectors(ctx context.Context, path string) error {
	i.Kind = "vectors"
	x, report, err := vectors.OpenFile(os.DirFS(filepath.Dir(path)), filepath.Dir(path), filepath.Base(path), dataset.Watch{Context: ctx})
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
		if err := ctx.Err(); err != nil {
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

// folder tells how the texts, ids, judgements and vectors of a data folder are read, or what a folder of parts holds.
func (i *Inspection) folder(ctx context.Context, path string) error {
	fsys := os.DirFS(path)
	if _, err := fs.Stat(fsys, "vectors"); err != nil {
		return i.vectors(ctx, path)
	}
	i.Kind = "data"
	texts, err := beir.Explain(path)
	if err != nil {
		return err
	}
	for _, f := range texts {
		i.add(f.Name, f.Is)
	}
	models, err := vectors.Models(fsys, path)
	if err != nil {
		return err
	}
	for _, model := range models {
		for _, side := range []string{"docs", "queries"} {
			report, err := vectors.New(fsys, path, side, models).Explain(model)
			if err != nil {
				i.problem("%v", err)
				continue
			}
			i.add(model+" "+side, report.String())
		}
	}
	return nil
}

func (i *Inspection) negatives(path string) error {
	i.Kind = "negatives"
	_, sum, err := fileSHA256(path)
	if err != nil {
		return err
	}
	i.add("sha256", sum)
	pairs, err := negatives.Load(path)
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
	manifest := run.OutputsBeside(path, false, false).Manifest
	switch m, err := negatives.LoadManifest(manifest); {
	case err == nil:
		i.add("manifest", filepath.Base(manifest))
		if m.Negatives != sum {
			i.problem("%s names other negatives: %s", filepath.Base(manifest), excerpt.Text(m.Negatives))
		}
	case !errors.Is(err, fs.ErrNotExist):
		i.problem("%v", err)
	}
	return nil
}

func (i *Inspection) manifest(path string) error {
	i.Kind = "manifest"
	m, err := negatives.LoadManifest(path)
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
	base := strings.TrimSuffix(path, ".manifest.json")
	for _, beside := range []string{base + ".jsonl", base} {
		if _, sum, err := fileSHA256(beside); err == nil && beside != path {
			if sum != m.Negatives {
				i.problem("%s is not what the manifest names: %s", filepath.Base(beside), sum)
			}
			break
		}
	}
	return nil
}

func (i *Inspection) plugin(ctx context.Context, path string) error {
	i.Kind = "plugin"
	module, sum, err := fileSHA256(path)
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
