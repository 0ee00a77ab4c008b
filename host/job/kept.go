package job

import (
	"os"
	"path/filepath"
)

// keptFiles are files that a worker keeps on its disk from one shard to the next, so that it fetches them once. Where
// one cannot be written or read, it is fetched again, which only takes time.
type keptFiles struct {
	dir   string
	names map[string]bool
}

func newKeptFiles(dir string) *keptFiles { return &keptFiles{dir, map[string]bool{}} }

func (k *keptFiles) path(name string) string { return filepath.Join(k.dir, name) }

// read returns a file's bytes, and whether it is kept.
func (k *keptFiles) read(name string) (b []byte, ok bool) {
	if !k.names[name] {
		return nil, false
	}
	b, err := os.ReadFile(k.path(name))
	if err != nil {
		k.remove(name)
	}
	return b, err == nil
}

// write keeps a file.
func (k *keptFiles) write(name string, b []byte) {
	k.names[name] = true
	if err := os.WriteFile(k.path(name), b, 0o600); err != nil {
		k.remove(name) // it may have some of the bytes
	}
}

// remove removes a file that is kept, and reports whether there was one.
func (k *keptFiles) remove(name string) bool {
	if !k.names[name] {
		return false
	}
	delete(k.names, name)
	return os.Remove(k.path(name)) == nil
}

// clear removes all files, and reports whether there were any.
func (k *keptFiles) clear() (removed bool) {
	for name := range k.names {
		removed = k.remove(name) || removed
	}
	return removed
}
