package pca

import (
	"slices"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Zero says what becomes of a vector that is zero, in a model or after projection. The cosine of such a vector is not
// defined.
type Zero bool

// With ZeroError a zero vector is an error. With ZeroSkip its row becomes zeros.
const (
	ZeroError Zero = false
	ZeroSkip  Zero = true
)

// Raw is one model's rows as they lie in a file: F16, F32 or F64, little endian.
type Raw struct {
	DType safetensors.DType
	Data  []byte
}

// Transformer projects raw vectors. It is for one goroutine at a time.
type Transformer struct {
	*Projection
	kernel     kernel.Kernel
	components kernel.Packed[float32]
}

// NewTransformer prepares a valid projection for that kernel. It keeps none of p's memory, and its own Components are
// nil.
func NewTransformer(p *Projection, k kernel.Kernel) *Transformer {
	own := *p
	own.Mean, own.Variances, own.Components = slices.Clone(p.Mean), slices.Clone(p.Variances), nil
	t := &Transformer{Projection: &own, kernel: k}
	if p.HasPCA() {
		t.components = kernel.Pack(p.Components, p.Width(), p.Columns())
	}
	return t
}

// Transform fuses and projects n rows. raw has one entry for each model, and dst takes n x k values. A row that is
// skipped becomes zeros. name gives the name of a model's tensor, for errors.
func (t *Transformer) Transform(dst []float32, raw []Raw, n int, zero Zero, name func(model string) string) error {
	d, k := t.Columns(), t.Width()
	fused := dst
	if t.HasPCA() {
		fused = make([]float32, n*d)
	}
	skip, err := t.FuseWith(t.kernel, fused, raw, n, zero, name)
	if err != nil {
		return err
	}
	if t.HasPCA() {
		for row := fused; len(row) > 0; row = row[d:] {
			t.kernel.Subtract(row[:d], t.Mean)
		}
		t.kernel.Project(dst, t.components, fused)
	}
	for i := range n {
		y := dst[i*k : (i+1)*k]
		if skip != nil && skip[i] {
			clear(y)
			continue
		}
		if c := notFinite(t.kernel, y); c >= 0 {
			return abi.Errorf(abi.NonFinite, "the projected vector's column %d overflows float32", c).At(name(t.Models[0].Name), i)
		}
		if zero == ZeroError && isZero(y) {
			return abi.Errorf(abi.ZeroVector, "the vector is zero after projection, so its cosine is undefined").At(name(t.Models[0].Name), i)
		}
	}
	return nil
}

// Fuse concatenates the models' vectors, normalised and weighted, into n rows of d values. skip[i] is true where row i
// is zero in some model; only with ZeroSkip is that not an error. skip is nil where no row is.
func (p *Projection) Fuse(dst []float32, raw []Raw, n int, zero Zero, name func(model string) string) (skip []bool, err error) {
	return p.FuseWith(kernel.Plain, dst, raw, n, zero, name)
}

// FuseWith is Fuse with another kernel than Plain.
func (p *Projection) FuseWith(k kernel.Kernel, dst []float32, raw []Raw, n int, zero Zero, name func(model string) string) (skip []bool, err error) {
	d := p.Columns()
	column := 0
	for m, model := range p.Models {
		for i := range n {
			x := dst[i*d+column:][:model.Width]
			if c := raw[m].row(k, x, i); c >= 0 {
				return nil, abi.Errorf(abi.NonFinite, "column %d is NaN, infinite, or too large for float32", c).At(name(model.Name), i)
			}
			norm := kernel.Norm(k, x)
			if norm == 0 {
				if zero == ZeroError {
					return nil, abi.Errorf(abi.ZeroVector, "the vector is zero, so its cosine is undefined").At(name(model.Name), i)
				}
				if skip == nil {
					skip = make([]bool, n)
				}
				skip[i] = true
				continue
			}
			if !p.Normalize {
				norm = 1
			}
			k.Scale(x, x, model.Weight/norm)
			if c := notFinite(k, x); c >= 0 {
				return nil, abi.Errorf(abi.NonFinite, "column %d overflows float32 when weighted by %v", c, model.Weight).At(name(model.Name), i)
			}
		}
		column += model.Width
	}
	return skip, nil
}

// row reads row i into x and rounds it to float32. It returns the first column that is not finite then, or -1.
func (r Raw) row(k kernel.Kernel, x []float32, i int) int {
	size := r.DType.Size()
	b := r.Data[i*len(x)*size:][:len(x)*size]
	switch r.DType {
	case safetensors.F16:
		k.Widen(x, safetensors.Uint16s(b))
	case safetensors.F32:
		copy(x, safetensors.Float32s(b))
	case safetensors.F64:
		for c, v := range safetensors.Float64s(b) {
			x[c] = float32(v)
		}
	}
	return notFinite(k, x)
}

func isZero(v []float32) bool {
	for _, x := range v {
		if x != 0 {
			return false
		}
	}
	return true
}
