//go:build amd64 && !purego

package kernel_test

import (
	"math"
	"slices"
	"testing"

	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/kernel/kerneltest"
)

// eachNative runs a test for every kernel in assembly, and says which ones this processor lacks.
func eachNative(t *testing.T, test func(t *testing.T, n *kernel.Native)) {
	natives := kernel.Natives()
	for _, name := range []string{"avx512 vnni", "avx512", "avx2"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(natives, func(n *kernel.Native) bool { return n.Name() == name })
			if i < 0 {
				t.Skip("this processor lacks its instructions")
			}
			test(t, natives[i])
		})
	}
}

func TestNatives(t *testing.T) {
	eachNative(t, func(t *testing.T, n *kernel.Native) { kerneltest.Run(t, n.New()) })
}

// TestNativeWiden compares every binary16 with the twin, the bits of NaN too: VCVTPH2PS, for one, gives others.
func TestNativeWiden(t *testing.T) {
	all := make([]uint16, 1<<16)
	for i := range all {
		all[i] = uint16(i)
	}
	want := make([]float32, len(all))
	kernel.Plain.Widen(want, all)
	eachNative(t, func(t *testing.T, n *kernel.Native) {
		got := make([]float32, len(all))
		n.New().Widen(got, all)
		for i := range all {
			if g, w := math.Float32bits(got[i]), math.Float32bits(want[i]); g != w {
				t.Fatalf("binary16 %#x becomes %#x, expected %#x", i, g, w)
			}
		}
	})
}

// TestNativeProduct gives hosts' products operands that are too short by one value: each panics, where what is in assembly would go on.
func TestNativeProduct(t *testing.T) {
	eachNative(t, func(t *testing.T, n *kernel.Native) {
		const rows, terms, count = 3, 5, 2
		for name, p := range map[string]struct{ x, panels, dst int }{"": {}, "x": {x: 1}, "panels": {panels: 1}, "dst": {dst: 1}} {
			product := &kernel.Product{X: make([]float32, rows*terms-p.x), XRow: terms, XTerm: 1, Rows: rows, Terms: terms,
				Panels: make([]float32, count*terms*kernel.PanelRows-p.panels), PanelStride: terms * kernel.PanelRows, Count: count}
			const row = count * kernel.PanelRows
			panics := func(run func()) (panicked bool) {
				defer func() { panicked = recover() != nil }()
				run()
				return false
			}
			short := name != ""
			if panics(func() { n.Multiply(make([]float32, rows*row-p.dst), row, kernel.PanelRows, product, false) }) != short {
				t.Errorf("Multiply, too short: %q", name)
			}
			if panics(func() { n.AddWide(make([]float64, rows*row-p.dst), row, kernel.PanelRows, product) }) != short {
				t.Errorf("AddWide, too short: %q", name)
			}
		}
	})
}
