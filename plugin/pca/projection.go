// Package pca is the projection: from the vectors of several models to one vector in PCA space.
//
// Input: raw vectors, one tensor for each model, and a projection file. Output: projected float32 vectors. They are
// fused by Eq. 1 and 2 of Meghwani et al. (2025), and centred and projected by Eq. 3, in the arithmetic of docs/ABI.md.
// The plugin's session calls this package. The host calls it too, to fuse the vectors that it fits.
package pca

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/internal/jsontext"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Format is what the metadata of a projection file of this version gives as its format.
const Format = "quarry.projection.v1"

// Model is one encoder of the ensemble.
type Model struct {
	Name   string
	Width  int
	Weight float64 // what the model's (normalised) vector is multiplied by; above 0
}

// Projection is the content of a projection file.
type Projection struct {
	Models    []Model // in order of concatenation
	Normalize bool    // each model's vector is L2-normalised before it is weighted

	Mean       []float32 // d values, zeros where the fit was not centred; nil without PCA
	Components []float32 // k rows of d, by variance; nil without PCA
	Variances  []float64 // of each component over the fitted rows; nil without PCA

	PCA              string // what was asked for: "variance=0.95", "components=128" or "none"
	Center           bool
	FitOn            string // "docs", "all" or "sample:N"
	Seed             uint64
	Rows             int // fitted
	TotalVariance    float64
	CapturedVariance float64
	DataSHA256       string // fingerprint of the fitted data
}

// Columns is d, the width of all models together.
func (p *Projection) Columns() int {
	d := 0
	for _, m := range p.Models {
		d += m.Width
	}
	return d
}

// Width is k, the width of a projected vector; without PCA that is d.
func (p *Projection) Width() int {
	if !p.HasPCA() {
		return p.Columns()
	}
	return len(p.Variances)
}

// HasPCA reports whether vectors are centred and projected once they are fused: whether there are a mean and
// components.
func (p *Projection) HasPCA() bool { return p.PCA != noPCA }

const noPCA = "none"

// Fingerprint is the SHA-256 of a projection file's bytes, in hexadecimal.
func Fingerprint(file []byte) string {
	sum := sha256.Sum256(file)
	return hex.EncodeToString(sum[:])
}

// Marshal returns the projection file's bytes.
func (p *Projection) Marshal() ([]byte, error) {
	if err := p.validate(kernel.Plain); err != nil {
		return nil, err
	}
	models := []byte{'['}
	for i, m := range p.Models {
		if i > 0 {
			models = append(models, ',')
		}
		models = jsontext.AppendString(append(models, `{"name":`...), m.Name)
		models = strconv.AppendInt(append(models, `,"width":`...), int64(m.Width), 10)
		models = append(append(models, `,"weight":`...), jsontext.FormatFloat(m.Weight)...)
		models = append(models, '}')
	}
	metadata := map[string]string{
		"format":            Format,
		"models":            string(append(models, ']')),
		"normalize":         choose(p.Normalize, "l2", "none"),
		"pca":               p.PCA,
		"center":            choose(p.Center, "mean", "none"),
		"fit_on":            p.FitOn,
		"seed":              strconv.FormatUint(p.Seed, 10),
		"rows":              strconv.Itoa(p.Rows),
		"total_variance":    jsontext.FormatFloat(p.TotalVariance),
		"captured_variance": jsontext.FormatFloat(p.CapturedVariance),
		"data_sha256":       p.DataSHA256,
	}
	var tensors []safetensors.Tensor
	if d, k := p.Columns(), p.Width(); p.HasPCA() {
		tensors = []safetensors.Tensor{
			safetensors.OfFloat32("mean", p.Mean, d),
			safetensors.OfFloat32("components", p.Components, k, d),
			safetensors.OfFloat64("variances", p.Variances, k),
		}
	}
	return safetensors.Marshal(tensors, metadata)
}

