package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// operation is what a tile does with each term.
type operation int

const (
	multiplyFloats operation = iota // float32: a multiplication, then an addition, never fused
	multiplyWords                   // pairs of 16-bit numbers: their products added, then an addition
	vnni                            // the same in one instruction
)

// tile is a product of rows with one or two panels of 16 kept rows: lanes are kept rows, so each sum is in ascending
// order of terms.
type tile struct {
	name      string
	operation operation
	wide      bool   // whether sums end in float64, added to what is there
	panels    int    // how many panels it takes at once
	only      string // the one level that has it; empty means all
}

var tiles = []tile{
	{"multiply", multiplyFloats, false, 1, ""}, {"multiply2", multiplyFloats, false, 2, avx512.name},
	{"project", multiplyFloats, true, 1, ""}, {"project2", multiplyFloats, true, 2, avx512.name},
	{"screen", multiplyWords, false, 1, ""}, {"screen2", multiplyWords, false, 2, avx512.name},
	{"screenVNNI", vnni, false, 1, avx512.name}, {"screenVNNI2", vnni, false, 2, avx512.name},
}

// doc is the twin: the loop that a tile replaces.
func (t tile) doc() []string {
	value, product := "float32", "float32(x[i][t] * panel[p][t][j])"
	if t.operation != multiplyFloats {
		value, product = "int32", "low(x[i][t])*low(panel[p][t][j]) + high(x[i][t])*high(panel[p][t][j])"
	}
	start, end := []string{"\t\t\tsum := " + value + "(0)", "\t\t\tif add {", "\t\t\t\tsum = dst[i][p][j]", "\t\t\t}"}, "dst[i][p][j] = sum"
	if t.wide {
		start, end = start[:1], "dst[i][p][j] += float64(sum)"
	}
	lines := []string{"multiplies rows with " + []string{"a panel", "two panels"}[t.panels-1] + " of 16 kept rows:", "",
		"\tfor i := range rows {", fmt.Sprintf("\t\tfor p, j := range [%d][16]sum {", t.panels)}
	lines = append(lines, start...)
	return append(lines, "\t\t\tfor t := range terms {", "\t\t\t\tsum += "+product, "\t\t\t}", "\t\t\t"+end, "\t\t}", "\t}", "",
		"dstRow, xRow and xTerm are the bytes from a row or a term to the next; dstPanel and panelStride are those from a panel to the next.")
}

// tileRegisters are the registers of a tile: those that stay, and those that move along the terms.
type tileRegisters struct {
	dst, dstRow         reg.GPVirtual
	panelStride         reg.GPVirtual // where there are two panels
	x, xRow, xRow3      reg.GPVirtual
	term                reg.GPVirtual
	rows                reg.GPVirtual
	panel, first, fifth reg.GPVirtual // move
	left                reg.GPVirtual
}

// value is the memory of row i's value: first is in row 0, and fifth in row 4.
func (r *tileRegisters) value(i int) operand.Mem {
	base, row := r.first, i
	if i > 4 {
		base, row = r.fifth, i-4
	}
	switch row {
	case 0:
		return at(base, 0)
	case 3:
		return element(base, r.xRow3, 1, 0)
	}
	return element(base, r.xRow, row, 0)
}

func (a *assembler) tile(t tile) {
	sum := "float32"
	if t.wide {
		sum = "float64"
	}
	value := "float32"
	if t.operation != multiplyFloats {
		sum, value = "int32", "int32"
	}
	a.function(t.name, "func(dst *"+sum+", dstRow, dstPanel uintptr, panel *"+value+", panelStride uintptr, x *"+value+
		", xRow, xTerm uintptr, rows, terms int, add bool)", t.doc()...)
	r := tileRegisters{dst: a.load("dst"), dstRow: a.load("dstRow"), x: a.load("x"), xRow: a.load("xRow"), term: a.load("xTerm"), rows: a.load("rows"),
		xRow3: a.GP64(), panel: a.GP64(), first: a.GP64(), fifth: a.GP64(), left: a.GP64()}
	if t.panels == 2 {
		r.panelStride = a.load("panelStride")
	}
	a.LEAQ(operand.Mem{Base: r.xRow, Index: r.xRow, Scale: 2}, r.xRow3)
	for _, height := range a.heights {
		next, done := label("rows%d", height), label("below%d", height)
		a.Label(next)
		a.CMPQ(r.rows, operand.Imm(uint64(height)))
		a.JLT(operand.LabelRef(done))
		a.tileOf(t, r, height)
		a.SUBQ(operand.Imm(uint64(height)), r.rows)
		a.JMP(operand.LabelRef(next))
		a.Label(done)
	}
	a.end()
}

