package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// level is a set of instructions.
type level struct {
	name      string // as functions' names end
	bytes     int    // of a vector register
	registers []reg.VecPhysical
	heights   []int // how many rows a tile takes at once: tallest first, and 1 last
}

var (
	avx2 = level{"AVX2", 32, []reg.VecPhysical{reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7, reg.Y8, reg.Y9, reg.Y10, reg.Y11,
		reg.Y12, reg.Y13, reg.Y14, reg.Y15}, []int{6, 2, 1}}
	avx512 = level{"AVX512", 64, []reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11,
		reg.Z12, reg.Z13, reg.Z14, reg.Z15, reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27,
		reg.Z28, reg.Z29, reg.Z30, reg.Z31}, []int{8, 4, 2, 1}}
	levels = []level{avx2, avx512}
)

// assembler writes functions of one level. Vector registers are given by number, others are the allocator's.
type assembler struct {
	*build.Context
	level
	tables map[string]operand.Mem // of the file, by name
}

// function begins a function that keeps no pointer and needs no stack.
func (a *assembler) function(name, signature string, doc ...string) {
	name += a.name
	doc[0] = name + " " + doc[0]
	a.Function(name)
	a.Doc(doc...)
	a.Pragma("noescape")
	a.Attributes(attr.NOSPLIT)
	a.SignatureExpr(signature)
}

// end returns from a function. Code after it may use SSE without a penalty.
func (a *assembler) end() {
	a.VZEROUPPER()
	a.RET()
}

// load is a parameter in a register of its own.
func (a *assembler) load(name string) reg.GPVirtual {
	return a.Load(a.Param(name), a.GP64()).(reg.GPVirtual)
}

// parameter is a parameter in memory.
func (a *assembler) parameter(name string) operand.Mem {
	p, err := a.Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return p.Addr
}

// vector is the register of a number.
func (a *assembler) vector(i int) reg.VecPhysical { return a.registers[i] }

// zero clears vector registers.
func (a *assembler) zero(v ...reg.VecPhysical) {
	for _, r := range v {
		if r.Size() == 64 {
			a.VPXORD(r, r, r)
		} else {
			a.VPXOR(r, r, r)
		}
	}
}

// instruction is one that avo does not know: of three vectors, the last of which is read and written.
func (a *assembler) instruction(opcode string, x, y operand.Op, sum reg.Register) {
	a.Instruction(&ir.Instruction{Opcode: opcode, Operands: []operand.Op{x, y, sum}, Inputs: []operand.Op{x, y, sum}, Outputs: []operand.Op{sum}})
}

// at is the memory at base + offset.
func at(base reg.Register, offset int) operand.Mem { return operand.Mem{Base: base, Disp: offset} }

// label is a name that is unique in its function.
func label(format string, args ...any) string { return fmt.Sprintf(format, args...) }
