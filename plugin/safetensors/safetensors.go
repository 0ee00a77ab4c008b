// Package safetensors reads and writes the safetensors format, which every message and file of the plugin is in.
//
// Input: bytes of unknown origin, or tensors to lay out. Output: tensors that point into those bytes, without a copy,
// or bytes that are equal where the content is. It writes sorted header keys, a header padded to a multiple of 8, and
// tensors by size of element descending, then by name; it reads any order, and checks every length first.
package safetensors

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/internal/jsontext"
)

// DType is the type of a tensor's elements.
type DType string

// The types that quarry uses, as the format names them.
const (
	F16 DType = "F16"
	F32 DType = "F32"
	F64 DType = "F64"
	I64 DType = "I64"
	U8  DType = "U8"
)

// Size is the bytes of one element, 0 for an unknown type.
func (t DType) Size() int {
	switch t {
	case U8:
		return 1
	case F16:
		return 2
	case F32:
		return 4
	case F64, I64:
		return 8
	}
	return 0
}

// Tensor is a named array in C order. Data holds its little-endian elements.
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	Data  []byte
}

// Rows is the tensor's first dimension, 1 for a scalar.
func (t Tensor) Rows() int {
	if len(t.Shape) == 0 {
		return 1
	}
	return t.Shape[0]
}

// size returns the bytes of the tensor's data, or an error where shape or type make no sense.
func (t Tensor) size() (int, error) {
	if t.DType.Size() == 0 {
		return 0, fmt.Errorf("tensor %q has type %q; known are F16, F32, F64, I64 and U8", t.Name, t.DType)
	}
	size := t.DType.Size()
	for _, n := range t.Shape {
		if n < 0 || n > 0 && size > math.MaxInt/2/n {
			return 0, fmt.Errorf("tensor %q: shape %v is too large", t.Name, t.Shape)
		}
		size *= n
	}
	return size, nil
}

// MaxMetadata is how many metadata keys are read. The module knows its own, which are far fewer.
const MaxMetadata = 1024

// File is the content of a safetensors file.
type File struct {
	Metadata map[string]string
	Tensors  []Tensor // by name
}

// Tensor returns the tensor of that name.
func (f *File) Tensor(name string) (Tensor, bool) {
	i, ok := f.Find(name)
	if !ok {
		return Tensor{}, false
	}
	return f.Tensors[i], true
}

// Find returns the index of the tensor of that name.
func (f *File) Find(name string) (i int, ok bool) {
	return slices.BinarySearchFunc(f.Tensors, name, func(t Tensor, name string) int { return strings.Compare(t.Name, name) })
}

// Parse reads a file whose header is at most maxHeader bytes. The tensors' data point into b. The error is an *abi.Error
// of abi.Limit where the header is longer, or has more than MaxMetadata keys.
func Parse(b []byte, maxHeader int) (*File, error) {
	length, err := HeaderLen(b, len(b), maxHeader)
	if err != nil {
		return nil, err
	}
	f, spans, err := parseHeader(b[:length], len(b))
	if err != nil {
		return nil, err
	}
	for i, s := range spans {
		begin, end := length+s.begin, length+s.end
		f.Tensors[i].Data = b[begin:end:end]
	}
	return f, nil
}

// HeaderLen reads the first 8 bytes of a file of size bytes. It returns how many bytes the header takes, those 8
// included. The header's JSON may take maxHeader bytes.
func HeaderLen(b []byte, size, maxHeader int) (int, error) {
	if len(b) < 8 {
		return 0, fmt.Errorf("cut off: %d bytes, the length of the header takes 8", len(b))
	}
	length := binary.LittleEndian.Uint64(b)
	if length > uint64(size-8) {
		return 0, fmt.Errorf("cut off: %d bytes after the first 8, the header alone takes %d", size-8, length)
	}
	if length > uint64(maxHeader) {
		return 0, abi.Errorf(abi.Limit, "header of %d bytes; at most %d are read", length, maxHeader)
	}
	return 8 + int(length), nil
}

// ParseHeader reads the header of a file of size bytes. It returns the tensors without their data, and where in the
// file the data of each begin. header is as many bytes as HeaderLen says.
func ParseHeader(header []byte, size int) (f *File, offsets map[string]int, err error) {
	f, spans, err := parseHeader(header, size)
	if err != nil {
		return nil, nil, err
	}
	offsets = map[string]int{}
	for i, s := range spans {
		offsets[f.Tensors[i].Name] = len(header) + s.begin
	}
	return f, offsets, nil
}

// span is where a tensor's data lie, from the start of all data.
type span struct{ begin, end int }

// parseHeader is ParseHeader with the tensors' spans, in their order. No map has a tensor's name as its key: a message may
// have any number of names, and in the module the seed of a map's hash is known.
func parseHeader(header []byte, size int) (f *File, spans []span, err error) {
	f = &File{Metadata: map[string]string{}}
	data := size - len(header)
	type placed struct {
		Tensor
		span
	}
	var tensors []placed
	d := jsontext.NewDecoder(header[8:])
	err = d.Object(func(key string) error {
		if key == "__metadata__" {
			return d.Object(func(key string) (err error) {
				if len(f.Metadata) == MaxMetadata {
					return abi.Errorf(abi.Limit, "more than %d metadata keys", MaxMetadata)
				}
				f.Metadata[key], err = d.String()
				return err
			})
		}
		t, s, err := parseTensor(d, key)
		if err != nil {
			return err
		}
		if s.end > data {
			return fmt.Errorf("cut off: tensor %q ends at byte %d of the data, which has %d", t.Name, s.end, data)
		}
		tensors = append(tensors, placed{t, s})
		return nil
	})
	if err == nil {
		err = d.End()
	}
	if err != nil {
		return nil, nil, err
	}
	slices.SortFunc(tensors, func(a, b placed) int { return cmp.Or(a.begin-b.begin, a.end-b.end) })
	end := 0
	for _, t := range tensors {
		if t.begin != end {
			return nil, nil, fmt.Errorf("the tensors leave a gap, or overlap, at byte %d of the data", end)
		}
		end = t.end
	}
	if end != data {
		return nil, nil, fmt.Errorf("%d bytes follow the last tensor", data-end)
	}
	slices.SortFunc(tensors, func(a, b placed) int { return byName(a.Tensor, b.Tensor) })
	for _, t := range tensors {
		f.Tensors, spans = append(f.Tensors, t.Tensor), append(spans, t.span)
	}
	return f, spans, nil
}

