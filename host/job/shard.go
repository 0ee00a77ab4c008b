package job

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/pca"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// A shard is a safetensors file: documents/<model>, the vectors of each model as they lie in the user's files, one row a document; ids and
// ids_offsets, the documents' ids one after another and where each begins.
const (
	shardFormat = "quarry.shard.v1"
	shardIDs    = "ids"
)

func vectorTensor(model string) string { return "documents/" + model }

// section is a stretch of a file that is made as it is read.
type section struct {
	begin, end int64
	read       func(p []byte, at int64) error // len(p) bytes from at, counted from begin
}

// made is a file of sections, in order and without gaps.
type made []section

// ReadAt reads across sections.
func (m made) ReadAt(p []byte, at int64) (n int, err error) {
	for _, s := range m {
		if at+int64(n) < s.begin || at+int64(n) >= s.end {
			continue
		}
		from := at + int64(n)
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

func bytesSection(begin int64, b []byte) section {
	return section{begin, begin + int64(len(b)), func(p []byte, at int64) error {
		copy(p, b[at:])
		return nil
	}}
}

// newShard is the file of rows first to first+n-1 of the models' matrices, and their ids. It holds only the ids in memory.
func newShard(models []pca.Model, documents []dataset.Matrix, first, n int, names []string) (*io.SectionReader, error) {
	tensors := idTensors(shardIDs, names)
	for i, x := range documents {
		tensors = append(tensors, safetensors.Tensor{Name: vectorTensor(models[i].Name), DType: x.DType(), Shape: []int{n, x.Width()}})
	}
	layout, err := safetensors.Lay(tensors, map[string]string{"format": shardFormat})
	if err != nil {
		return nil, err
	}
	file := made{bytesSection(0, layout.Header)}
	for _, t := range tensors {
		begin := int64(layout.Offsets[t.Name])
		if t.Data != nil {
			file = append(file, bytesSection(begin, t.Data))
		}
	}
	for i, x := range documents {
		begin, stride := int64(layout.Offsets[vectorTensor(models[i].Name)]), int64(x.Width()*x.DType().Size())
		file = append(file, section{begin, begin + int64(n)*stride, func(p []byte, at int64) error {
			row, skip := at/stride, at%stride
			rows := (skip + int64(len(p)) + stride - 1) / stride
			if skip == 0 && rows*stride == int64(len(p)) {
				return x.ReadRows(p, first+int(row), int(rows))
			}
			buffer := make([]byte, rows*stride)
			err := x.ReadRows(buffer, first+int(row), int(rows))
			copy(p, buffer[skip:])
			return err
		}})
	}
	slices.SortFunc(file, func(a, b section) int { return cmp.Compare(a.begin, b.begin) })
	return io.NewSectionReader(file, 0, int64(layout.Size)), nil
}

// shardFile is a shard on disk.
type shardFile struct {
	documents []dataset.Matrix // of each model of the projection
	ids       *ids
}

// openShard checks that a file is a shard of rows documents with those models' vectors.
func openShard(f io.ReaderAt, size int64, name string, models []pca.Model, rows int) (*shardFile, error) {
	bad := func(format string, args ...any) error {
		return &dataset.Error{Path: name, Row: -1, Problem: fmt.Sprintf(format, args...), Hint: "make the shard and the manifest again"}
	}
	first := make([]byte, min(8, size))
	if _, err := f.ReadAt(first, 0); err != nil && err != io.EOF {
		return nil, dataset.ReadError(name, err)
	}
	length, err := safetensors.HeaderLen(first, int(size), abi.MaxHeader)
	if err != nil {
		return nil, bad("not a safetensors file: %v", err)
	}
	header := make([]byte, length)
	if _, err := f.ReadAt(header, 0); err != nil && err != io.EOF {
		return nil, dataset.ReadError(name, err)
	}
	parsed, offsets, err := safetensors.ParseHeader(header, int(size))
	if err != nil {
		return nil, bad("not a safetensors file: %v", err)
	}
	if got := parsed.Metadata["format"]; got != "" && got != shardFormat {
		return nil, bad("format is %q; expected %q", got, shardFormat)
	}
	s := &shardFile{}
	for _, m := range models {
		t, ok := parsed.Tensor(vectorTensor(m.Name))
		switch {
		case !ok:
			return nil, bad("there is no tensor %s; the projection has model %q", vectorTensor(m.Name), m.Name)
		case t.DType != safetensors.F16 && t.DType != safetensors.F32 && t.DType != safetensors.F64:
			return nil, bad("tensor %s is %s; F16, F32 and F64 are read", t.Name, t.DType)
		case len(t.Shape) != 2 || t.Shape[0] != rows || t.Shape[1] != m.Width:
			return nil, bad("tensor %s has shape %v; expected %d rows, as the manifest has them, of %d, as the projection has them", t.Name, t.Shape, rows, m.Width)
		}
		s.documents = append(s.documents, &shardMatrix{name: name + " " + t.Name, file: f, offset: int64(offsets[t.Name]), rows: rows, width: m.Width, dtype: t.DType})
	}
	if len(parsed.Tensors) != len(models)+2 {
		return nil, bad("%d tensors; %d models and ids take %d", len(parsed.Tensors), len(models), len(models)+2)
	}
	read := func(tensor string) (safetensors.Tensor, error) {
		t, ok := parsed.Tensor(tensor)
		if !ok || len(t.Shape) != 1 || t.Shape[0] > abi.MaxMessage {
			return t, bad("tensor %s is missing, or of shape %v", tensor, t.Shape)
		}
		t.Data = make([]byte, t.Shape[0]*t.DType.Size())
		if _, err := f.ReadAt(t.Data, int64(offsets[tensor])); err != nil && err != io.EOF {
			return t, dataset.ReadError(name, err)
		}
		return t, nil
	}
	blob, err := read(shardIDs)
	if err != nil {
		return nil, err
	}
	ends, err := read(shardIDs + "_offsets")
	if err != nil {
		return nil, err
	}
	if s.ids, err = newIDs(shardIDs, blob, ends, rows); err != nil {
		return nil, bad("%v", err)
	}
	return s, nil
}

// shardMatrix is a tensor of a file.
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
