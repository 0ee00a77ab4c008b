package main

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// groupValues is how many values the loops take at a time.
const groupValues = 16

// Predicates of VCMPPS.
const (
	unordered      = 3
	greaterOrEqual = 0x1d // false where a value is NaN, and quiet
)

// Sizes of values, in bytes.
const (
	halfSize   = 2
	floatSize  = 4
	doubleSize = 8
)

// element is the memory at an offset behind value i.
func element(base, i reg.Register, size, offset int) operand.Mem {
	return operand.Mem{Base: base, Index: i, Scale: uint8(size), Disp: offset}
}

// eachGroup repeats a body for each group of n values, a multiple of 16. The body gets the number of the group's first.
func (a *assembler) eachGroup(n reg.Register, body func(i reg.GPVirtual)) {
	i := a.GP64()
	a.XORQ(i, i)
	a.JMP(operand.LabelRef("more"))
	a.Label("group")
	body(i)
	a.ADDQ(operand.Imm(groupValues), i)
	a.Label("more")
	a.CMPQ(i, n)
	a.JLT(operand.LabelRef("group"))
}

// eachVector is eachGroup, vector by vector of values that are wide in registers. The body gets the number of the vector's
// first value in the group, and a register of its own.
func (a *assembler) eachVector(n reg.Register, wide int, body func(i reg.GPVirtual, first int, v reg.VecPhysical)) {
	a.eachGroup(n, func(i reg.GPVirtual) {
		for v := range groupValues * wide / a.bytes {
			body(i, v*a.bytes/wide, a.vector(v))
		}
	})
}

// constant is a vector of equal 32-bit numbers.
func (a *assembler) constant(bits uint32, v reg.VecPhysical) reg.VecPhysical {
	r := a.GP32()
	a.MOVL(operand.U32(bits), r)
	a.VMOVD(r, v.AsX())
	a.VPBROADCASTD(v.AsX(), v)
	return v
}

// logic is bitwise AND and OR of vectors.
func (a *assembler) logic() (and, or func(ops ...operand.Op)) {
	if a.bytes == 64 {
		return a.VPANDD, a.VPORD
	}
	return func(ops ...operand.Op) { a.VPAND(ops[0], ops[1], ops[2]) }, func(ops ...operand.Op) { a.VPOR(ops[0], ops[1], ops[2]) }
}

func (a *assembler) narrow() {
	a.function("narrow", "func(dst *float32, x *float64, n int)", "rounds n values to float32; n is a multiple of 16.")
	dst, x, n := a.load("dst"), a.load("x"), a.load("n")
	a.eachVector(n, doubleSize, func(i reg.GPVirtual, first int, v reg.VecPhysical) {
		a.VMOVUPD(element(x, i, doubleSize, doubleSize*first), v)
		a.narrowTo(v, element(dst, i, floatSize, floatSize*first))
	})
	a.end()
}

// narrowTo rounds a vector of float64.
func (a *assembler) narrowTo(v reg.VecPhysical, to operand.Mem) {
	if a.bytes == 64 {
		a.VCVTPD2PS(v, v.AsY())
		a.VMOVUPS(v.AsY(), to)
	} else {
		a.VCVTPD2PSY(v, v.AsX())
		a.VMOVUPS(v.AsX(), to)
	}
}

func (a *assembler) scale() {
	a.function("scale", "func(dst, x *float32, n int, by float64)", "is Scale; n is a multiple of 16.")
	dst, x, n, by := a.load("dst"), a.load("x"), a.load("n"), a.vector(15)
	a.VBROADCASTSD(a.parameter("by"), by)
	a.eachVector(n, doubleSize, func(i reg.GPVirtual, first int, v reg.VecPhysical) {
		a.VCVTPS2PD(element(x, i, floatSize, floatSize*first), v)
		a.VMULPD(by, v, v)
		a.narrowTo(v, element(dst, i, floatSize, floatSize*first))
	})
	a.end()
}

