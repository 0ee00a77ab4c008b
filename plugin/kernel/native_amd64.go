//go:build !purego

package kernel

import "golang.org/x/sys/cpu"

var nativeAVX2 = Native{
	name: "avx2", screen: []tileOf[int32, int32]{screenAVX2}, multiply: []tileOf[float32, float32]{multiplyAVX2}, project: []tileOf[float64, float32]{projectAVX2},
	narrow: narrowAVX2, dot: dotAVX2, scale: scaleAVX2, subtract: subtractAVX2, widen: widenAVX2, quantize: quantizeAVX2, above: aboveAVX2, extend: extendAVX2,
	finite: finiteAVX2,
}

var nativeAVX512 = Native{
	name: "avx512", screen: []tileOf[int32, int32]{screenAVX512, screen2AVX512}, multiply: []tileOf[float32, float32]{multiplyAVX512, multiply2AVX512},
	project: []tileOf[float64, float32]{projectAVX512, project2AVX512},
	narrow:  narrowAVX512, dot: dotAVX512, scale: scaleAVX512, subtract: subtractAVX512, widen: widenAVX512, quantize: quantizeAVX512, above: aboveAVX512,
	extend: extendAVX512, finite: finiteAVX512,
}

// nativeVNNI is nativeAVX512 with one instruction for two products and their addition.
var nativeVNNI = func() Native {
	n := nativeAVX512
	n.name, n.extend = "avx512 vnni", extendVNNIAVX512
	n.screen = []tileOf[int32, int32]{screenVNNIAVX512, screenVNNI2AVX512}
	return n
}()

// Natives returns the kernels in assembly that this machine runs, the fastest first.
func Natives() (all []*Native) {
	x := &cpu.X86
	has512 := x.HasAVX512F && x.HasAVX512BW && x.HasAVX512VL && x.HasPOPCNT
	if has512 && x.HasAVX512VNNI {
		all = append(all, &nativeVNNI)
	}
	if has512 {
		all = append(all, &nativeAVX512)
	}
	if x.HasAVX2 && x.HasPOPCNT {
		all = append(all, &nativeAVX2)
	}
	return all
}
