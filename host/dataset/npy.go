package dataset

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Matrix is rows of one model's vectors, as they lie in a file: little endian, in C order.
type Matrix interface {
	// Name says what it is, for errors: a file's path.
	Name() string
	Rows() int
	Width() int
	DType() safetensors.DType
	// ReadRows reads n rows from row first into dst, which takes n * Width * the size of DType bytes.
	ReadRows(dst []byte, first, n int) error
	// SHA256 is the fingerprint of shape, type and rows, in hexadecimal: of the line "F16 rows width\n", then the rows.
	SHA256() (string, error)
}

// Npy is a matrix in a .npy file, which is read row by row as it is asked for. It may be read by several goroutines at once.
type Npy struct {
	path   string
	file   fs.File
	at     io.ReaderAt
	offset int64 // of the first row
	rows   int
	width  int
	dtype  safetensors.DType
	sum    func() (string, error)
}

var _ Matrix = (*Npy)(nil)

// Name is the file's path.
func (n *Npy) Name() string { return n.path }

// Rows is the number of vectors.
func (n *Npy) Rows() int { return n.rows }

// Width is the number of columns.
func (n *Npy) Width() int { return n.width }

// DType is the type of the values.
func (n *Npy) DType() safetensors.DType { return n.dtype }

// Close closes the file.
func (n *Npy) Close() error { return n.file.Close() }

// ReadRows reads rows as they lie in the file.
func (n *Npy) ReadRows(dst []byte, first, rows int) error {
	stride := int64(n.width * n.dtype.Size())
	if first < 0 || rows < 0 || first+rows > n.rows || int64(len(dst)) != int64(rows)*stride {
		return fmt.Errorf("%s: rows %d to %d asked for; the file has %d", n.path, first, first+rows-1, n.rows)
	}
	read, err := n.at.ReadAt(dst, n.offset+int64(first)*stride)
	if read == len(dst) {
		return nil
	}
	if err == io.EOF {
		err = fmt.Errorf("the file was cut short while it was read: %w", io.ErrUnexpectedEOF)
	}
	return &Error{Path: n.path, Row: first + read/int(stride), Problem: err.Error(), Hint: "check that nothing else writes the file", Err: err}
}

// vectorsHint is what to do where a vector file cannot be read.
const vectorsHint = "add vectors/<model>/docs.npy and vectors/<model>/queries.npy for each model"

// OpenNpy opens a two-dimensional .npy file of float16, float32 or float64, little endian, in C order (NumPy's format versions 1 to 3).
func OpenNpy(fsys fs.FS, name, path string) (_ *Npy, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, ReadError(path, err, vectorsHint)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	n := &Npy{path: path, file: f}
	n.sum = sync.OnceValues(func() (string, error) { return Fingerprint(n) })
	var ok bool
	if n.at, ok = f.(io.ReaderAt); !ok {
		return nil, &Error{Path: path, Row: -1, Problem: "its file system cannot read at an offset"}
	}
	info, err := f.Stat()
	if err != nil {
		return nil, ReadError(path, err)
	}
	header, err := n.readHeader(info.Size())
	if err != nil {
		return nil, err
	}
	if err := n.parseHeader(header); err != nil {
		return nil, err
	}
	stride := int64(n.width * n.dtype.Size())
	switch have := info.Size() - n.offset; {
	case have < int64(n.rows)*stride:
		return nil, &Error{Path: path, Row: int(have / stride), Problem: fmt.Sprintf("cut off: %d bytes of data; %d rows of %d %s take %d",
			have, n.rows, n.width, n.dtype, int64(n.rows)*stride), Hint: "write or copy the file again"}
	case have > int64(n.rows)*stride:
		return nil, &Error{Path: path, Row: -1, Problem: fmt.Sprintf("%d bytes follow the last row", have-int64(n.rows)*stride), Hint: "write the file again with numpy.save"}
	}
	return n, nil
}

// readHeader returns the header's text and sets the offset of the data.
func (n *Npy) readHeader(size int64) (string, error) {
	bad := func(format string, args ...any) error {
		return &Error{Path: n.path, Row: -1, Problem: "not a .npy file: " + fmt.Sprintf(format, args...), Hint: "write it with numpy.save"}
	}
	start := make([]byte, min(size, 12))
	if _, err := n.at.ReadAt(start, 0); err != nil && err != io.EOF {
		return "", ReadError(n.path, err, vectorsHint)
	}
	if size == 0 {
		return "", bad("it is empty")
	}
	if len(start) < 12 || !bytes.HasPrefix(start, []byte("\x93NUMPY")) {
		return "", bad("it does not begin as one")
	}
	length, begin := int64(binary.LittleEndian.Uint16(start[8:])), int64(10)
	switch start[6] {
	case 1:
	case 2, 3:
		length, begin = int64(binary.LittleEndian.Uint32(start[8:])), 12
	default:
		return "", bad("format version %d is unknown", start[6])
	}
	n.offset = begin + length
	if n.offset > size || length > 1<<20 {
		return "", bad("header of %d bytes in a file of %d", length, size)
	}
	header := make([]byte, length)
	if _, err := n.at.ReadAt(header, begin); err != nil && err != io.EOF {
		return "", ReadError(n.path, err)
	}
	return string(header), nil
}