func (a *assembler) subtract() {
	a.function("subtract", "func(dst, x *float32, n int)", "is Subtract; n is a multiple of 16.")
	dst, x, n := a.load("dst"), a.load("x"), a.load("n")
	a.eachVector(n, floatSize, func(i reg.GPVirtual, first int, v reg.VecPhysical) {
		to := element(dst, i, floatSize, floatSize*first)
		a.VMOVUPS(to, v)
		a.VSUBPS(element(x, i, floatSize, floatSize*first), v, v)
		a.VMOVUPS(v, to)
	})
	a.end()
}

// widen does what the twin does, with whole numbers and one exact product: VCVTPH2PS would change the bits of NaN.
func (a *assembler) widen() {
	a.function("widen", "func(dst *float32, x *uint16, n int)", "is Widen; n is a multiple of 16.")
	dst, x, n := a.load("dst"), a.load("x"), a.load("n")
	const shift = 13 // from a binary16's fraction to a float32's
	magnitude, power := a.constant(0x7fff<<shift, a.vector(15)), a.constant(math.Float32bits(0x1p112), a.vector(14))
	largest, exponent := a.constant(0x7c00<<shift-1, a.vector(13)), a.constant(0x7f800000, a.vector(12))
	sign := a.constant(1<<31, a.vector(11))
	and, or := a.logic()
	a.eachVector(n, floatSize, func(i reg.GPVirtual, first int, v reg.VecPhysical) {
		m, special := a.vector(4), a.vector(5)
		a.VPMOVZXWD(element(x, i, halfSize, halfSize*first), v)
		a.VPSLLD(operand.Imm(shift), v, m)
		a.VPSLLD(operand.Imm(16), v, v)
		and(magnitude, m, m)
		and(sign, v, v)
		a.VPSUBD(m, largest, special) // below 0 for infinities and NaN
		a.VPSRAD(operand.Imm(31), special, special)
		and(exponent, special, special)
		a.VMULPS(power, m, m)
		or(m, v, v)
		or(special, v, v)
		a.VMOVUPS(v, element(dst, i, floatSize, floatSize*first))
	})
	a.end()
}

func (a *assembler) quantize() {
	a.function("quantize", "func(dst *int32, x *float32, n int)", "is Quantize; n is a multiple of 16.")
	dst, x, n := a.load("dst"), a.load("x"), a.load("n")
	unit, minus := a.constant(math.Float32bits(kernelUnit), a.vector(15)), a.constant(math.Float32bits(-kernelUnit), a.vector(14))
	a.eachVector(n, floatSize, func(i reg.GPVirtual, first int, v reg.VecPhysical) {
		a.VMULPS(element(x, i, floatSize, floatSize*first), unit, v)
		a.VMAXPS(minus, v, v)
		a.VMINPS(unit, v, v)
		a.VCVTPS2DQ(v, v)
		to := element(dst, i, halfSize, 0)
		switch {
		case a.bytes == 64:
			a.VPMOVSDW(v, to)
		case first > 0:
			a.VPACKSSDW(v, a.vector(0), v) // in each half: four of the first vector, four of the second
			a.VPERMQ(operand.Imm(0b11_01_10_00), v, v)
			a.VMOVDQU(v, to)
		}
	})
	a.end()
}

// kernelUnit is Unit of package kernel.
const kernelUnit = 1<<15 - 1

// finite adds up x - x, which is 0 or NaN.
func (a *assembler) finite() {
	a.function("finite", "func(x *float32, n int) bool", "is Finite; n is a multiple of 16.")
	x, n, sum := a.load("x"), a.load("n"), a.vector(15)
	a.zero(sum)
	a.eachVector(n, floatSize, func(i reg.GPVirtual, first int, v reg.VecPhysical) {
		a.VMOVUPS(element(x, i, floatSize, floatSize*first), v)
		a.VSUBPS(v, v, v)
		a.VADDPS(v, sum, sum)
	})
	nan := a.GP32()
	if a.bytes == 64 {
		a.VCMPPS(operand.Imm(unordered), sum, sum, reg.K1)
		a.KMOVW(reg.K1, nan)
	} else {
		a.VCMPPS(operand.Imm(unordered), sum, sum, sum)
		a.VMOVMSKPS(sum, nan)
	}
	a.TESTL(nan, nan)
	finite := a.GP8()
	a.SETEQ(finite)
	a.Store(finite, a.ReturnIndex(0))
	a.end()
}
