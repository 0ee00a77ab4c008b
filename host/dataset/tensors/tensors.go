// Package tensors reads a matrix of a safetensors file as vectors.
//
// Input: a file, and the name of a tensor where it has several; output: a dataset.Matrix, whose rows are read where they
// lie. Package vectors calls it. Package plugin/safetensors, which reads the messages of the plugin, knows only the types
// that the plugin has; here are those that models save.
package tensors

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/flat"
	"github.com/quarry-hn/quarry/host/dataset/npy"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// maxHeader is the longest header that is read, which is the format's own limit.
const maxHeader = 100 << 20

// entry is a tensor of the header.
type entry struct {
	DType   string   `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// Open opens the tensor of that name; where name is empty, that with the model's name, or the only one that has two dimensions. path
// is what messages call the file. Integers need a scale beside the file, see npy.ScaleOf. Close the matrix after use.
func Open(fsys fs.FS, file, path, name, model string) (_ dataset.Matrix, err error) {
	f, err := flat.OpenFile(fsys, file, path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	l, err := layout(f, f.Bytes, path, name, model)
	if err != nil {
		return nil, err
	}
	if l.Scale, err = npy.ScaleOf(fsys, file, path, l); err != nil {
		return nil, err
	}
	return flat.New(path, f, f, l), nil
}

// layout reads the header of a file, and finds the tensor.
func layout(at io.ReaderAt, size int64, path, name, model string) (l flat.Layout, err error) {
	const again = "write the file again with safetensors.numpy.save_file"
	bad := func(format string, args ...any) (flat.Layout, error) {
		return l, dataset.FileError(path, again, "not a safetensors file: "+format, args...)
	}
	start := make([]byte, min(size, 8))
	if _, err := at.ReadAt(start, 0); err != nil && err != io.EOF {
		return l, dataset.ReadError(path, err)
	}
	length, err := safetensors.HeaderLen(start, int(size), maxHeader)
	if err != nil {
		return bad("%v", err)
	}
	text := make([]byte, length-8)
	if _, err := at.ReadAt(text, 8); err != nil && err != io.EOF {
		return l, dataset.ReadError(path, err)
	}
	header := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &header); err != nil {
		return bad("its header is no JSON object: %v", excerpt.Error(err))
	}
	delete(header, "__metadata__")
	matrices, end := map[string]entry{}, int64(0)
	for name, raw := range header {
		var e entry
		if err := json.Unmarshal(raw, &e); err != nil {
			return bad("tensor %s: %v", excerpt.Quote(name), excerpt.Error(err))
		}
		end = max(end, e.Offsets[1])
		if len(e.Shape) == 2 {
			matrices[name] = e
		}
	}
	if have := size - int64(length); have < end {
		return l, dataset.FileError(path, "write or copy the file again", "cut off: %d bytes of data; the last tensor ends at %d", have, end)
	}
	name, err = choose(path, matrices, name, model)
	if err != nil {
		return l, err
	}
	e := matrices[name]
	l.Type = flat.Type(e.DType)
	if !l.Type.Known() {
		return l, dataset.FileError(path, "convert it to float32", "tensor %s has values of type %s; F16, F32, F64 and BF16 are read, and I8 and U8 with a scale", excerpt.Quote(name), excerpt.Quote(e.DType))
	}
	if err := flat.CheckShape(path, e.Shape[0], e.Shape[1]); err != nil {
		return l, err
	}
	l.Rows, l.Width, l.Offset = int(e.Shape[0]), int(e.Shape[1]), int64(length)+e.Offsets[0]
	if e.Offsets[0] < 0 || e.Offsets[1]-e.Offsets[0] != l.Size() {
		return bad("tensor %s: offsets %v do not fit %d rows of %d %s", excerpt.Quote(name), e.Offsets, l.Rows, l.Width, l.Type)
	}
	return l, nil
}

// choose finds the tensor.
func choose(path string, matrices map[string]entry, name, model string) (string, error) {
	var names []string
	for n := range matrices {
		names = append(names, n)
	}
	slices.Sort(names)
	wanted := cmp.Or(name, model)
	if _, ok := matrices[wanted]; ok {
		return wanted, nil
	}
	listed := excerpt.Text(strings.Join(names, ", "))
	switch {
	case name != "":
		return "", dataset.FileError(path, `name one of them as "column" in vectors.json`, "there is no tensor %s of two dimensions; there are: %s", excerpt.Quote(name), listed)
	case len(names) == 0:
		return "", dataset.FileError(path, "save one tensor with a row for each text", "there is no tensor of two dimensions")
	case len(names) > 1:
		return "", dataset.FileError(path, `name one of them as "column" in vectors.json`, "there are %d tensors of two dimensions, and none has the model's name: %s", len(names), listed)
	}
	return names[0], nil
}
