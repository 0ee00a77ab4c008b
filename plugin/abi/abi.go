// Package abi names what the plugin and its hosts agree on: operations, the tensors and options of their messages,
// error codes, limits and the version. docs/ABI.md says what each means, and package message types the messages. It has
// no code that computes anything; every other package of the plugin, and every host, may import it.
package abi

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/quarry-hn/quarry/plugin/internal/jsontext"
)

// Version of the interface: a host needs its own major and at least its own minor.
const Version = "1.0"

// Op is an operation of the plugin.
type Op int32

// The operations. Their numbers are part of the interface.
const (
	OpInfo Op = iota
	OpLoadProjection
	OpTransform
	OpBegin
	OpPush
	OpFinish
	OpSelect
	OpMerge
	OpReset
	opCount
)

var opNames = [opCount]string{"info", "load_projection", "transform", "begin", "push", "finish", "select", "merge", "reset"}

// Operations lists the names of all operations, by number.
func Operations() []string { return opNames[:] }

func (op Op) String() string {
	if op >= 0 && op < opCount {
		return opNames[op]
	}
	return "operation " + strconv.Itoa(int(op))
}

// Limits, enforced before anything is allocated.
const (
	MaxMessage  = 1 << 30   // bytes of a message
	MaxHeader   = 4 << 20   // bytes of a message's header
	MaxModels   = 64        // models of a projection
	MaxColumns  = 65536     // columns of all models together, and components
	MaxRows     = 1<<31 - 1 // rows of a tensor
	MaxPosition = 1<<53 - 1 // position of a document
	MaxTop      = 4096      // negatives of a pair
	MaxPairsID  = 256       // bytes of the pairs_id option
	MaxMemory   = 1 << 30   // bytes an instance may hold, unless reset says otherwise
)

// Code is the kind of an error.
type Code int32

// The error codes. Their numbers are part of the interface.
const (
	OK Code = iota
	BadMessage
	BadOption
	Limit
	Memory
	NoProjection
	NoPairs
	Mismatch
	NonFinite
	ZeroVector
	Overlap
	UnknownOperation
	Internal
	codeCount
)

var codeNames = [codeCount]string{"ok", "bad_message", "bad_option", "limit", "memory", "no_projection", "no_pairs", "mismatch",
	"non_finite", "zero_vector", "overlap", "unknown_operation", "internal"}

func (c Code) String() string {
	if c >= 0 && c < codeCount {
		return codeNames[c]
	}
	return "code " + strconv.Itoa(int(c))
}

// Error is what an operation fails with. Tensor and Row name the place, where there is one.
type Error struct {
	Code    Code
	Message string
	Tensor  string // name of the tensor in the message; empty where none is at fault
	Row     int    // row of that tensor, from 0; -1 where no row is at fault
}

// Errorf returns an error without a place.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Row: -1}
}

// Wrap returns err with what failed before its message. The code is err's own where it is an *Error.
func Wrap(err error, code Code, what string) *Error {
	var e *Error
	if errors.As(err, &e) {
		code = e.Code
	}
	return Errorf(code, "%s: %v", what, err)
}

// At returns the error with a place: a tensor, and a row of it or -1.
func (e *Error) At(tensor string, row int) *Error {
	placed := *e
	placed.Tensor, placed.Row = tensor, row
	return &placed
}

func (e *Error) Error() string {
	switch {
	case e.Tensor == "":
		return e.Message
	case e.Row < 0:
		return e.Tensor + ": " + e.Message
	}
	return e.Tensor + ", row " + strconv.Itoa(e.Row) + ": " + e.Message
}

// Is reports whether target is an *Error of the same code, so that errors.Is(err, &Error{Code: c}) works.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// AsError returns err as an *Error: itself where it is one, an internal error where it is not.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Errorf(Internal, "%v", err)
}

// JSON is the error as it crosses the plugin's boundary.
func (e *Error) JSON() []byte {
	b := append([]byte(`{"code":`), jsontext.AppendString(nil, e.Code.String())...)
	b = jsontext.AppendString(append(b, `,"message":`...), e.Message)
	if e.Tensor != "" {
		b = jsontext.AppendString(append(b, `,"tensor":`...), e.Tensor)
		if e.Row >= 0 {
			b = strconv.AppendInt(append(b, `,"row":`...), int64(e.Row), 10)
		}
	}
	return append(b, '}')
}

// ParseError reads an error's JSON; code is the status that came with it.
func ParseError(code Code, text []byte) *Error {
	e := &Error{Code: code, Row: -1}
	d := jsontext.NewDecoder(text)
	err := d.Object(func(key string) (err error) {
		switch key {
		case "message":
			e.Message, err = d.String()
		case "tensor":
			e.Tensor, err = d.String()
		case "row":
			var row int64
			row, err = d.Uint()
			e.Row = int(row)
		default:
			_, err = d.String()
		}
		return err
	})
	if err != nil {
		return Errorf(code, "%s", text)
	}
	return e
}

// Info is the answer to the info operation, as JSON.
func Info(kernel string) []byte {
	b := append([]byte(`{"abi":"`+Version+`","operations":[`), jsontext.AppendString(nil, opNames[0])...)
	for _, name := range opNames[1:] {
		b = jsontext.AppendString(append(b, ','), name)
	}
	b = jsontext.AppendString(append(b, `],"kernels":[`...), kernel)
	b = append(b, `],"limits":{`...)
	for i, l := range []struct {
		name  string
		value int64
	}{{"message_bytes", MaxMessage}, {"header_bytes", MaxHeader}, {"models", MaxModels}, {"columns", MaxColumns}, {"rows", MaxRows},
		{"position", MaxPosition}, {"top", MaxTop}, {"memory_bytes", MaxMemory}} {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(jsontext.AppendString(b, l.name), ':'), l.value, 10)
	}
	return append(b, "}}"...)
}
