package vectors

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/faiss"
)

// format is a way to keep vectors in a file.
type format struct {
	name    string
	endings []string
	starts  func(start []byte) bool // by its first bytes; nil where these tell nothing
	table   bool
}

var formats = []format{
	{"npy", []string{".npy"}, prefix("\x93NUMPY"), false},
	{"npz", []string{".npz"}, prefix("PK\x03\x04"), false},
	{"safetensors", []string{".safetensors"}, func(b []byte) bool { return len(b) > 8 && b[8] == '{' && b[6] == 0 && b[7] == 0 }, false},
	{"parquet", []string{".parquet", ".pq"}, prefix("PAR1"), true},
	{"arrow", []string{".arrow", ".feather", ".ipc", ".arrows"}, func(b []byte) bool {
		return bytes.HasPrefix(b, []byte("ARROW1")) || len(b) >= 8 && bytes.HasPrefix(b, []byte("\xff\xff\xff\xff")) && b[6] == 0 && b[7] == 0
	}, true},
	{"jsonl", []string{".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"}, nil, true},
	{"faiss", []string{".faiss", ".index"}, func(b []byte) bool { return len(b) > 3 && b[0] == 'I' && (b[1] == 'x' || b[1] == 'w' || b[1] == 'H') }, false},
	{"fvecs", []string{".fvecs"}, nil, false},
	{"bvecs", []string{".bvecs"}, nil, false},
	{"ivecs", []string{".ivecs"}, nil, false},
}

func prefix(magic string) func([]byte) bool {
	return func(b []byte) bool { return bytes.HasPrefix(b, []byte(magic)) }
}

// Formats are the names of all formats, as vectors.json gives them.
func Formats() (names []string) {
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}

// Tell tells the format of a file by its first bytes, or else by its name, and why. start is its first 64 bytes, or all of a
// shorter one; size its bytes. The format is empty where nothing tells it.
func Tell(start []byte, size int64, name string) (format, why string) {
	for _, f := range formats {
		if f.starts != nil && f.starts(start) {
			return f.name, "its first bytes"
		}
	}
	if format, _ := ByName(name); format != "" {
		return format, "its name"
	}
	switch {
	case bytes.HasPrefix(bytes.TrimSpace(start), []byte("{")):
		return "jsonl", "its first bytes"
	case faiss.LooksLikeVecs(start, size):
		return "fvecs", "its first bytes and its size"
	}
	return "", ""
}

// ByName is the format that a name's ending means, and that ending. They are empty for a name of none.
func ByName(name string) (format, ending string) {
	for _, f := range formats {
		for _, ending := range f.endings {
			if strings.HasSuffix(strings.ToLower(name), ending) {
				return f.name, name[len(name)-len(ending):]
			}
		}
	}
	return "", ""
}

func isTable(name string) bool {
	for _, f := range formats {
		if f.name == name {
			return f.table
		}
	}
	return false
}

// tell is Tell of a file.
func (f *Folder) tell(name string) (format, why string, err error) {
	file, err := f.fsys.Open(name)
	if err != nil {
		return "", "", dataset.ReadError(f.path(name), err, Hint)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.IsDir() {
		format, _ = ByName(name)
		return format, "its name", nil
	}
	start := make([]byte, 64)
	n, err := io.ReadFull(file, start)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return "", "", dataset.ReadError(f.path(name), err)
	}
	if format, why = Tell(start[:n], info.Size(), name); format == "" {
		return "", "", dataset.FileError(f.path(name), formatHint(f.side, name), "neither its first bytes nor its name tell the format; known are %s", strings.Join(Formats(), ", "))
	}
	return format, why, nil
}

// formatHint says how to name a format.
func formatHint(side, name string) string {
	return fmt.Sprintf(`name the format in vectors.json beside it: {"%s": {"path": "%s", "format": "npy"}}`, side, name)
}
