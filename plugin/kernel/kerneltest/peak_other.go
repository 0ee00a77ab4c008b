//go:build !amd64 || purego

package kerneltest

// Peak is 0: there are no native kernels here.
func Peak(string, bool) float64 { return 0 }
