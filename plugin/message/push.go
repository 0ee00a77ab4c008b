package message

import (
	"strconv"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Push is the message of push: a block of documents.
type Push struct {
	First     int64 // position of the first document
	Documents Vectors
}

// Encode gives the message's tensors and options.
func (p *Push) Encode() ([]safetensors.Tensor, map[string]string) {
	return p.Documents.Tensors(abi.TensorDocuments), map[string]string{abi.OptionFirst: strconv.FormatInt(p.First, 10)}
}

// DecodePush reads a push message. Its vectors stay in the message. loaded is nil where no projection is.
func DecodePush(r *Reader, loaded *Loaded) (*Push, error) {
	p := &Push{First: r.int(abi.OptionFirst, 0, 0, abi.MaxPosition)}
	documents, err := r.vectors(abi.TensorDocuments, loaded)
	if err == nil {
		err = r.End()
	}
	if err != nil {
		return nil, err
	}
	p.Documents = *documents
	return p, nil
}

// Transform is the message of transform: raw vectors to project, of documents or of queries.
type Transform struct {
	Documents Vectors // raw
	SkipZero  bool    // a row that is zero becomes zeros; otherwise it is an error
}

// Encode gives the message's tensors and options.
func (t *Transform) Encode() ([]safetensors.Tensor, map[string]string) {
	return t.Documents.Tensors(abi.TensorDocuments), map[string]string{abi.OptionZero: encodeZero(t.SkipZero)}
}

// DecodeTransform reads a transform message. Its vectors stay in the message. loaded is nil where no projection is,
// which is an error.
func DecodeTransform(r *Reader, loaded *Loaded) (*Transform, error) {
	t := &Transform{SkipZero: r.skipZero()}
	if loaded == nil {
		return nil, NoProjection()
	}
	documents, err := r.vectors(abi.TensorDocuments, loaded)
	if err == nil {
		err = r.End()
	}
	if err != nil {
		return nil, err
	}
	if documents.Raw == nil {
		return nil, abi.Errorf(abi.BadMessage, "is projected already").At(abi.TensorDocuments, -1)
	}
	t.Documents = *documents
	return t, nil
}

// LayTransformed lays out transform's answer, that many projected vectors of width values, and says where their values
// begin.
func LayTransformed(rows, width int) (layout *safetensors.Layout, begin int, err error) {
	v := Vectors{Rows: rows, Width: width}
	if layout, err = safetensors.Lay(v.Tensors(abi.TensorDocuments), nil); err != nil {
		return nil, 0, err
	}
	return layout, layout.Offsets[abi.TensorDocuments], nil
}

// DecodeTransformed reads transform's answer. Its values share the answer's memory where that can be.
func DecodeTransformed(answer []byte) (*Vectors, error) {
	r, err := Parse(answer)
	if err != nil {
		return nil, err
	}
	v, err := r.vectors(abi.TensorDocuments, nil)
	if err == nil {
		err = r.End()
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// Reset is the message of reset. An instance that is to keep its limit gets an empty message instead.
type Reset struct {
	MemoryLimit int64 // bytes that the instance may use
}

// MaxMemoryLimit is the highest limit that reset takes: all that a Wasm memory can be.
const MaxMemoryLimit = 1 << 32

// Encode gives the message's options; it has no tensors.
func (s *Reset) Encode() ([]safetensors.Tensor, map[string]string) {
	return nil, map[string]string{abi.OptionMemoryLimit: strconv.FormatInt(s.MemoryLimit, 10)}
}

// DecodeReset reads a reset message; a limit that it does not give is the one that there is.
func DecodeReset(r *Reader, limit int64) (*Reset, error) {
	s := &Reset{MemoryLimit: r.int(abi.OptionMemoryLimit, limit, 1, MaxMemoryLimit)}
	if err := r.End(); err != nil {
		return nil, err
	}
	return s, nil
}
