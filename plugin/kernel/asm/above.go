package main

import (
	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// counting is the numbers from 0 to 15.
func (a *assembler) counting() operand.Mem {
	return a.data("counting", func() {
		for i := range groupValues {
			a.AppendDatum(operand.U32(i))
		}
	})
}

// places is, for each 8-bit mask, the numbers of its bits that are set, a byte each: what compacts a vector.
func (a *assembler) places() operand.Mem {
	return a.data("places", func() {
		for mask := range 1 << 8 {
			var places, n uint64
			for bit := range uint64(8) {
				if mask>>bit&1 == 1 {
					places |= bit << (8 * n)
					n++
				}
			}
			a.AppendDatum(operand.U64(places))
		}
	})
}

// data is a table, which is written once in the file.
func (a *assembler) data(name string, fill func()) operand.Mem {
	m, there := a.tables[name]
	if !there {
		m = a.StaticGlobal(name)
		a.DataAttributes(attr.RODATA | attr.NOPTR)
		fill()
		a.tables[name] = m
	}
	return m
}

// sieve writes numbers one behind the other. It stores a whole vector of them each time, and begins the next store where
// the numbers end: what lies between is inside dst as long as no more were found than looked at.
type sieve struct {
	dst, found reg.GPVirtual
	scratch    reg.VecPhysical
}

// keep writes those numbers whose values reach their bounds.
func (a *assembler) keep(s *sieve, numbers, values, bounds reg.VecPhysical) {
	bits, to := a.GP64(), element(s.dst, s.found, 4, 0)
	if a.bytes == 64 {
		a.VCMPPS(operand.Imm(greaterOrEqual), bounds, values, reg.K1)
		a.KMOVW(reg.K1, bits.As32())
		a.VPCOMPRESSD_Z(numbers, reg.K1, sameWidth(s.scratch, numbers))
		a.VMOVDQU32(sameWidth(s.scratch, numbers), to)
	} else {
		table := a.GP64()
		a.VCMPPS(operand.Imm(greaterOrEqual), bounds, values, bounds)
		a.VMOVMSKPS(bounds, bits.As32())
		a.LEAQ(a.places(), table)
		a.VPMOVZXBD(element(table, bits, 8, 0), s.scratch)
		a.VPERMD(numbers.AsY(), s.scratch, s.scratch)
		a.VMOVDQU(sameWidth(s.scratch, numbers), to)
	}
	a.POPCNTL(bits.As32(), bits.As32())
	a.ADDQ(bits, s.found)
}

// keepUnder is keep for the numbers under a mask, and writes no others.
func (a *assembler) keepUnder(s *sieve, mask reg.OpmaskPhysical, numbers, values, bounds reg.VecPhysical) {
	bits := a.GP64()
	a.VCMPPS(operand.Imm(greaterOrEqual), bounds, values, mask, reg.K1)
	a.KMOVW(reg.K1, bits.As32())
	a.VPCOMPRESSD_Z(numbers, reg.K1, s.scratch)
	a.POPCNTL(bits.As32(), bits.As32())
	a.maskOf(bits, reg.K1)
	a.VMOVDQU32(s.scratch, reg.K1, element(s.dst, s.found, 4, 0))
	a.ADDQ(bits, s.found)
}

// sameWidth is a register as wide as another.
func sameWidth(r, as reg.VecPhysical) reg.VecPhysical {
	switch as.Size() {
	case 16:
		return r.AsX().(reg.VecPhysical)
	case 32:
		return r.AsY().(reg.VecPhysical)
	}
	return r
}

func (a *assembler) above() {
	a.function("above", "func(dst, x *int32, floor, tails *float32, n int, tail float32) int", "is Above; n is a multiple of 4, and dst has room for n.")
	s := &sieve{dst: a.load("dst"), found: a.GP64(), scratch: a.vector(3)}
	x, floor, tails, n, i := a.load("x"), a.load("floor"), a.load("tails"), a.load("n"), a.GP64()
	step := a.bytes / 4
	tail, numbers, steps := a.vector(15), a.vector(14), a.vector(13)
	values, bounds, product := a.vector(0), a.vector(1), a.vector(2)
	a.VBROADCASTSS(a.parameter("tail"), tail)
	a.VMOVUPS(a.counting(), numbers)
	a.constant(uint32(step), steps)
	a.XORQ(i, i)
	a.XORQ(s.found, s.found)
	compare := func(load func(from reg.Register, to reg.VecPhysical)) {
		load(x, values)
		load(tails, product)
		load(floor, bounds)
		a.VCVTDQ2PS(values, values)
		a.VMULPS(tail, product, product)
		a.VSUBPS(product, bounds, bounds)
	}
	a.SUBQ(operand.Imm(uint64(step)), n)
	a.JLT(operand.LabelRef("rest"))
	a.Label("vector")
	compare(func(from reg.Register, to reg.VecPhysical) { a.VMOVUPS(element(from, i, 4, 0), to) })
	a.keep(s, numbers, values, bounds)
	a.VPADDD(steps, numbers, numbers)
	a.ADDQ(operand.Imm(uint64(step)), i)
	a.SUBQ(operand.Imm(uint64(step)), n)
	a.JGE(operand.LabelRef("vector"))
	a.Label("rest")
	a.ADDQ(operand.Imm(uint64(step)), n)
	a.JEQ(operand.LabelRef("done"))
	if a.bytes == 64 {
		a.maskOf(n, reg.K2)
		compare(func(from reg.Register, to reg.VecPhysical) { a.VMOVUPS_Z(element(from, i, 4, 0), reg.K2, to) })
		a.keepUnder(s, reg.K2, numbers, values, bounds)
	} else { // four are left
		compare(func(from reg.Register, to reg.VecPhysical) { a.VMOVUPS(element(from, i, 4, 0), to.AsX()) })
		x := func(r reg.VecPhysical) reg.VecPhysical { return sameWidth(r, reg.X0) }
		a.keep(s, x(numbers), x(values), x(bounds))
	}
	a.Label("done")
	a.Store(s.found, a.ReturnIndex(0))
	a.end()
}
