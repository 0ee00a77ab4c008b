package mining

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"sync"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/parallel"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/plugin/pca"
)

// twins are the documents that equal a judged positive: those with its title and text, and those with its vectors of all
// models. They are held in classes: rows of documents that are equal, ascending, two at least.
type twins map[int][][]int // by row of a positive: its classes

// TwinSearch keeps the twins that were found, so that several plans look for them once. A data set that it has seen keeps its
// judgements. Zero is ready for use, by one goroutine at a time.
type TwinSearch struct {
	found map[searched]twins
}

// searched is what twins depend on.
type searched struct {
	data   *dataset.Dataset
	models string
}

// once gives the twins of a data set's positives by vectors of models, which find finds where they are not known. A nil
// TwinSearch knows none.
func (t *TwinSearch) once(data *dataset.Dataset, models []pca.Model, find func() (twins, error)) (twins, error) {
	if t == nil {
		return find()
	}
	in := searched{data, fmt.Sprintf("%#v", models)}
	if of, ok := t.found[in]; ok {
		return of, nil
	}
	of, err := find()
	if err != nil {
		return nil, err
	}
	if t.found == nil {
		t.found = map[searched]twins{}
	}
	t.found[in] = of
	return of, nil
}

// excludeTwins leaves the twins of each query's positives out of its negatives, and counts them.
func (s *selection) excludeTwins(of twins) {
	counted := map[int]bool{}
	for query, positives := range s.positives {
		excluded := s.exclude[query]
		var more []int64
		for _, positive := range positives {
			for _, class := range of[positive] {
				for _, row := range class {
					if _, is := slices.BinarySearch(excluded, int64(row)); !is {
						more, counted[row] = append(more, int64(row)), true
					}
				}
			}
		}
		if more != nil {
			all := slices.Concat(excluded, more)
			slices.Sort(all)
			s.exclude[query] = slices.Compact(all)
		}
	}
	s.twins = len(counted)
}

// findTwins finds the twins of the positives of all queries. It goes through the documents' texts, and through the
// vectors of the model that has the fewest bytes, side by side. Of the documents it holds those alone that may be twins.
func (s *selection) findTwins(ctx context.Context, data *dataset.Dataset, documents []dataset.Matrix, c Compute) (twins, error) {
	positives := map[int]bool{}
	for _, rows := range s.positives {
		for _, row := range rows {
			positives[row] = true
		}
	}
	var finding sync.WaitGroup
	var classes [2][][]int
	var errs [2]error
	finding.Go(func() { classes[0], errs[0] = equalTexts(ctx, data.Documents.Texts, positives) })
	finding.Go(func() { classes[1], errs[1] = equalVectors(ctx, documents, positives, c) })
	finding.Wait()
	of := twins{}
	for i := range classes {
		if errs[i] != nil {
			return nil, errs[i]
		}
		for _, class := range classes[i] {
			for _, row := range class {
				if positives[row] {
					of[row] = append(of[row], class)
				}
			}
		}
	}
	return of, nil
}

// equalTexts finds classes of documents whose titles and texts are equal, of which one at least is wanted. A document
// without a text equals none. Texts whose SHA-256 is the same are taken for equal.
func equalTexts(ctx context.Context, texts dataset.Texts, wanted map[int]bool) (classes [][]int, err error) {
	if _, none := texts.(dataset.NoTexts); none {
		return nil, nil
	}
	var buffer []byte
	each := func(rows map[int]bool, f func(row int, sum [sha256.Size]byte)) error {
		return texts.EachRow(rows, func(row int, t dataset.Text) error {
			if t.Title != "" || t.Text != "" {
				buffer = binary.LittleEndian.AppendUint64(buffer[:0], uint64(len(t.Title)))
				buffer = append(append(buffer, t.Title...), t.Text...)
				f(row, sha256.Sum256(buffer))
			}
			return ctx.Err()
		})
	}
	found := map[[sha256.Size]byte][]int{}
	if err := each(wanted, func(_ int, sum [sha256.Size]byte) { found[sum] = nil }); err != nil {
		return nil, err
	}
	err = each(nil, func(row int, sum [sha256.Size]byte) {
		if rows, ok := found[sum]; ok {
			found[sum] = append(rows, row)
		}
	})
	return several(slices.Collect(maps.Values(found))), err
}

// several leaves out the lists of one row.
func several(lists [][]int) [][]int {
	return slices.DeleteFunc(lists, func(rows []int) bool { return len(rows) < 2 })
}

// equalVectors finds classes of documents whose vectors are equal in all bytes, of which one at least is wanted. A
// document whose vector is zero equals none.
func equalVectors(ctx context.Context, documents []dataset.Matrix, wanted map[int]bool, c Compute) (classes [][]int, err error) {
	narrow := slices.MinFunc(documents, func(a, b dataset.Matrix) int { return rowBytes(a) - rowBytes(b) })
	seed, stride := maphash.MakeSeed(), rowBytes(narrow)
	block := max(1, (1<<20)/stride)                       // rows that are read at a time
	hashes, like := map[uint64]bool{}, map[uint64][]int{} // of wanted rows; and all rows that have them
	row, zero := make([]byte, stride), make([]byte, stride)
	for _, wanted := range slices.Sorted(maps.Keys(wanted)) {
		if err := narrow.ReadRows(row, wanted, 1); err != nil {
			return nil, err
		}
		if !bytes.Equal(row, zero) {
			hashes[maphash.Bytes(seed, row)] = true
		}
	}
	threads := option.Threads(c.Threads)
	buffers := make([][]byte, threads)
	var adding sync.Mutex
	err = parallel.Each(ctx, threads, (narrow.Rows()+block-1)/block, func(lane, number int) error {
		first := number * block
		n := min(block, narrow.Rows()-first)
		buffers[lane] = slices.Grow(buffers[lane][:0], n*stride)[:n*stride]
		if err := narrow.ReadRows(buffers[lane], first, n); err != nil {
			return err
		}
		for i := range n {
			hash := maphash.Bytes(seed, buffers[lane][i*stride:(i+1)*stride])
			if hashes[hash] {
				adding.Lock()
				like[hash] = append(like[hash], first+i)
				adding.Unlock()
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, rows := range several(slices.Collect(maps.Values(like))) {
		slices.Sort(rows)
		equal, err := equalRows(documents, rows)
		if err != nil {
			return nil, err
		}
		classes = append(classes, equal...)
	}
	return classes, nil
}

// equalRows finds the classes among rows, whose hashes are the same.
func equalRows(documents []dataset.Matrix, rows []int) (classes [][]int, err error) {
	byBytes := map[string][]int{}
	for _, row := range rows {
		var all []byte
		for _, x := range documents {
			one := make([]byte, rowBytes(x))
			if err := x.ReadRows(one, row, 1); err != nil {
				return nil, err
			}
			all = append(all, one...)
		}
		sum := sha256.Sum256(all)
		byBytes[string(sum[:])] = append(byBytes[string(sum[:])], row)
	}
	return several(slices.Collect(maps.Values(byBytes))), nil
}

func rowBytes(x dataset.Matrix) int { return x.Width() * x.DType().Size() }
