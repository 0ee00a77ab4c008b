// Package sessiontest makes programs for a plugin's instance out of any bytes, for fuzz targets.
//
// Input: bytes, six for each step. Output: calls: an operation, and a message that is right for it, right for another,
// changed in one place, or noise. Messages may hold the answers to earlier steps. The tests of session and of
// host/engine use this package.
package sessiontest

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Step is one call.
type Step struct {
	Op      abi.Op
	Message []byte
}

// Program gives the steps that some bytes stand for, one after another.
type Program struct {
	code  []byte
	parts [][]byte // what finish, select and merge have answered, the newest last
}

// StepSize is the bytes of one step; MaxSteps how many are made at most.
const (
	StepSize = 6
	MaxSteps = 24
)

// Decode returns the program of any bytes.
func Decode(code []byte) *Program {
	return &Program{code: code[:min(len(code), StepSize*MaxSteps)]}
}

// Random returns n programs, the same each time. Most of their steps go through where the state before lets them.
func Random(n int) (programs [][]byte) {
	r := rand.New(rand.NewPCG(5, 11))
	for range n {
		var code []byte
		for range 2 + r.IntN(MaxSteps-1) {
			step := make([]byte, StepSize)
			for i := range step {
				step[i] = byte(r.Uint32())
			}
			if r.IntN(8) > 0 {
				step[0] &= 0x7f
			}
			if r.IntN(3) > 0 {
				step[2] = 0
			}
			code = append(code, step...)
		}
		programs = append(programs, code)
	}
	return programs
}

// Next returns the next step; ok is false at the end.
func (p *Program) Next() (s Step, ok bool) {
	if len(p.code) < StepSize {
		return Step{}, false
	}
	c := p.code[:StepSize]
	p.code = p.code[StepSize:]
	base := messages[int(c[1])%len(messages)]
	s = Step{Op: base.op, Message: bytes.Clone(base.bytes)}
	if s.Op == abi.OpMerge {
		s.Message = p.merge(int(c[0]&0x7f), c[2], int(c[3])<<8|int(c[4]), c[5])
	}
	if c[0] >= 0x80 { // another operation; 9 and -1 are not operations
		s.Op = abi.Op(int(c[0]&0x7f)%(len(abi.Operations())+2)) - 1
	}
	s.Message = change(s.Message, c[2], int(c[3])<<8|int(c[4]), c[5])
	return s, true
}

// Answered tells the program what the step gave.
func (p *Program) Answered(s Step, out []byte) {
	if s.Op == abi.OpFinish || s.Op == abi.OpSelect || s.Op == abi.OpMerge {
		p.parts = append(p.parts, bytes.Clone(out))
	}
}

// merge is a message of the program's own parts: the i-th newest part for each bit i that is set in which. Where what
// is over 10, each part is changed before it goes in.
func (p *Program) merge(which int, what byte, at int, value byte) []byte {
	var tensors []safetensors.Tensor
	for i := range min(len(p.parts), 7) {
		if which>>i&1 == 0 {
			continue
		}
		part := p.parts[len(p.parts)-1-i]
		switch what % 16 {
		case 11, 12:
			part = change(bytes.Clone(part), 5, at, value)
		case 13, 14, 15:
			part = change(bytes.Clone(part), 6, at, value)
		}
		tensors = append(tensors, safetensors.Tensor{Name: strconv.Itoa(i), DType: safetensors.U8, Shape: []int{len(part)}, Data: part})
	}
	return marshal(nil, tensors...)
}

// change gives a message with one change, which may or may not make it wrong. what chooses the change, at its place,
// value its value.
func change(b []byte, what byte, at int, value byte) []byte {
	if len(b) == 0 {
		if what%16 == 1 {
			return bytes.Repeat([]byte{value}, at%64)
		}
		return b
	}
	place := at % len(b)
	special := []uint64{0, 1, math.MaxUint64, 1 << 63, math.MaxInt64, 1 << 53, 0x7fc00000_7fc00000, 0x7f800000_7f800000, 0x7f7fffff_7f7fffff, 0x00000001_00000001, 0xff800000_00000000}
	switch what % 16 {
	case 1: // noise in the header's length, or in any place
		b[place] = value
	case 2:
		return b[:place]
	case 3:
		return append(b, value)
	case 4:
		b[place] ^= 1 << (value % 8)
	case 5: // a number in the data
		if begin := dataOf(b); len(b)-begin >= 8 {
			place = begin + at%((len(b)-begin)/8)*8
			binary.LittleEndian.PutUint64(b[place:], special[int(value)%len(special)])
		}
	case 6, 7, 8, 9, 10:
		return edit(b, what%16, at, value)
	}
	return b
}

