package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/quarry-hn/quarry/host/internal/parallel"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Matrix is vectors of one model: a row for each document or query. It may be read by several goroutines at once.
type Matrix interface {
	// Name is what messages call it: a file's path.
	Name() string
	Rows() int
	Width() int               // columns
	DType() safetensors.DType // of the values: F16, F32 or F64
	// ReadRows reads n rows from row first into dst, row after row, each value little endian. dst has n * Width * the
	// size of DType bytes. Rows that are not there are an error.
	ReadRows(dst []byte, first, n int) error
	// SHA256 is the fingerprint of shape, type and rows, in hexadecimal: of the line "F16 rows width\n", then the rows.
	SHA256() (string, error)
}

// memory is a Matrix of rows that a program has already.
type memory struct {
	name  string
	rows  [][]float32
	width int
}

// NewMatrix returns a Matrix of float32 rows in memory, all of one width. name is what messages call it.
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
	if err := CheckRows(m, dst, first, n); err != nil {
		return err
	}
	for _, row := range m.rows[first : first+n] {
		dst = dst[copy(dst, safetensors.OfFloat32("", row).Data):]
	}
	return nil
}

func (m *memory) SHA256() (string, error) { return Fingerprint(m) }

// CheckRows fails where a Matrix does not have the rows that ReadRows is asked for, or dst is not their size.
func CheckRows(x Matrix, dst []byte, first, n int) error {
	if first < 0 || n < 0 || first+n > x.Rows() || int64(len(dst)) != int64(n)*int64(x.Width()*x.DType().Size()) {
		return fmt.Errorf("%s: rows %d to %d asked for; the file has %d", x.Name(), first, first+n-1, x.Rows())
	}
	return nil
}

// SHA256s returns what SHA256 of each Matrix returns, in their order. Up to threads are read at once.
func SHA256s(threads int, xs []Matrix) ([]string, error) {
	sums := make([]string, len(xs))
	err := parallel.Each(context.Background(), threads, len(xs), func(_, i int) (err error) {
		sums[i], err = xs[i].SHA256()
		return err
	})
	return sums, err
}

// Fingerprint is what SHA256 of a Matrix returns. It reads all rows.
func Fingerprint(x Matrix) (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %d %d\n", x.DType(), x.Rows(), x.Width())
	stride := x.Width() * x.DType().Size()
	block := max(1, (1<<20)/max(1, stride)) // rows that are read at a time
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
