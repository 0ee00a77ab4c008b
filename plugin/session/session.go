// Package session is the plugin without its boundary: it takes an operation and a message and gives the answer, keeping
// a projection and pairs in between.
//
// Input: messages as docs/ABI.md describes them, from anyone. Output: messages or an *abi.Error. The guest's exports,
// those for Extism and the raw ones, call this package, and so does the native engine: there is one dispatch for all of
// them.
package session

import (
	"fmt"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/pca"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Session is one instance's state. It is not safe for concurrent use.
type Session struct {
	kernel kernel.Kernel
	budget budget

	transformer *pca.Transformer // nil before load_projection
	fingerprint string           // of its projection
	scanner     *mine.Scanner    // nil before begin
	width       int              // of the scanner's vectors

	projected []float32 // of one call, reused
}

// New returns an empty session that computes with that kernel.
func New(k kernel.Kernel) *Session {
	return &Session{kernel: k, budget: budget{limit: abi.MaxMemory}}
}

// MemoryLimit is how many bytes the session may use.
func (s *Session) MemoryLimit() int64 { return s.budget.limit }

// Call runs an operation. The answer stays valid until the next call. The session keeps nothing of in. An error is an
// *abi.Error, and then nothing has changed.
func (s *Session) Call(op abi.Op, in []byte) (out []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			out, err = nil, abi.Errorf(abi.Internal, "%s: %v; please report this", op, r)
		}
	}()
	if len(in) > abi.MaxMessage {
		return nil, abi.Errorf(abi.Limit, "message of %d bytes; the limit is %d", len(in), abi.MaxMessage)
	}
	s.budget.message = int64(len(in))
	switch op {
	case abi.OpInfo:
		return s.nothing(in, abi.Info(s.kernel.Name()))
	case abi.OpLoadProjection:
		return s.loadProjection(in)
	case abi.OpTransform:
		return s.transform(in)
	case abi.OpBegin:
		return s.begin(in)
	case abi.OpPush:
		return s.push(in)
	case abi.OpFinish:
		return s.finish(in)
	case abi.OpSelect:
		return s.selectOnce(in)
	case abi.OpMerge:
		return s.merge(in)
	case abi.OpReset:
		return s.reset(in)
	}
	return nil, abi.Errorf(abi.UnknownOperation, "there is no %s", op)
}

// nothing gives the answer of an operation that takes no input.
func (s *Session) nothing(in, out []byte) ([]byte, error) {
	if len(in) > 0 {
		return nil, abi.Errorf(abi.BadMessage, "%d bytes of input; the operation takes none", len(in))
	}
	return out, nil
}

func (s *Session) loadProjection(in []byte) ([]byte, error) {
	if err := s.checkHeader(in); err != nil {
		return nil, err
	}
	p, err := pca.ParseWith(s.kernel, in)
	if err != nil {
		return nil, err
	}
	need := ShapeOfProjection(p).Held()
	if err := s.budget.check(need); err != nil {
		return nil, err
	}
	s.transformer, s.fingerprint = pca.NewTransformer(p, s.kernel), pca.Fingerprint(in)
	s.scanner = nil // its pairs may have been of another projection
	s.budget.projection, s.budget.pairs = need, 0
	return fmt.Appendf(nil, `{"projection":"%s","columns":%d,"components":%d}`, s.fingerprint, p.Columns(), p.Width()), nil
}

func (s *Session) transform(in []byte) ([]byte, error) {
	r, err := s.parse(in)
	if err != nil {
		return nil, err
	}
	m, err := message.DecodeTransform(r, s.loaded())
	if err != nil {
		return nil, err
	}
	layout, begin, err := message.LayTransformed(m.Documents.Rows, m.Documents.Width)
	if err != nil {
		return nil, err
	}
	if err := s.budget.check(s.projection().Transform(m.Documents.Rows)); err != nil {
		return nil, err
	}
	y, err := s.project(abi.TensorDocuments, &m.Documents, pca.Zero(m.SkipZero))
	if err != nil {
		return nil, err
	}
	answer := make([]byte, layout.Size)
	copy(answer, layout.Header)
	copy(answer[begin:], safetensors.OfFloat32("", y).Data)
	return answer, nil
}

func (s *Session) push(in []byte) ([]byte, error) {
	if s.scanner == nil {
		return nil, noPairs()
	}
	r, err := s.parse(in)
	if err != nil {
		return nil, err
	}
	m, err := message.DecodePush(r, s.loaded())
	if err != nil {
		return nil, err
	}
	skipped, err := s.pushTo(s.scanner, s.width, m)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, `{"rows":%d,"skipped":%d}`, m.Documents.Rows, skipped), nil
}

// pushTo gives a message's documents to a scanner of pairs with vectors of width values.
func (s *Session) pushTo(scanner *mine.Scanner, width int, m *message.Push) (skipped int, err error) {
	v := &m.Documents
	if v.Width != width {
		return 0, abi.Errorf(abi.Mismatch, "width is %d; the pairs have %d", v.Width, width).At(abi.TensorDocuments, -1)
	}
	block := BlockShape{Rows: v.Rows}
	if v.Raw != nil {
		block.Raw = v.RowBytes()
	}
	if err := s.budget.check(block.Push(s.projection(), width)); err != nil {
		return 0, err
	}
	y, err := s.project(abi.TensorDocuments, v, pca.Zero(scanner.SkipsZero()))
	if err != nil {
		return 0, err
	}
	return scanner.Push(m.First, y)
}

func (s *Session) finish(in []byte) ([]byte, error) {
	if s.scanner == nil {
		return nil, noPairs()
	}
	if _, err := s.nothing(in, nil); err != nil {
		return nil, err
	}
	return s.scanner.Finish().Marshal()
}

func (s *Session) merge(in []byte) ([]byte, error) {
	r, err := s.parse(in)
	if err != nil {
		return nil, err
	}
	if err := s.budget.check(Merge(int64(len(in)))); err != nil {
		return nil, err
	}
	var merged *mine.Part
	for t, err := range r.Parts() {
		if err == nil {
			err = s.checkHeader(t.Data)
		}
		if err != nil {
			return nil, err
		}
		part, err := mine.ParsePart(t.Data)
		if err == nil && merged != nil {
			part, err = mine.Merge(merged, part)
		}
		if err != nil {
			e := *abi.AsError(err)
			e.Message = e.Error()
			return nil, e.At(t.Name, -1)
		}
		merged = part
	}
	if merged == nil {
		return nil, abi.Errorf(abi.BadMessage, "there are no parts")
	}
	if err := r.End(); err != nil {
		return nil, err
	}
	return merged.Marshal()
}

func (s *Session) reset(in []byte) ([]byte, error) {
	limit := s.budget.limit
	if len(in) > 0 {
		r, err := s.parse(in)
		if err != nil {
			return nil, err
		}
		m, err := message.DecodeReset(r, limit)
		if err != nil {
			return nil, err
		}
		limit = m.MemoryLimit
	}
	*s = Session{kernel: s.kernel, budget: budget{limit: limit}}
	return []byte("{}"), nil
}

func noPairs() error {
	return abi.Errorf(abi.NoPairs, "there are no pairs; call begin first")
}
