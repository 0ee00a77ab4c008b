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
