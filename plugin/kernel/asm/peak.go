package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
)

// peakSums is how many sums a peak's loop adds to each turn.
const peakSums = 12

// peaks are loops of one operation on registers, without loads: what a core can do at most.
func peaks(c *build.Context) {
	for _, l := range levels {
		a := &assembler{Context: c, level: l}
		for o, name := range []string{multiplyFloats: "peakFloats", multiplyWords: "peakWords", vnni: "peakVNNI"} {
			o := operation(o)
			if o == vnni && l.name != avx512.name {
				continue
			}
			a.function(name, "func(turns int)", fmt.Sprintf("makes %d vectors of multiply-adds in each turn.", peakSums))
			left := a.load("turns")
			for v := range 16 {
				a.zero(a.vector(v))
			}
			a.Label("turn")
			for s := range peakSums {
				a.multiplyAdd(o, a.vector(12), a.vector(13), a.vector(14+s%2), a.vector(s))
			}
			a.DECQ(left)
			a.JNZ(operand.LabelRef("turn"))
			a.end()
		}
	}
}
