// Package message types the messages of the plugin's operations: what begin, push, select, transform, merge and reset
// take, and what transform answers. What finish, select and merge answer is a part, mine.Part.
//
// A host makes a message of a typed value: Encode gives the tensors and the options that docs/ABI.md names. The values
// of vectors may be missing then, so that a host can lay a message out and read them straight into a plugin's memory.
// Package session reads messages: Parse, then the Decode function of the operation, which checks all that can be
// checked before anything is computed.
package message

import (
	"errors"
	"iter"
	"maps"
	"slices"
	"strconv"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Reader reads a message. It keeps track of the tensors and options that were asked for, so that it can tell those that
// do not belong, and of the first bad option.
type Reader struct {
	file    *safetensors.File
	asked   []bool          // which of the file's tensors were asked for
	options map[string]bool // asked for
	err     error           // about the first bad option
}

// Parse reads the header of a message. The tensors' data stay in the message.
func Parse(in []byte) (*Reader, error) {
	f, err := safetensors.Parse(in, abi.MaxHeader)
	if err != nil {
		return nil, abi.Wrap(err, abi.BadMessage, "not a safetensors message")
	}
	for _, t := range f.Tensors {
		if t.Rows() > abi.MaxRows {
			return nil, abi.Errorf(abi.Limit, "%d rows; the limit is %d", t.Rows(), abi.MaxRows).At(t.Name, -1)
		}
	}
	return &Reader{file: f, asked: make([]bool, len(f.Tensors)), options: map[string]bool{}}, nil
}

// End returns the first error among the options, or that a tensor or an option is unknown to the operation.
func (r *Reader) End() error {
	if r.err != nil {
		return r.err
	}
	for i, t := range r.file.Tensors {
		if !r.asked[i] {
			return abi.Errorf(abi.BadMessage, "the operation knows no such tensor").At(t.Name, -1)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(r.file.Metadata)) { // of several, the same is named each time
		if !r.options[key] {
			return abi.Errorf(abi.BadOption, "option %q is unknown", key)
		}
	}
	return nil
}

// Parts gives the tensors of a merge message in the order of their names: the bytes of a part each. A tensor of another
// type is an error, and the last that is given.
func (r *Reader) Parts() iter.Seq2[safetensors.Tensor, error] {
	return func(yield func(safetensors.Tensor, error) bool) {
		for i, t := range r.file.Tensors {
			if t.DType != safetensors.U8 {
				yield(t, abi.Errorf(abi.BadMessage, "has type %s; a part's bytes are U8", t.DType).At(t.Name, -1))
				return
			}
			r.asked[i] = true
			if !yield(t, nil) {
				return
			}
		}
	}
}

// fail keeps the first error among the options.
func (r *Reader) fail(err error) {
	if r.err == nil && err != nil {
		r.err = err
	}
}

func (r *Reader) tensor(name string) (safetensors.Tensor, bool) {
	i, ok := r.file.Find(name)
	if !ok {
		return safetensors.Tensor{}, false
	}
	r.asked[i] = true
	return r.file.Tensors[i], true
}

// int64s returns an optional tensor of one dimension as a copy, nil where it is absent.
func (r *Reader) int64s(name string) []int64 {
	t, ok := r.tensor(name)
	if !ok {
		return nil
	}
	if t.DType != safetensors.I64 || len(t.Shape) != 1 {
		r.fail(abi.Errorf(abi.BadMessage, "has type %s and shape %v; expected I64 and one dimension", t.DType, t.Shape).At(name, -1))
		return nil
	}
	return append(make([]int64, 0, t.Rows()), safetensors.Int64s(t.Data)...)
}

// lookup returns an option's text, and whether it was given.
func (r *Reader) lookup(name string) (string, bool) {
	r.options[name] = true
	text, given := r.file.Metadata[name]
	return text, given
}

func (r *Reader) option(name, byDefault string) string {
	if text, given := r.lookup(name); given {
		return text
	}
	return byDefault
}

func (r *Reader) int(name string, byDefault, from, to int64) int64 {
	text, given := r.lookup(name)
	if !given {
		return byDefault
	}
	code := abi.OK
	n, err := strconv.ParseInt(text, 10, 64) // where int64 has no such number, its nearest
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange), n < from:
		code = abi.BadOption
	case n > to:
		code = abi.Limit
	}
	if code != abi.OK {
		r.fail(abi.Errorf(code, "option %s is %q; it goes from %d to %d", name, text, from, to))
	}
	return n
}

func (r *Reader) float(name string, byDefault float64) float64 {
	text, given := r.lookup(name)
	if !given {
		return byDefault
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		r.fail(abi.Errorf(abi.BadOption, "option %s is %q; expected a number", name, text))
	}
	return f
}

// choice reports whether an option is yes rather than no, which is its default.
func (r *Reader) choice(name, no, yes string) bool {
	text := r.option(name, no)
	if text != yes && text != no {
		r.fail(abi.Errorf(abi.BadOption, "option %s is %q; expected %q or %q", name, text, no, yes))
	}
	return text == yes
}

// The values of the option zero.
const (
	zeroError = "error"
	zeroSkip  = "skip"
)

func (r *Reader) skipZero() bool { return r.choice(abi.OptionZero, zeroError, zeroSkip) }

func encodeZero(skip bool) string {
	if skip {
		return zeroSkip
	}
	return zeroError
}