// parseTensor reads what a header says of the tensor of that name.
func parseTensor(d *jsontext.Decoder, name string) (t Tensor, s span, err error) {
	t.Name = name
	place := []int{}
	err = d.Object(func(key string) error {
		switch key {
		case "dtype":
			name, err := d.String()
			t.DType = DType(name)
			return err
		case "shape":
			return uints(d, &t.Shape)
		case "data_offsets":
			return uints(d, &place)
		}
		return fmt.Errorf("tensor %q has an unknown key %q", t.Name, key)
	})
	if err != nil {
		return t, s, err
	}
	size, err := t.size()
	if err != nil {
		return t, s, err
	}
	if len(place) != 2 || place[0] > place[1] || place[1]-place[0] != size {
		return t, s, fmt.Errorf("tensor %q: offsets %v do not fit %s of shape %v, which is %d bytes", t.Name, place, t.DType, t.Shape, size)
	}
	return t, span{place[0], place[1]}, nil
}

func uints(d *jsontext.Decoder, to *[]int) error {
	return d.Array(func() error {
		n, err := d.Uint()
		if err == nil && n > math.MaxInt {
			err = fmt.Errorf("%d is too large", n)
		}
		*to = append(*to, int(n))
		return err
	})
}

func byName(a, b Tensor) int { return strings.Compare(a.Name, b.Name) }

// Layout is where the tensors of a file to be written go.
type Layout struct {
	Header  []byte         // the file's first bytes: length and JSON
	Offsets map[string]int // of each tensor's data, from the start of the file
	Size    int            // of the whole file in bytes
}

// Lay lays out a file of tensors and metadata. It does not look at the tensors' Data. Their names must differ.
func Lay(tensors []Tensor, metadata map[string]string) (*Layout, error) {
	order := slices.Clone(tensors)
	slices.SortFunc(order, func(a, b Tensor) int {
		if d := b.DType.Size() - a.DType.Size(); d != 0 {
			return d
		}
		return byName(a, b)
	})
	begins := map[string]int{}
	end := 0
	for _, t := range order {
		size, err := t.size()
		if err != nil {
			return nil, err
		}
		if _, twice := begins[t.Name]; twice || t.Name == "__metadata__" {
			return nil, fmt.Errorf("tensor name %q is taken", t.Name)
		}
		begins[t.Name] = end
		end += size
	}

	l := &Layout{Offsets: map[string]int{}}
	l.Header = append(make([]byte, 8), '{')
	if len(metadata) > 0 {
		l.Header = append(l.Header, `"__metadata__":{`...)
		for i, key := range sortedKeys(metadata) {
			if i > 0 {
				l.Header = append(l.Header, ',')
			}
			l.Header = append(jsontext.AppendString(l.Header, key), ':')
			l.Header = jsontext.AppendString(l.Header, metadata[key])
		}
		l.Header = append(l.Header, '}')
	}
	slices.SortFunc(order, byName)
	for i, t := range order {
		if i > 0 || len(metadata) > 0 {
			l.Header = append(l.Header, ',')
		}
		size, _ := t.size()
		begin := begins[t.Name]
		l.Header = append(jsontext.AppendString(l.Header, t.Name), `:{"data_offsets":`...)
		l.Header = append(appendInts(l.Header, []int{begin, begin + size}), `,"dtype":"`...)
		l.Header = append(append(l.Header, t.DType...), `","shape":`...)
		l.Header = append(appendInts(l.Header, t.Shape), '}')
	}
	l.Header = append(l.Header, '}')
	for len(l.Header)%8 != 0 {
		l.Header = append(l.Header, ' ')
	}
	binary.LittleEndian.PutUint64(l.Header, uint64(len(l.Header)-8))
	for name, begin := range begins {
		l.Offsets[name] = len(l.Header) + begin
	}
	l.Size = len(l.Header) + end
	return l, nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func appendInts(b []byte, ints []int) []byte {
	b = append(b, '[')
	for i, n := range ints {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return append(b, ']')
}

// Marshal returns the bytes of a file.
func Marshal(tensors []Tensor, metadata map[string]string) ([]byte, error) {
	l, err := Lay(tensors, metadata)
	if err != nil {
		return nil, err
	}
	b := make([]byte, l.Size)
	copy(b, l.Header)
	for _, t := range tensors {
		if size, _ := t.size(); size != len(t.Data) {
			return nil, fmt.Errorf("tensor %q has %d bytes; %s of shape %v takes %d", t.Name, len(t.Data), t.DType, t.Shape, size)
		}
		copy(b[l.Offsets[t.Name]:], t.Data)
	}
	return b, nil
}