// tileOf multiplies some rows, and moves dst and x on to the next.
func (a *assembler) tileOf(t tile, r tileRegisters, height int) {
	perPanel := 64 / a.bytes
	width := perPanel * t.panels // in vectors
	next := 0
	take := func(n int) []reg.VecPhysical {
		next += n
		return a.registers[next-n : next]
	}
	kept, value, product, sums := take(width), take(1)[0], take(1)[0], make([][]reg.VecPhysical, height)
	for i := range sums {
		sums[i] = take(width)
	}
	a.begin(t, r, sums)
	a.MOVQ(a.parameter("panel"), r.panel)
	a.MOVQ(r.x, r.first)
	if height > 4 {
		a.LEAQ(operand.Mem{Base: r.x, Index: r.xRow, Scale: 4}, r.fifth)
	}
	a.MOVQ(a.parameter("terms"), r.left)
	loop := label("terms%d", height)
	a.Label(loop)
	for j := range kept {
		from := at(r.panel, j%perPanel*a.bytes)
		if j >= perPanel {
			from.Index, from.Scale = r.panelStride, 1
		}
		a.VMOVUPS(from, kept[j])
	}
	for i := range height {
		a.VBROADCASTSS(r.value(i), value)
		for j, s := range sums[i] {
			a.multiplyAdd(t.operation, value, kept[j], product, s)
		}
	}
	a.ADDQ(operand.Imm(64), r.panel)
	a.ADDQ(r.term, r.first)
	if height > 4 {
		a.ADDQ(r.term, r.fifth)
	}
	a.DECQ(r.left)
	a.JNZ(operand.LabelRef(loop))
	if t.wide {
		a.addWide(t, r, sums, [2]reg.VecPhysical{value, product})
	} else {
		a.store(t, r, sums)
	}
	a.LEAQ(operand.Mem{Base: r.x, Index: r.xRow, Scale: uint8(min(height, 4))}, r.x)
	switch height {
	case 6:
		a.LEAQ(operand.Mem{Base: r.x, Index: r.xRow, Scale: 2}, r.x)
	case 8:
		a.LEAQ(operand.Mem{Base: r.x, Index: r.xRow, Scale: 4}, r.x)
	}
}

// multiplyAdd adds the products of x and y to a sum.
func (a *assembler) multiplyAdd(o operation, x, y operand.Op, product, sum reg.VecPhysical) {
	switch o {
	case multiplyFloats:
		a.VMULPS(x, y, product)
		a.VADDPS(product, sum, sum)
	case multiplyWords:
		a.VPMADDWD(x, y, product)
		a.VPADDD(product, sum, sum)
	case vnni:
		a.instruction("VPDPWSSD", x, y, sum)
	}
}

// eachRow calls f for the sums of each row with their places. It moves dst on where move is set.
func (a *assembler) eachRow(t tile, r tileRegisters, sums [][]reg.VecPhysical, move bool, f func(sums reg.VecPhysical, bytes int, place operand.Mem)) {
	to, bytes, perPanel := r.left, a.bytes, 64/a.bytes
	if move {
		to = r.dst
	} else {
		a.MOVQ(r.dst, to)
	}
	if t.wide {
		bytes *= 2
	}
	if t.panels == 2 {
		a.MOVQ(a.parameter("dstPanel"), r.panel)
	}
	for i := range sums {
		for j, s := range sums[i] {
			place := at(to, j%perPanel*bytes)
			if j >= perPanel {
				place.Index, place.Scale = r.panel, 1
			}
			f(s, bytes, place)
		}
		a.ADDQ(r.dstRow, to)
	}
}

// begin has sums start at 0, or at what is in dst.
func (a *assembler) begin(t tile, r tileRegisters, sums [][]reg.VecPhysical) {
	zero, begun := label("zero%d", len(sums)), label("begun%d", len(sums))
	if !t.wide {
		a.CMPB(a.parameter("add"), operand.Imm(0))
		a.JEQ(operand.LabelRef(zero))
		a.eachRow(t, r, sums, false, func(s reg.VecPhysical, _ int, place operand.Mem) { a.VMOVUPS(place, s) })
		a.JMP(operand.LabelRef(begun))
		a.Label(zero)
	}
	for _, row := range sums {
		a.zero(row...)
	}
	a.Label(begun)
}

func (a *assembler) store(t tile, r tileRegisters, sums [][]reg.VecPhysical) {
	a.eachRow(t, r, sums, true, func(s reg.VecPhysical, _ int, place operand.Mem) { a.VMOVUPS(s, place) })
}

// addWide adds sums to dst in float64.
func (a *assembler) addWide(t tile, r tileRegisters, sums [][]reg.VecPhysical, scratch [2]reg.VecPhysical) {
	a.eachRow(t, r, sums, true, func(s reg.VecPhysical, bytes int, place operand.Mem) {
		low, high, upper := scratch[0], scratch[1], place
		upper.Disp += bytes / 2
		if a.bytes == 64 {
			a.VEXTRACTF64X4(operand.Imm(1), s, high.AsY())
			a.VCVTPS2PD(s.AsY(), low)
			a.VCVTPS2PD(high.AsY(), high)
		} else {
			a.VEXTRACTF128(operand.Imm(1), s, high.AsX())
			a.VCVTPS2PD(s.AsX(), low)
			a.VCVTPS2PD(high.AsX(), high)
		}
		a.VADDPD(place, low, low)
		a.VADDPD(upper, high, high)
		a.VMOVUPD(low, place)
		a.VMOVUPD(high, upper)
	})
}
