package dataset

import (
	"errors"
	"math"
	"sort"
	"sync"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// matchBlock is how many ids MatchRows looks for at a time. It is a variable so that tests can lower it.
var matchBlock = 1 << 16

// MatchRows finds the rows of a side in a table that has an id in each row: rows[i] is the table's row of the side's id i.
// It is nil where the table has the side's ids in the side's order. Rows of other ids are left out. An id that no row has
// is an *Error of the table.
func MatchRows(side IDs, table *StoredIDs) (rows []uint32, err error) {
	if s, ok := side.(*StoredIDs); ok && s.n == table.n && s.inRow == table.inRow {
		return nil, nil
	}
	if table.n > math.MaxUint32 {
		return nil, FileError(table.name, "cut the table into parts", "%d rows; at most %d are read", table.n, uint32(math.MaxUint32))
	}
	rows = make([]uint32, 0, side.Len())
	block := make([]string, 0, min(matchBlock, side.Len()))
	match := func() error {
		wanted := make(map[string]bool, len(block))
		for _, id := range block {
			wanted[id] = true
		}
		found, err := table.Rows(wanted)
		if err != nil {
			return err
		}
		for _, id := range block {
			row, ok := found[id]
			if !ok {
				return FileError(table.name, "add its vector, or make the vectors again of the texts that are there", "no row has the id %s of %s", excerpt.Quote(id), side.Name())
			}
			rows = append(rows, uint32(row))
		}
		block = block[:0]
		return nil
	}
	var readErr error
	for id := range side.All(&readErr) {
		if block = append(block, id); len(block) == cap(block) {
			if err := match(); err != nil {
				return nil, err
			}
		}
	}
	if readErr != nil {
		return nil, readErr
	}
	return rows, match()
}

// Placed is a Matrix whose rows lie in several files, or in another order than their numbers say.
type Placed interface {
	// Place is the file that a row lies in, and its number there.
	Place(row int) (name string, number int)
}

// Place is the file that a row of a Matrix lies in, and its number there, for messages.
func Place(x Matrix, row int) (name string, number int) {
	if p, ok := x.(Placed); ok {
		return p.Place(row)
	}
	return x.Name(), row
}

// reordered is rows of a Matrix in another order.
type reordered struct {
	Matrix
	rows   []uint32 // of the Matrix
	sha256 func() (string, error)
}

// Reorder returns the rows of x that MatchRows gave, in their order. Where rows is nil it returns x.
func Reorder(x Matrix, rows []uint32) Matrix {
	if rows == nil {
		return x
	}
	r := &reordered{Matrix: x, rows: rows}
	r.sha256 = sync.OnceValues(func() (string, error) { return Fingerprint(r) })
	return r
}

func (r *reordered) Rows() int                   { return len(r.rows) }
func (r *reordered) SHA256() (string, error)     { return r.sha256() }
func (r *reordered) Close() error                { return CloseSource(r.Matrix) }
func (r *reordered) Place(row int) (string, int) { return Place(r.Matrix, int(r.rows[row])) }

func (r *reordered) ReadRows(dst []byte, first, n int) error {
	if err := CheckRows(r, dst, first, n); err != nil {
		return err
	}
	stride := r.Width() * r.DType().Size()
	for i := 0; i < n; {
		run := 1 // rows that follow one another there too
		for i+run < n && r.rows[first+i+run] == r.rows[first+i]+uint32(run) {
			run++
		}
		if err := r.Matrix.ReadRows(dst[i*stride:(i+run)*stride], int(r.rows[first+i]), run); err != nil {
			return err
		}
		i += run
	}
	return nil
}

// joined is matrices one below the other.
type joined struct {
	name   string
	parts  []Matrix
	begins []int // of each part, and the end
	sha256 func() (string, error)
}

// Join puts matrices one below the other. name is what messages call them all. Parts of another width or type than the
// first are an *Error that names them.
func Join(name string, parts []Matrix) (Matrix, error) {
	if len(parts) == 1 {
		return parts[0], nil
	}
	j := &joined{name: name, parts: parts, begins: []int{0}}
	for _, p := range parts {
		if first := parts[0]; p.Width() != first.Width() || p.DType() != first.DType() {
			return nil, FileError(p.Name(), "one model makes all parts: make the vectors again", "%d columns of %s; %s has %d of %s", p.Width(), p.DType(), first.Name(), first.Width(), first.DType())
		}
		j.begins = append(j.begins, j.Rows()+p.Rows())
	}
	j.sha256 = sync.OnceValues(func() (string, error) { return Fingerprint(j) })
	return j, nil
}

func (j *joined) Name() string             { return j.name }
func (j *joined) Rows() int                { return j.begins[len(j.begins)-1] }
func (j *joined) Width() int               { return j.parts[0].Width() }
func (j *joined) DType() safetensors.DType { return j.parts[0].DType() }
func (j *joined) SHA256() (string, error)  { return j.sha256() }

func (j *joined) Close() error {
	var errs []error
	for _, p := range j.parts {
		errs = append(errs, CloseSource(p))
	}
	return errors.Join(errs...)
}

// part is the number of the part that has a row.
func (j *joined) part(row int) int {
	return sort.Search(len(j.parts), func(i int) bool { return j.begins[i+1] > row })
}

func (j *joined) Place(row int) (string, int) {
	p := j.part(row)
	return Place(j.parts[p], row-j.begins[p])
}

func (j *joined) ReadRows(dst []byte, first, n int) error {
	if err := CheckRows(j, dst, first, n); err != nil {
		return err
	}
	stride := j.Width() * j.DType().Size()
	for n > 0 {
		p := j.part(first)
		take := min(n, j.begins[p+1]-first)
		if err := j.parts[p].ReadRows(dst[:take*stride], first-j.begins[p], take); err != nil {
			return err
		}
		dst, first, n = dst[take*stride:], first+take, n-take
	}
	return nil
}
