//go:build unix

package objstore

import (
	"io/fs"
	"syscall"
)

// inode is the file's number.
func inode(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Ino)
	}
	return 0
}