func choose(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

// Parse reads a projection file. The result shares b's memory where that can be.
func Parse(b []byte) (*Projection, error) { return ParseWith(kernel.Plain, b) }

// ParseWith is Parse with another kernel than Plain.
func ParseWith(k kernel.Kernel, b []byte) (*Projection, error) {
	f, err := safetensors.Parse(b, abi.MaxHeader)
	if err != nil {
		return nil, abi.Wrap(err, abi.BadMessage, "not a projection file")
	}
	m := metadata{values: f.Metadata}
	if format := f.Metadata["format"]; format != Format {
		return nil, abi.Errorf(abi.BadMessage, "not a projection file: format is %q, expected %q", format, Format)
	}
	p := &Projection{
		Normalize:        m.oneOf("normalize", "l2", "none"),
		PCA:              m.values["pca"],
		Center:           m.oneOf("center", "mean", "none"),
		FitOn:            m.values["fit_on"],
		Seed:             m.uint("seed", 64),
		Rows:             int(m.uint("rows", 63)),
		TotalVariance:    m.float("total_variance"),
		CapturedVariance: m.float("captured_variance"),
		DataSHA256:       m.values["data_sha256"],
	}
	if m.err == nil {
		p.Models, m.err = parseModels(m.values["models"])
	}
	if m.err != nil {
		return nil, abi.Errorf(abi.BadMessage, "projection file: %v", m.err)
	}
	want := map[string]safetensors.DType{"mean": safetensors.F32, "components": safetensors.F32, "variances": safetensors.F64}
	for _, t := range f.Tensors {
		if want[t.Name] != t.DType {
			return nil, abi.Errorf(abi.BadMessage, "projection file: tensor %q of type %s does not belong", t.Name, t.DType).At(t.Name, -1)
		}
		switch t.Name {
		case "mean":
			p.Mean = safetensors.Float32s(t.Data)
		case "components":
			if len(t.Shape) != 2 || t.Shape[1] != p.Columns() {
				return nil, abi.Errorf(abi.BadMessage, "projection file: shape %v; the models have %d columns", t.Shape, p.Columns()).At(t.Name, -1)
			}
			p.Components = safetensors.Float32s(t.Data)
		case "variances":
			p.Variances = safetensors.Float64s(t.Data)
		}
	}
	if err := p.validate(k); err != nil {
		return nil, err
	}
	return p, nil
}

// validate checks a projection that was read, or that is to be written.
func (p *Projection) validate(k kernel.Kernel) error {
	d := p.Columns()
	if len(p.Models) == 0 {
		return abi.Errorf(abi.BadMessage, "projection: no models")
	}
	if len(p.Models) > abi.MaxModels {
		return abi.Errorf(abi.Limit, "projection: %d models; the limit is %d", len(p.Models), abi.MaxModels)
	}
	names := map[string]bool{}
	for _, m := range p.Models {
		switch {
		case m.Name == "" || names[m.Name]:
			return abi.Errorf(abi.BadMessage, "projection: model name %q is empty or given twice", m.Name)
		case m.Width < 1:
			return abi.Errorf(abi.BadMessage, "projection: model %q has width %d; it must be above 0", m.Name, m.Width)
		case m.Width > abi.MaxColumns:
			return abi.Errorf(abi.Limit, "projection: model %q has width %d; the limit is %d", m.Name, m.Width, abi.MaxColumns)
		case !(m.Weight > 0) || math.IsInf(m.Weight, 1):
			return abi.Errorf(abi.BadMessage, "projection: model %q has weight %v; it must be above 0", m.Name, m.Weight)
		}
		names[m.Name] = true
	}
	if d > abi.MaxColumns {
		return abi.Errorf(abi.Limit, "projection: %d columns; the limit is %d", d, abi.MaxColumns)
	}
	if !p.HasPCA() {
		if p.Mean != nil || p.Components != nil || p.Variances != nil {
			return abi.Errorf(abi.BadMessage, "projection: pca is none, and there are tensors")
		}
		return nil
	}
	components := len(p.Variances)
	if components < 1 || components > d || len(p.Mean) != d || len(p.Components) != components*d {
		return abi.Errorf(abi.BadMessage, "projection: %d mean values, %d component values and %d variances do not fit %d columns",
			len(p.Mean), len(p.Components), components, d)
	}
	if i := notFinite(k, p.Mean); i >= 0 {
		return abi.Errorf(abi.NonFinite, "projection: column %d is %v", i, p.Mean[i]).At("mean", -1)
	}
	for i, v := range p.Variances {
		if !(v >= 0 && v-v == 0) {
			return abi.Errorf(abi.NonFinite, "projection: it is %v; a variance is finite and not negative", v).At("variances", i)
		}
	}
	if i := notFinite(k, p.Components); i >= 0 {
		return abi.Errorf(abi.NonFinite, "projection: column %d is %v", i%d, p.Components[i]).At("components", i/d)
	}
	return nil
}

// notFinite returns the index of the first NaN or infinity, or -1.
func notFinite(k kernel.Kernel, v []float32) int {
	if k.Finite(v) {
		return -1
	}
	return slices.IndexFunc(v, func(x float32) bool { return x-x != 0 })
}

func parseModels(text string) (models []Model, err error) {
	d := jsontext.NewDecoder([]byte(text))
	err = d.Array(func() error {
		var m Model
		err := d.Object(func(key string) (err error) {
			switch key {
			case "name":
				m.Name, err = d.String()
			case "width":
				var width int64
				width, err = d.Uint()
				m.Width = int(min(width, abi.MaxColumns+1))
			case "weight":
				m.Weight, err = d.Float()
			default:
				err = fmt.Errorf("unknown key %q", key)
			}
			return err
		})
		if len(models) > abi.MaxModels {
			return fmt.Errorf("more than %d models", abi.MaxModels)
		}
		models = append(models, m)
		return err
	})
	if err == nil {
		err = d.End()
	}
	if err != nil {
		return nil, fmt.Errorf("metadata models: %w", err)
	}
	return models, nil
}

// metadata reads typed values out of a file's metadata. It keeps the first error.
type metadata struct {
	values map[string]string
	err    error
}

func (m *metadata) oneOf(key, yes, no string) bool {
	v := m.values[key]
	if v != yes && v != no && m.err == nil {
		m.err = fmt.Errorf("metadata %s is %q; expected %q or %q", key, v, yes, no)
	}
	return v == yes
}

func (m *metadata) uint(key string, bits int) uint64 {
	n, err := strconv.ParseUint(m.values[key], 10, bits)
	if err != nil && m.err == nil {
		m.err = fmt.Errorf("metadata %s is %q; expected a whole number", key, m.values[key])
	}
	return n
}

func (m *metadata) float(key string) float64 {
	f, err := strconv.ParseFloat(m.values[key], 64)
	if (err != nil || f-f != 0) && m.err == nil {
		m.err = fmt.Errorf("metadata %s is %q; expected a finite number", key, m.values[key])
	}
	return f
}
