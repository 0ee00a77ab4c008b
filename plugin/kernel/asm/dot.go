package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// dot keeps the eight partial sums in one register or two. It takes as long as the additions one after the other.
func (a *assembler) dot() {
	a.function("dot", "func(a, b *float32, n int) float64", "is Dot, of any n. A product of two float32 is exact in float64.")
	x, y, n, i := a.load("a"), a.load("b"), a.load("n"), a.GP64()
	parts := 64 / a.bytes
	for part := range parts {
		a.zero(a.vector(part))
	}
	// add adds products, each part of them with a load of its own.
	add := func(load func(base reg.Register, part int, to reg.VecPhysical)) {
		for part := range parts {
			p, q := a.vector(2+2*part), a.vector(3+2*part)
			load(x, part, p)
			load(y, part, q)
			a.VMULPD(p, q, p)
			a.VADDPD(p, a.vector(part), a.vector(part))
		}
	}
	a.XORQ(i, i)
	a.SUBQ(operand.Imm(8), n)
	a.JLT(operand.LabelRef("rest"))
	a.Label("eight")
	add(func(base reg.Register, part int, to reg.VecPhysical) {
		a.VCVTPS2PD(element(base, i, floatSize, part*a.bytes/2), to)
	})
	a.ADDQ(operand.Imm(8), i)
	a.SUBQ(operand.Imm(8), n)
	a.JGE(operand.LabelRef("eight"))
	a.Label("rest")
	a.ADDQ(operand.Imm(8), n)
	a.JEQ(operand.LabelRef("fold"))
	a.dotRest(i, n, add)
	a.Label("fold")
	if a.bytes == 64 {
		a.VEXTRACTF64X4(operand.Imm(1), reg.Z0, reg.Y1)
	}
	a.VADDPD(reg.Y1, reg.Y0, reg.Y0) // 0+4, 1+5, 2+6, 3+7
	a.VEXTRACTF128(operand.Imm(1), reg.Y0, reg.X1)
	a.VADDPD(reg.X1, reg.X0, reg.X0)
	a.VUNPCKHPD(reg.X0, reg.X0, reg.X1)
	a.VADDSD(reg.X1, reg.X0, reg.X0)
	a.Store(reg.X0, a.ReturnIndex(0))
	a.end()
}

// dotRest adds the last 1 to 7 products. A load under a mask touches no memory where the mask is off, and gives 0 there,
// which changes no sum.
func (a *assembler) dotRest(i, n reg.GPVirtual, add func(load func(base reg.Register, part int, to reg.VecPhysical))) {
	if a.bytes == 64 {
		a.maskOf(n, reg.K1)
		add(func(base reg.Register, _ int, to reg.VecPhysical) {
			a.VMOVUPS_Z(element(base, i, floatSize, 0), reg.K1, to.AsY())
			a.VCVTPS2PD(to.AsY(), to)
		})
		return
	}
	masks := [2]reg.VecPhysical{reg.Y15, reg.Y14}
	a.VMOVD(n.As32(), reg.X15)
	a.VPBROADCASTD(reg.X15, reg.Y15)
	a.VPCMPGTD(a.counting(), reg.Y15, reg.Y15)
	a.VEXTRACTF128(operand.Imm(1), reg.Y15, reg.X14)
	add(func(base reg.Register, part int, to reg.VecPhysical) {
		a.VMASKMOVPS(element(base, i, floatSize, 16*part), masks[part].AsX(), to.AsX())
		a.VCVTPS2PD(to.AsX(), to)
	})
}

// maskOf sets the first n bits of a mask. n is from 0 to 16.
func (a *assembler) maskOf(n reg.GPVirtual, mask reg.OpmaskPhysical) {
	ones := a.GP32()
	a.MOVQ(n, reg.RCX)
	a.MOVL(operand.U32(1), ones)
	a.SHLL(reg.CL, ones)
	a.DECL(ones)
	a.KMOVW(ones, mask)
}
