package session

import (
	"encoding/binary"
	"maps"
	"slices"
	"strconv"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/pca"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// message is a parsed input. It keeps track of what was asked for, so that end can tell what does not belong, and of the
// first bad option.
type message struct {
	file *safetensors.File
	used map[string]bool // tensors, and options
	err  error
}

// checkHeader fails where a message's header, once it is read, is more than fits: up to 16 bytes for each of its own. Small
// ones are in the runtime's share, so that reset works where nothing fits.
func (s *Session) checkHeader(in []byte) error {
	const small = 1 << 16
	if len(in) < 8 {
		return nil
	}
	if n := min(binary.LittleEndian.Uint64(in), uint64(len(in)-8), abi.MaxHeader); n > small {
		return s.budget.check(16 * int64(n))
	}
	return nil
}

func (s *Session) parse(in []byte) (*message, error) {
	if err := s.checkHeader(in); err != nil {
		return nil, err
	}
	f, err := safetensors.Parse(in, abi.MaxHeader)
	if err != nil {
		return nil, abi.Errorf(abi.BadMessage, "not a safetensors message: %v", err)
	}
	for _, t := range f.Tensors {
		if t.Rows() > abi.MaxRows {
			return nil, abi.Errorf(abi.Limit, "%d rows; the limit is %d", t.Rows(), abi.MaxRows).At(t.Name, -1)
		}
	}
	return &message{file: f, used: map[string]bool{}}, nil
}

// end returns the first error among the options, or that a tensor or option is unknown.
func (m *message) end() error {
	if m.err != nil {
		return m.err
	}
	for _, t := range m.file.Tensors {
		if !m.used[t.Name] {
			return abi.Errorf(abi.BadMessage, "the operation knows no such tensor").At(t.Name, -1)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(m.file.Metadata)) { // of several, the same is named each time
		if !m.used["option "+key] {
			return abi.Errorf(abi.BadOption, "option %q is unknown", key)
		}
	}
	return nil
}

func (m *message) fail(err error) {
	if m.err == nil && err != nil {
		m.err = err
	}
}

func (m *message) option(name, byDefault string) string {
	m.used["option "+name] = true
	if v, ok := m.file.Metadata[name]; ok {
		return v
	}
	return byDefault
}

func (m *message) int(name string, byDefault, from, to int64) int64 {
	text := m.option(name, strconv.FormatInt(byDefault, 10))
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < from || n > to {
		m.fail(abi.Errorf(abi.BadOption, "option %s is %q; it goes from %d to %d", name, text, from, to))
	}
	return n
}

func (m *message) float(name string, byDefault float64) float64 {
	text := m.option(name, strconv.FormatFloat(byDefault, 'g', -1, 64))
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		m.fail(abi.Errorf(abi.BadOption, "option %s is %q; expected a number", name, text))
	}
	return f
}

// choice reports whether an option is yes rather than no, which is its default.
func (m *message) choice(name, no, yes string) bool {
	v := m.option(name, no)
	if v != yes && v != no {
		m.fail(abi.Errorf(abi.BadOption, "option %s is %q; expected %q or %q", name, v, no, yes))
	}
	return v == yes
}

func (m *message) zero() pca.Zero { return pca.Zero(m.choice("zero", "error", "skip")) }

// int64s returns an optional tensor of one dimension, nil where it is absent, copied.
func (m *message) int64s(name string) []int64 {
	t, ok := m.file.Tensor(name)
	if !ok {
		return nil
	}
	m.used[name] = true
	if t.DType != safetensors.I64 || len(t.Shape) != 1 {
		m.fail(abi.Errorf(abi.BadMessage, "has type %s and shape %v; expected I64 and one dimension", t.DType, t.Shape).At(name, -1))
		return nil
	}
	return append(make([]int64, 0, t.Rows()), safetensors.Int64s(t.Data)...)
}

// bound returns an optional bound of the window rule.
func (m *message) bound(name string) *mine.Bound {
	text := m.option(name, "")
	if _, given := m.file.Metadata[name]; !given {
		return nil
	}
	b, err := mine.ParseBound(text)
	m.fail(err)
	return b
}

// rule reads the options that make the rule. Every rule but window accepts the parameters of all rules.
func (m *message) rule() mine.Rule {
	name := m.option("rule", mine.Rules[0].Name)
	if name == mine.WindowRule {
		return mine.Rule{Name: name, Floor: m.bound("floor"), Cap: m.bound("cap"), Eq6: m.choice("eq6", "false", "true")}
	}
	parameters := map[string]float64{}
	for _, p := range mine.RuleParameters() {
		parameters[p.Name] = m.float(p.Name, p.Default)
	}
	r, err := mine.NewRule(name, parameters)
	m.fail(err)
	return r
}

// vectors are rows in one of the two forms: raw, one entry per model of the projection, or projected.
type vectors struct {
	kind  string // "queries", "positives" or "documents"
	rows  int
	width int // after projection
	raw   []pca.Raw
	y     []float32
}

// vectors reads the tensor kind, or kind/<model> for each model, and checks their shapes.
func (s *Session) vectors(m *message, kind string) (*vectors, error) {
	v := &vectors{kind: kind}
	if t, ok := m.file.Tensor(kind); ok {
		m.used[kind] = true
		if t.DType != safetensors.F32 || len(t.Shape) != 2 || t.Shape[0] < 1 || t.Shape[1] < 1 {
			return nil, abi.Errorf(abi.BadMessage, "has type %s and shape %v; expected F32 and [rows, components]", t.DType, t.Shape).At(kind, -1)
		}
		v.rows, v.width, v.y = t.Shape[0], t.Shape[1], safetensors.Float32s(t.Data)
		if v.width > abi.MaxColumns {
			return nil, abi.Errorf(abi.Limit, "%d columns; the limit is %d", v.width, abi.MaxColumns).At(kind, -1)
		}
		if s.transformer != nil && s.transformer.Width() != v.width {
			return nil, abi.Errorf(abi.Mismatch, "width is %d; the projection gives %d", v.width, s.transformer.Width()).At(kind, -1)
		}
		return v, nil
	}
	if s.transformer == nil {
		if slices.ContainsFunc(m.file.Tensors, func(t safetensors.Tensor) bool { return len(t.Name) > len(kind) && t.Name[:len(kind)+1] == kind+"/" }) {
			return nil, noProjection()
		}
		return nil, abi.Errorf(abi.BadMessage, "the tensor is missing").At(kind, -1)
	}
	v.width = s.transformer.Width()
	for i, model := range s.transformer.Models {
		name := kind + "/" + model.Name
		t, ok := m.file.Tensor(name)
		switch {
		case !ok:
			return nil, abi.Errorf(abi.BadMessage, "the tensor is missing; the projection has the model").At(name, -1)
		case t.DType != safetensors.F16 && t.DType != safetensors.F32 && t.DType != safetensors.F64 || len(t.Shape) != 2 || t.Shape[0] < 1:
			return nil, abi.Errorf(abi.BadMessage, "has type %s and shape %v; expected F16, F32 or F64 and [rows, width]", t.DType, t.Shape).At(name, -1)
		case t.Shape[1] != model.Width:
			return nil, abi.Errorf(abi.Mismatch, "width is %d; the projection has %d", t.Shape[1], model.Width).At(name, -1)
		case i > 0 && t.Shape[0] != v.rows:
			return nil, abi.Errorf(abi.BadMessage, "%d rows; the other models have %d", t.Shape[0], v.rows).At(name, -1)
		}
		m.used[name] = true
		v.rows = t.Shape[0]
		v.raw = append(v.raw, pca.Raw{DType: t.DType, Data: t.Data})
	}
	return v, nil
}

// fuseBytes is the memory that projecting those rows takes, beside the message.
func (s *Session) fuseBytes(v *vectors) int64 {
	if v.raw == nil {
		return 0
	}
	return 4 * int64(v.rows) * int64(s.transformer.Columns()+s.transformer.Width())
}

// project returns the projected rows: the message's own, or the session's scratch, valid until the next call of project.
func (s *Session) project(v *vectors, zero pca.Zero) ([]float32, error) {
	if v.raw == nil {
		return v.y, nil
	}
	s.projected = slices.Grow(s.projected[:0], v.rows*v.width)[:v.rows*v.width]
	err := s.transformer.Transform(s.projected, v.raw, v.rows, zero, func(model string) string { return v.kind + "/" + model })
	return s.projected, err
}
