//go:build !linux

package job_test

// memoryFolder is empty: no folder is known to be in memory.
func memoryFolder() string { return "" }
