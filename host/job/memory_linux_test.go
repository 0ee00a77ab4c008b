package job_test

import "syscall"

// memoryFolder is a folder of files in memory. It is empty where there is none, or where it has too little room for all
// tests.
func memoryFolder() string {
	const (
		dir  = "/dev/shm"
		room = 1 << 30 // bytes; the tests take a tenth
	)
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil || int64(s.Bavail)*int64(s.Bsize) < room || syscall.Access(dir, 7) != nil {
		return ""
	}
	return dir
}