// dataOf is where a message's data begin.
func dataOf(b []byte) int {
	if len(b) < 8 {
		return len(b)
	}
	return 8 + int(min(binary.LittleEndian.Uint64(b), uint64(len(b)-8)))
}

// edit changes the options or tensors of a message that is sound. Another message stays as it is.
func edit(b []byte, what byte, at int, value byte) []byte {
	f, err := safetensors.Parse(b, abi.MaxHeader)
	if err != nil || len(f.Tensors) == 0 && what != 6 {
		return b
	}
	var tensor *safetensors.Tensor
	if len(f.Tensors) > 0 {
		tensor = &f.Tensors[at%len(f.Tensors)]
	}
	switch what {
	case 6: // an option
		o := options[at%len(options)]
		f.Metadata[o.key] = o.values[int(value)%len(o.values)]
	case 7: // a tensor less
		f.Tensors = slices.Delete(f.Tensors, at%len(f.Tensors), at%len(f.Tensors)+1)
	case 8: // another name
		tensor.Name = tensorNames[int(value)%len(tensorNames)]
	case 9: // another shape of as many values
		n := len(tensor.Data) / tensor.DType.Size()
		tensor.Shape = [][]int{{n}, {1, n}, {n, 1}, {n, 1, 1}, {0, 1 << 40}, {}, {n / 2, 2}, {2, n / 2}}[value%8]
	case 10: // as many bytes of another type
		tensor.DType = []safetensors.DType{safetensors.U8, safetensors.F16, safetensors.F32, safetensors.F64, safetensors.I64}[value%5]
		tensor.Shape = []int{len(tensor.Data) / tensor.DType.Size()}
	}
	changed, err := safetensors.Marshal(f.Tensors, f.Metadata)
	if err != nil {
		return b
	}
	return changed
}

var tensorNames = []string{abi.TensorQueries, abi.TensorPositives, abi.TensorDocuments, abi.RawTensor(abi.TensorDocuments, "a"), abi.RawTensor(abi.TensorQueries, "b"),
	abi.TensorPairQuery, abi.TensorExclude, abi.TensorTogether, abi.TensorTogetherOffsets, "x", "", "é"}

// options are the options of all operations, each with values that are allowed and values that are not.
var options = []struct {
	key    string
	values []string
}{
	{abi.OptionRule, []string{"dual", "topk", "margin", "perc", "capped", "window", "", "best"}},
	{"margin", []string{"0", "0.05", "2", "-1", "2.1", "NaN", "x"}},
	{"perc", []string{"0.95", "1", "0", "1e-300", "Inf", ""}},
	{abi.OptionFloor, []string{"1 0", "0.5 -0.1", "-1e308 -1e308", "1", "NaN 0", ""}},
	{abi.OptionCap, []string{"1 0", "1 0.3", "1e308 1e308", "Inf 0", "x y"}},
	{abi.OptionEq6, []string{"true", "false", "True"}},
	{abi.OptionTop, []string{"1", "2", "5", "4096", "0", "4097", "-1", "1e3"}},
	{abi.OptionCounts, []string{"true", "false", "1"}},
	{abi.OptionZero, []string{"skip", "error", ""}},
	{abi.OptionFirst, []string{"0", "11", "5", "1000000", "9007199254740991", "9007199254740980", "-1", "9223372036854775808", ""}},
	{abi.OptionProjection, []string{"", "abc", "other"}},
	{abi.OptionPairsID, []string{"", "x", "été", string(bytes.Repeat([]byte{'y'}, 257))}},
	{abi.OptionMemoryLimit, []string{"1073741824", "8388608", "3000000", "65536", "1", "0", "4294967296", "-1", "x"}},
	{"more", []string{"1"}},
	{"skipped", []string{"0", "1", "9223372036854775807", "-1"}},
	{"format", []string{"quarry.part.v1", "quarry.projection.v1", ""}},
	{"pca", []string{"none", "components=4", ""}},
	{"normalize", []string{"l2", "none", ""}},
}
