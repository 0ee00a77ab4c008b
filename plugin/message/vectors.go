package message

import (
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/pca"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Vectors are the rows of queries, positives or documents in one of two forms: raw, a tensor of each model, or
// projected, one tensor.
type Vectors struct {
	Rows int

	// Raw is the raw form: one entry for each model, in the projection's order; nil where the vectors are projected.
	Raw []Raw

	// Projected is the projected form, Rows x Width values. A host that only lays a message out leaves it nil. Width is
	// there in both forms when a message is read; to encode raw vectors it is not needed.
	Projected []float32
	Width     int
}

// Raw is the vectors of one model as they lie in a file: F16, F32 or F64, Width values a row, little endian. A host
// that only lays a message out leaves Data nil.
type Raw struct {
	Model string
	Width int
	pca.Raw
}

// Loaded is the projection that an instance has loaded.
type Loaded struct {
	*pca.Projection
	Fingerprint string
}

// NoProjection is the error for raw vectors where no projection is loaded.
func NoProjection() error {
	return abi.Errorf(abi.NoProjection, "raw vectors need a projection; call load_projection first")
}

// Tensors lays the vectors out. of is abi.TensorQueries, abi.TensorPositives or abi.TensorDocuments.
func (v *Vectors) Tensors(of string) []safetensors.Tensor {
	if v.Raw == nil {
		return []safetensors.Tensor{safetensors.OfFloat32(of, v.Projected, v.Rows, v.Width)}
	}
	tensors := make([]safetensors.Tensor, len(v.Raw))
	for i, raw := range v.Raw {
		tensors[i] = safetensors.Tensor{Name: abi.RawTensor(of, raw.Model), DType: raw.DType, Shape: []int{v.Rows, raw.Width}, Data: raw.Data}
	}
	return tensors
}

// RowBytes is how many bytes a row takes in the message.
func (v *Vectors) RowBytes() int {
	if v.Raw == nil {
		return safetensors.F32.Size() * v.Width
	}
	n := 0
	for _, raw := range v.Raw {
		n += raw.Width * raw.DType.Size()
	}
	return n
}

// vectors reads the tensor of, or of/<model> for each model, and checks their types and shapes. loaded is nil where no
// projection is. There may be no rows.
func (r *Reader) vectors(of string, loaded *Loaded) (*Vectors, error) {
	if t, ok := r.tensor(of); ok {
		return projected(t, loaded)
	}
	if loaded == nil {
		if slices.ContainsFunc(r.file.Tensors, func(t safetensors.Tensor) bool { return strings.HasPrefix(t.Name, abi.RawTensor(of, "")) }) {
			return nil, NoProjection()
		}
		return nil, abi.Errorf(abi.BadMessage, "the tensor is missing").At(of, -1)
	}
	v := &Vectors{Width: loaded.Width()}
	for i, model := range loaded.Models {
		name := abi.RawTensor(of, model.Name)
		t, ok := r.tensor(name)
		switch {
		case !ok:
			return nil, abi.Errorf(abi.BadMessage, "the tensor is missing; the projection has the model").At(name, -1)
		case t.DType != safetensors.F16 && t.DType != safetensors.F32 && t.DType != safetensors.F64 || len(t.Shape) != 2:
			return nil, abi.Errorf(abi.BadMessage, "has type %s and shape %v; expected F16, F32 or F64 and [rows, width]", t.DType, t.Shape).At(name, -1)
		case t.Shape[1] != model.Width:
			return nil, abi.Errorf(abi.Mismatch, "width is %d; the projection has %d", t.Shape[1], model.Width).At(name, -1)
		case i > 0 && t.Shape[0] != v.Rows:
			return nil, abi.Errorf(abi.BadMessage, "%d rows; the other models have %d", t.Shape[0], v.Rows).At(name, -1)
		}
		v.Rows = t.Shape[0]
		v.Raw = append(v.Raw, Raw{Model: model.Name, Width: model.Width, Raw: pca.Raw{DType: t.DType, Data: t.Data}})
	}
	return v, nil
}

// projected checks a tensor of projected vectors.
func projected(t safetensors.Tensor, loaded *Loaded) (*Vectors, error) {
	if t.DType != safetensors.F32 || len(t.Shape) != 2 || t.Shape[1] < 1 {
		return nil, abi.Errorf(abi.BadMessage, "has type %s and shape %v; expected F32 and [rows, components]", t.DType, t.Shape).At(t.Name, -1)
	}
	v := &Vectors{Rows: t.Shape[0], Width: t.Shape[1], Projected: safetensors.Float32s(t.Data)}
	if v.Width > abi.MaxColumns {
		return nil, abi.Errorf(abi.Limit, "%d columns; the limit is %d", v.Width, abi.MaxColumns).At(t.Name, -1)
	}
	if loaded != nil && loaded.Width() != v.Width {
		return nil, abi.Errorf(abi.Mismatch, "width is %d; the projection gives %d", v.Width, loaded.Width()).At(t.Name, -1)
	}
	return v, nil
}
