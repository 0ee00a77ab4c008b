package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// together is how many survivors extend takes at a time: the latencies of one hide those of the others.
const together = 4

type extendRegisters struct {
	x, whole  reg.GPVirtual           // whole is the bytes of x in whole vectors
	next      reg.GPVirtual           // moves along kept
	row       [together]reg.GPVirtual // of each survivor: its row, and later its number
	offset    reg.GPVirtual           // moves along the rows, in bytes
	operation operation
	sieve     *sieve
}

// extend takes pairs of 16-bit numbers with one operation or another.
func (a *assembler) extend(o operation) {
	name := "extend"
	if o == vnni {
		name = "extendVNNI"
	}
	a.function(name, "func(kept, sums *int32, count int, rows *int32, stride uintptr, x *int32, words int, floor, tails *float32, tail float32) int",
		"is Extend; stride is in bytes, and words is a multiple of 4.")
	r := extendRegisters{x: a.load("x"), whole: a.load("words"), next: a.load("kept"), offset: a.GP64(), operation: o,
		sieve: &sieve{found: a.GP64(), scratch: a.vector(6)}}
	for i := range r.row {
		r.row[i] = a.GP64()
	}
	step := a.bytes / 4
	if a.bytes == 64 {
		a.MOVQ(r.whole, r.offset)
		a.ANDQ(operand.Imm(uint64(step-1)), r.offset)
		a.maskOf(r.offset, reg.K2)
	}
	a.ANDQ(operand.I8(-step), r.whole)
	a.SHLQ(operand.Imm(2), r.whole)
	a.XORQ(r.sieve.found, r.sieve.found)
	a.VBROADCASTSS(a.parameter("tail"), a.vector(15))
	for _, n := range []int{together, 1} {
		next, done := label("survivors%d", n), label("fewer%d", n)
		a.Label(next)
		a.CMPQ(a.parameter("count"), operand.Imm(uint64(n)))
		a.JLT(operand.LabelRef(done))
		a.multiplyRows(r, n)
		a.addUp(n)
		a.keepRows(r, n)
		a.ADDQ(operand.Imm(uint64(4*n)), r.next)
		a.SUBQ(operand.Imm(uint64(n)), a.parameter("count"))
		a.JMP(operand.LabelRef(next))
		a.Label(done)
	}
	a.Store(r.sieve.found, a.ReturnIndex(0))
	a.end()
}

// multiplyRows leaves the sums of the products of x with n rows in the first n registers, each sum in many lanes.
func (a *assembler) multiplyRows(r extendRegisters, n int) {
	loop, more, none := label("words%d", n), label("more%d", n), label("whole%d", n)
	x, product, rest := a.vector(4), a.vector(5), a.vector(6)
	for i := range n {
		a.MOVLQZX(at(r.next, 4*i), r.row[i])
		a.IMULQ(a.parameter("stride"), r.row[i])
		a.ADDQ(a.parameter("rows"), r.row[i])
		a.zero(a.vector(i))
	}
	a.XORQ(r.offset, r.offset)
	a.JMP(operand.LabelRef(more))
	a.Label(loop)
	a.VMOVUPS(element(r.x, r.offset, 1, 0), x)
	for i := range n {
		a.multiplyAdd(r.operation, element(r.row[i], r.offset, 1, 0), x, product, a.vector(i))
	}
	a.ADDQ(operand.Imm(uint64(a.bytes)), r.offset)
	a.Label(more)
	a.CMPQ(r.offset, r.whole)
	a.JLT(operand.LabelRef(loop))
	a.TESTQ(operand.U32(a.bytes/4-1), a.parameter("words"))
	a.JEQ(operand.LabelRef(none))
	load := func(from operand.Mem, to reg.VecPhysical) {
		if a.bytes == 64 {
			a.VMOVUPS_Z(from, reg.K2, to)
		} else {
			a.VMOVUPS(from, to.AsX())
		}
	}
	load(element(r.x, r.offset, 1, 0), x)
	for i := range n {
		load(element(r.row[i], r.offset, 1, 0), rest)
		a.multiplyAdd(r.operation, rest, x, product, a.vector(i))
	}
	a.Label(none)
}

// addUp adds the lanes of each of n registers up, into the first n lanes of register 0.
func (a *assembler) addUp(n int) {
	y := func(i int) reg.VecPhysical { return sameWidth(a.vector(i), reg.Y0) }
	if a.bytes == 64 {
		for i := range n {
			a.VEXTRACTI64X4(operand.Imm(1), a.vector(i), y(4))
			a.VPADDD(y(4), y(i), y(i))
		}
	}
	if n == together {
		a.VPHADDD(y(1), y(0), y(0))
		a.VPHADDD(y(3), y(2), y(2))
		a.VPHADDD(y(2), y(0), y(0))
	} else {
		a.VPHADDD(y(0), y(0), y(0))
		a.VPHADDD(y(0), y(0), y(0))
	}
	a.VEXTRACTI128(operand.Imm(1), y(0), reg.X4)
	a.VPADDD(reg.X4, reg.X0, reg.X0)
}

// keepRows adds the sums in register 0 to those of n survivors, and writes the numbers of those that stay.
func (a *assembler) keepRows(r extendRegisters, n int) {
	gather := func(parameter string, to reg.VecPhysical) {
		a.MOVQ(a.parameter(parameter), r.offset)
		a.VMOVD(element(r.offset, r.row[0], 4, 0), to)
		for i := 1; i < n; i++ {
			a.VPINSRD(operand.Imm(uint64(i)), element(r.offset, r.row[i], 4, 0), to, to)
		}
	}
	for i := range n {
		a.MOVLQZX(at(r.next, 4*i), r.row[i])
	}
	sums, numbers, bounds, product := reg.X0, reg.X1, reg.X2, reg.X3
	gather("sums", reg.X4)
	a.VPADDD(reg.X4, sums, sums)
	a.VMOVD(sums, element(r.offset, r.row[0], 4, 0))
	for i := 1; i < n; i++ {
		a.VPEXTRD(operand.Imm(uint64(i)), sums, element(r.offset, r.row[i], 4, 0))
	}
	a.VCVTDQ2PS(sums, sums)
	gather("tails", product)
	gather("floor", bounds)
	a.VMULPS(reg.X15, product, product)
	a.VSUBPS(product, bounds, bounds)
	r.sieve.dst = r.offset
	if n == together {
		a.VMOVUPS(at(r.next, 0), numbers)
		a.MOVQ(a.parameter("kept"), r.offset)
		a.keep(r.sieve, numbers, sums, bounds)
		return
	}
	stays := r.row[1]
	a.MOVQ(a.parameter("kept"), r.offset)
	a.MOVL(r.row[0].As32(), element(r.offset, r.sieve.found, 4, 0))
	a.VCMPPS(operand.Imm(greaterOrEqual), bounds, sums, bounds)
	a.VMOVD(bounds, stays.As32())
	a.ANDQ(operand.Imm(1), stays)
	a.ADDQ(stays, r.sieve.found)
}
