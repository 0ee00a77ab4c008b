//go:build !purego

package kerneltest

import "time"

// Peak returns how many billion multiply-adds a second a core makes at most by an operation of a native kernel, given by
// the kernel's name: a loop on registers, without loads. 0 means that there is no such loop.
func Peak(name string, words bool) (best float64) {
	loop, lanes := peakFloatsAVX512, 16
	switch {
	case words && name == "avx512 vnni":
		loop, lanes = peakVNNIAVX512, 32
	case words && name == "avx512":
		loop, lanes = peakWordsAVX512, 32
	case words && name == "avx2":
		loop, lanes = peakWordsAVX2, 16
	case name == "avx2":
		loop, lanes = peakFloatsAVX2, 8
	}
	const turns = 200_000
	for range 5 {
		began := time.Now()
		loop(turns)
		best = max(best, float64(turns*peakSums*lanes)/time.Since(began).Seconds()/1e9)
	}
	return best
}

// peakSums is how many sums a peak's loop adds to in each turn.
const peakSums = 12
