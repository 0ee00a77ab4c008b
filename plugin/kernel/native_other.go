//go:build !wasip1 && (!amd64 || purego)

package kernel

// Natives returns the kernels in assembly that this machine runs: none.
func Natives() []*Native { return nil }