// A header is three of these, each once, in any order.
const npyItem = `'(descr|fortran_order|shape)'\s*:\s*(?:'([^']*)'|(True|False)|\(((?:\d+(?:\s*,\s*\d+)*\s*,?)?)\s*\))`

var (
	npyItems  = regexp.MustCompile(npyItem)
	npyHeader = regexp.MustCompile(`^\s*\{\s*(?:` + npyItem + `\s*,\s*){2}` + npyItem + `\s*,?\s*\}\s*$`)
)

func (n *Npy) parseHeader(header string) error {
	bad := func(problem, hint string) error { return &Error{Path: n.path, Row: -1, Problem: problem, Hint: hint} }
	items := map[string][]string{}
	for _, item := range npyItems.FindAllStringSubmatch(header, -1) {
		items[item[1]] = item[2:]
	}
	if len(items) != 3 || !npyHeader.MatchString(header) || items["fortran_order"][1] == "" {
		return bad(fmt.Sprintf("header %.100q has no plain descr, fortran_order and shape", header), "write it with numpy.save, as one array of floats")
	}
	descr, fortran, shape := items["descr"][0], items["fortran_order"][1], items["shape"][2]
	types := map[string]safetensors.DType{"<f2": safetensors.F16, "<f4": safetensors.F32, "<f8": safetensors.F64}
	var ok bool
	if n.dtype, ok = types[descr]; !ok {
		return bad(fmt.Sprintf("values are %q; float16, float32 and float64, little endian, are read", descr),
			"convert it: numpy.save(path, numpy.load(path).astype('<f4'))")
	}
	if fortran == "True" {
		return bad("the array is in Fortran order", "convert it: numpy.save(path, numpy.ascontiguousarray(numpy.load(path)))")
	}
	var dims []int
	for _, field := range strings.Split(shape, ",") {
		if field = strings.TrimSpace(field); field == "" {
			continue
		}
		dim, err := strconv.Atoi(field)
		if err != nil || dim > abi.MaxRows { // rows and columns within it cannot overflow a size
			return bad(fmt.Sprintf("shape (%s) is too large", shape), "the largest is 2^31-1 rows: write the file again with numpy.save")
		}
		dims = append(dims, dim)
	}
	if len(dims) != 2 || dims[1] < 1 || dims[1] > 1<<20 {
		return bad(fmt.Sprintf("shape (%s); expected two dimensions, rows and columns", shape), "one row a text: numpy.save(path, array.reshape(rows, -1))")
	}
	n.rows, n.width = dims[0], dims[1]
	return nil
}

// memory is a Matrix of rows that a program already has.
type memory struct {
	name  string
	rows  [][]float32
	width int
}

// NewMatrix returns a Matrix of rows in memory, all of one width. name is for errors.
func NewMatrix(name string, rows [][]float32) (Matrix, error) {
	m := &memory{name: name, rows: rows}
	for i, row := range rows {
		if i == 0 {
			m.width = len(row)
		}
		if len(row) != m.width || len(row) == 0 {
			return nil, &Error{Path: name, Row: i, Problem: fmt.Sprintf("%d values; the first row has %d", len(row), m.width)}
		}
	}
	return m, nil
}

func (m *memory) Name() string             { return m.name }
func (m *memory) Rows() int                { return len(m.rows) }
func (m *memory) Width() int               { return m.width }
func (m *memory) DType() safetensors.DType { return safetensors.F32 }

func (m *memory) ReadRows(dst []byte, first, n int) error {
	for _, row := range m.rows[first : first+n] {
		dst = dst[copy(dst, safetensors.OfFloat32("", row).Data):]
	}
	return nil
}

func (m *memory) SHA256() (string, error) { return Fingerprint(m) }

// SHA256 reads the file once, the first time.
func (n *Npy) SHA256() (string, error) { return n.sum() }

// Fingerprint is what SHA256 of a Matrix returns.
func Fingerprint(x Matrix) (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %d %d\n", x.DType(), x.Rows(), x.Width())
	stride := x.Width() * x.DType().Size()
	block := max(1, (1<<20)/stride)
	buffer := make([]byte, block*stride)
	for first := 0; first < x.Rows(); first += block {
		n := min(block, x.Rows()-first)
		if err := x.ReadRows(buffer[:n*stride], first, n); err != nil {
			return "", err
		}
		sum.Write(buffer[:n*stride])
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
