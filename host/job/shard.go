package job

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/pca"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// A shard is a safetensors file. Its tensors are documents/<model>, each model's vectors as they lie in the user's
// files, one row a document, and ids and ids_offsets, the documents' ids.
const (
	shardFormat = "quarry.shard.v1"
	shardIDs    = "ids"
)

func vectorTensor(model string) string { return abi.RawTensor(abi.TensorDocuments, model) }

// section is bytes begin to end-1 of a file whose bytes are made as they are read.
type section struct {
	begin, end int64
	read       func(p []byte, at int64) error // reads len(p) bytes from at, counted from begin
}

// sections are a file, in order and without gaps.
type sections []section

// ReadAt reads across sections.
func (f sections) ReadAt(p []byte, at int64) (n int, err error) {
	for _, s := range f {
		from := at + int64(n)
		if from < s.begin || from >= s.end {
			continue
		}
		take := min(int64(len(p)-n), s.end-from)
		if err := s.read(p[n:n+int(take)], from-s.begin); err != nil {
			return n, err
		}
		if n += int(take); n == len(p) {
			return n, nil
		}
	}
	return n, io.EOF
}

// bytesSection is a section of bytes that are in memory.
func bytesSection(begin int64, b []byte) section {
	return section{begin, begin + int64(len(b)), func(p []byte, at int64) error {
		copy(p, b[at:])
		return nil
	}}
}

// rowsSection is a section of n rows of a matrix, from row first on.
func rowsSection(begin int64, x dataset.Matrix, first, n int) section {
	stride := int64(x.Width() * x.DType().Size())
	return section{begin, begin + int64(n)*stride, func(p []byte, at int64) error {
		row, skip := at/stride, at%stride
		rows := (skip + int64(len(p)) + stride - 1) / stride
		if skip == 0 && rows*stride == int64(len(p)) {
			return x.ReadRows(p, first+int(row), int(rows))
		}
		buffer := make([]byte, rows*stride) // the stretch begins or ends within a row
		err := x.ReadRows(buffer, first+int(row), int(rows))
		copy(p, buffer[skip:])
		return err
	}}
}

// newShard is the file of rows first to first+n-1 of the models' matrices. documents are the ids of these rows, which
// the file holds in memory; it reads the vectors when they are asked for.
func newShard(models []pca.Model, vectors []dataset.Matrix, first, n int, documents []string) (*io.SectionReader, error) {
	tensors := idTensors(shardIDs, documents)
	for i, x := range vectors {
		tensors = append(tensors, safetensors.Tensor{Name: vectorTensor(models[i].Name), DType: x.DType(), Shape: []int{n, x.Width()}})
	}
	layout, err := safetensors.Lay(tensors, map[string]string{"format": shardFormat})
	if err != nil {
		return nil, err
	}
	file := sections{bytesSection(0, layout.Header)}
	for _, t := range tensors {
		if t.Data != nil {
			file = append(file, bytesSection(int64(layout.Offsets[t.Name]), t.Data))
		}
	}
	for i, x := range vectors {
		file = append(file, rowsSection(int64(layout.Offsets[vectorTensor(models[i].Name)]), x, first, n))
	}
	slices.SortFunc(file, func(a, b section) int { return cmp.Compare(a.begin, b.begin) })
	return io.NewSectionReader(file, 0, int64(layout.Size)), nil
}

// shardFile is a shard as its file has it.
type shardFile struct {
	documents []dataset.Matrix // vectors of each model of the projection, in its order
	ids       *ids
}

// shardReader reads the parts of a shard's file. Its errors are of the shard, or of the disk that it is on.
type shardReader struct {
	file    io.ReaderAt
	size    int64 // bytes
	name    string
	tensors *safetensors.File // without their data
	offsets map[string]int    // where each tensor's data begins, by name
}

// openShard checks that a file is a shard of so many rows with those models' vectors. It reads the ids, and leaves the
// vectors where they are. What is wrong with the shard is a dataset.Error without a cause; one with a cause is of the
// disk.
func openShard(f io.ReaderAt, size int64, name string, models []pca.Model, rows int) (*shardFile, error) {
	r := &shardReader{file: f, size: size, name: name}
	if err := r.readHeader(); err != nil {
		return nil, err
	}
	s := &shardFile{}
	for _, m := range models {
		x, err := r.matrix(m, rows)
		if err != nil {
			return nil, err
		}
		s.documents = append(s.documents, x)
	}
	if n := len(r.tensors.Tensors); n != len(models)+2 {
		return nil, r.bad("%d tensors; %d models and ids take %d", n, len(models), len(models)+2)
	}
	blob, err := r.tensor(shardIDs)
	if err != nil {
		return nil, err
	}
	offsets, err := r.tensor(shardIDs + "_offsets")
	if err != nil {
		return nil, err
	}
	if s.ids, err = newIDs(shardIDs, blob, offsets, rows); err != nil {
		return nil, r.bad("%v", err)
	}
	return s, nil
}

