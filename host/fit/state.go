package fit

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// matrices are what a fit has beside numbers, each by its name in the file. They are the fit's own memory, to be
// written or to be filled in.
type matrices struct {
	float32s map[string][]float32
	float64s map[string][]float64
}

// clear fills them with zeros.
func (m matrices) clear() {
	for _, v := range m.float32s {
		clear(v)
	}
	for _, v := range m.float64s {
		clear(v)
	}
}

// checksum is the key of the metadata that has the SHA-256, in hexadecimal, of the file as it would be without the key.
const checksum = "sha256"

// writeState writes a safetensors file of matrices, whole or not at all. Their memory is not copied.
func writeState(path string, metadata map[string]string, m matrices) error {
	var tensors []safetensors.Tensor
	for name, v := range m.float32s {
		tensors = append(tensors, safetensors.OfFloat32(name, v, len(v)))
	}
	for name, v := range m.float64s {
		tensors = append(tensors, safetensors.OfFloat64(name, v, len(v)))
	}
	layout, sum, err := startSum(tensors, metadata)
	if err != nil {
		return fmt.Errorf("keep the fit in %s: %w", path, err)
	}
	slices.SortFunc(tensors, func(a, b safetensors.Tensor) int { return cmp.Compare(layout.Offsets[a.Name], layout.Offsets[b.Name]) })
	write := func(to io.Writer) error {
		for _, t := range tensors {
			if _, err := to.Write(t.Data); err != nil {
				return err
			}
		}
		return nil
	}
	_ = write(sum) // a hash takes everything
	metadata[checksum] = hex.EncodeToString(sum.Sum(nil))
	if layout, err = safetensors.Lay(tensors, metadata); err != nil {
		return fmt.Errorf("keep the fit in %s: %w", path, err)
	}
	return atomicfile.Write(path, true, func(to io.Writer) error {
		if _, err := to.Write(layout.Header); err != nil {
			return err
		}
		return write(to)
	})
}

// startSum lays out a file, and returns the hash of its header; the data come next.
func startSum(tensors []safetensors.Tensor, metadata map[string]string) (*safetensors.Layout, hash.Hash, error) {
	layout, err := safetensors.Lay(tensors, metadata)
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.New()
	sum.Write(layout.Header)
	return layout, sum, nil
}

// stateFile is such a file, opened.
type stateFile struct {
	file    *os.File
	size    int64
	header  int64             // bytes of the header
	content *safetensors.File // without the tensors' data
	offsets map[string]int
}

// openState opens a file and reads its header.
func openState(path string) (_ *stateFile, err error) {
	f := &stateFile{}
	if f.file, err = os.Open(path); err != nil {
		return nil, err
	}
	if err := f.readHeader(); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *stateFile) close() { _ = f.file.Close() }

func (f *stateFile) readHeader() error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	f.size = info.Size()
	header := make([]byte, min(8, f.size))
	if _, err := f.file.ReadAt(header, 0); err != nil {
		return err
	}
	length, err := safetensors.HeaderLen(header, int(f.size), abi.MaxHeader)
	if err != nil {
		return err
	}
	header = make([]byte, length)
	if _, err := f.file.ReadAt(header, 0); err != nil {
		return err
	}
	f.header = int64(length)
	f.content, f.offsets, err = safetensors.ParseHeader(header, int(f.size))
	return err
}

// sound reports whether the file has the bytes that were written.
func (f *stateFile) sound() bool {
	metadata := maps.Clone(f.content.Metadata)
	delete(metadata, checksum)
	_, sum, err := startSum(f.content.Tensors, metadata)
	if err == nil {
		_, err = io.Copy(sum, io.NewSectionReader(f.file, f.header, f.size-f.header))
	}
	return err == nil && hex.EncodeToString(sum.Sum(nil)) == f.content.Metadata[checksum]
}

// length is how many elements a tensor has, which lies in one dimension; 0 where it is not there.
func (f *stateFile) length(name string) int {
	if t, ok := f.content.Tensor(name); ok && len(t.Shape) == 1 {
		return t.Shape[0]
	}
	return 0
}

// read fills in matrices, each of which must be there with that length.
func (f *stateFile) read(m matrices) error {
	for name, v := range m.float32s {
		if err := readTensor(f, name, v, safetensors.F32, safetensors.Float32s); err != nil {
			return err
		}
	}
	for name, v := range m.float64s {
		if err := readTensor(f, name, v, safetensors.F64, safetensors.Float64s); err != nil {
			return err
		}
	}
	return nil
}

// readTensor reads a tensor, some of it at a time.
func readTensor[T any](f *stateFile, name string, to []T, dtype safetensors.DType, values func([]byte) []T) error {
	t, ok := f.content.Tensor(name)
	if !ok || t.DType != dtype || f.length(name) != len(to) {
		return fmt.Errorf("tensor %s is %s of shape %v; expected %s of %d", name, t.DType, t.Shape, dtype, len(to))
	}
	data := io.NewSectionReader(f.file, int64(f.offsets[name]), int64(len(to)*dtype.Size()))
	buffer := make([]byte, min(1<<18, data.Size()))
	for len(to) > 0 {
		some := buffer[:min(len(buffer), len(to)*dtype.Size())]
		if _, err := io.ReadFull(data, some); err != nil {
			return err
		}
		to = to[copy(to, values(some)):]
	}
	return nil
}
