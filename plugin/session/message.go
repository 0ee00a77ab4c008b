package session

import (
	"encoding/binary"
	"slices"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/pca"
)

// checkHeader fails where a message's header, once it is read, is more than fits.
func (s *Session) checkHeader(in []byte) error {
	if len(in) < 8 {
		return nil
	}
	header := min(binary.LittleEndian.Uint64(in), uint64(len(in)-8), abi.MaxHeader)
	if need := Header(int64(header)); need > 0 {
		return s.budget.check(need)
	}
	return nil
}

func (s *Session) parse(in []byte) (*message.Reader, error) {
	if err := s.checkHeader(in); err != nil {
		return nil, err
	}
	return message.Parse(in)
}

// loaded is the projection that is loaded, nil where none is.
func (s *Session) loaded() *message.Loaded {
	if s.transformer == nil {
		return nil
	}
	return &message.Loaded{Projection: s.transformer.Projection, Fingerprint: s.fingerprint}
}

// projection is the shape of the projection that is loaded, of no size where none is.
func (s *Session) projection() ProjectionShape {
	if s.transformer == nil {
		return ProjectionShape{}
	}
	return ShapeOfProjection(s.transformer.Projection)
}

// project returns projected rows. They are the message's own, or they are in the session's scratch memory and valid
// until the next call of project. of is the name of their tensor, for errors.
func (s *Session) project(of string, v *message.Vectors, zero pca.Zero) ([]float32, error) {
	if v.Raw == nil {
		return v.Projected, nil
	}
	raw := make([]pca.Raw, len(v.Raw))
	for i, model := range v.Raw {
		raw[i] = model.Raw
	}
	s.projected = slices.Grow(s.projected[:0], v.Rows*v.Width)[:v.Rows*v.Width]
	err := s.transformer.Transform(s.projected, raw, v.Rows, zero, func(model string) string { return abi.RawTensor(of, model) })
	return s.projected, err
}