// bad is an error of the shard's own.
func (r *shardReader) bad(format string, args ...any) error {
	return &dataset.Error{Path: r.name, Row: -1, Problem: excerpt.Text(fmt.Sprintf(format, args...)), Hint: "make the shard and the manifest again"}
}

// read fills p with the file's bytes from at on. Where the file ends early the rest of p is as it was.
func (r *shardReader) read(p []byte, at int64) error {
	if _, err := r.file.ReadAt(p, at); err != nil && err != io.EOF {
		return dataset.ReadError(r.name, err)
	}
	return nil
}

func (r *shardReader) readHeader() error {
	first := make([]byte, min(8, r.size))
	if err := r.read(first, 0); err != nil {
		return err
	}
	length, err := safetensors.HeaderLen(first, int(r.size), abi.MaxHeader)
	if err != nil {
		return r.bad("not a safetensors file: %v", err)
	}
	header := make([]byte, length)
	if err := r.read(header, 0); err != nil {
		return err
	}
	if r.tensors, r.offsets, err = safetensors.ParseHeader(header, int(r.size)); err != nil {
		return r.bad("not a safetensors file: %v", err)
	}
	if got := r.tensors.Metadata["format"]; got != "" && got != shardFormat {
		return r.bad("format is %q; expected %q", got, shardFormat)
	}
	return nil
}

// matrix checks a model's vectors.
func (r *shardReader) matrix(m pca.Model, rows int) (*shardMatrix, error) {
	name := vectorTensor(m.Name)
	t, ok := r.tensors.Tensor(name)
	switch {
	case !ok:
		return nil, r.bad("there is no tensor %s; the projection has model %q", name, m.Name)
	case t.DType != safetensors.F16 && t.DType != safetensors.F32 && t.DType != safetensors.F64:
		return nil, r.bad("tensor %s is %s; F16, F32 and F64 are read", name, t.DType)
	case len(t.Shape) != 2 || t.Shape[0] != rows || t.Shape[1] != m.Width:
		return nil, r.bad("tensor %s has shape %v; expected %d rows, as the manifest has them, of %d, as the projection has them", name, t.Shape, rows, m.Width)
	}
	return &shardMatrix{name: r.name + " " + name, file: r.file, offset: int64(r.offsets[name]), rows: rows, width: m.Width, dtype: t.DType}, nil
}

// tensor reads a tensor of one dimension into memory.
func (r *shardReader) tensor(name string) (safetensors.Tensor, error) {
	t, ok := r.tensors.Tensor(name)
	if !ok || len(t.Shape) != 1 || t.Shape[0] > abi.MaxMessage {
		return t, r.bad("tensor %s is missing, or of shape %v", name, t.Shape)
	}
	t.Data = make([]byte, t.Shape[0]*t.DType.Size())
	return t, r.read(t.Data, int64(r.offsets[name]))
}

// shardMatrix is a model's vectors in a shard's file. Rows are read when they are asked for.
type shardMatrix struct {
	name        string
	file        io.ReaderAt
	offset      int64
	rows, width int
	dtype       safetensors.DType
}

var _ dataset.Matrix = (*shardMatrix)(nil)

func (m *shardMatrix) Name() string             { return m.name }
func (m *shardMatrix) Rows() int                { return m.rows }
func (m *shardMatrix) Width() int               { return m.width }
func (m *shardMatrix) DType() safetensors.DType { return m.dtype }
func (m *shardMatrix) SHA256() (string, error)  { return dataset.Fingerprint(m) }

func (m *shardMatrix) ReadRows(dst []byte, first, n int) error {
	stride := int64(m.width * m.dtype.Size())
	if first < 0 || n < 0 || first+n > m.rows || int64(len(dst)) != int64(n)*stride {
		return fmt.Errorf("%s: rows %d to %d asked for; it has %d", m.name, first, first+n-1, m.rows)
	}
	if read, err := m.file.ReadAt(dst, m.offset+int64(first)*stride); read < len(dst) {
		return dataset.ReadError(m.name, err)
	}
	return nil
}
