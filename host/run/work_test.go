package run

import (
	"context"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/abi"
)

// work counts what a run reads, and what it gives to instances.
type work struct {
	mutex sync.Mutex
	read  map[string]int64 // bytes of a file
	calls map[abi.Op]int64 // of all instances
	fed   map[abi.Op]int64 // bytes of messages
}

func newWork() *work {
	return &work{read: map[string]int64{}, calls: map[abi.Op]int64{}, fed: map[abi.Op]int64{}}
}

func (w *work) count(do func()) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	do()
}

// countedFS counts what is read of each file.
type countedFS struct {
	fs.FS
	*work
}

func (c countedFS) Open(name string) (fs.File, error) {
	f, err := c.FS.Open(name)
	if err != nil || path.Ext(name) == "" { // a folder
		return f, err
	}
	return &countedFile{f, name, c.work}, nil
}

type countedFile struct {
	fs.File
	name string
	*work
}

func (f *countedFile) Read(b []byte) (int, error) {
	n, err := f.File.Read(b)
	f.count(func() { f.read[f.name] += int64(n) })
	return n, err
}

func (f *countedFile) ReadAt(b []byte, at int64) (int, error) {
	n, err := f.File.(io.ReaderAt).ReadAt(b, at)
	f.count(func() { f.read[f.name] += int64(n) })
	return n, err
}

// countedEngine counts the calls of its instances.
type countedEngine struct {
	engine.Engine
	*work
}

func (c countedEngine) Open(ctx context.Context) (engine.Instance, error) {
	i, err := c.Engine.Open(ctx)
	return &countedInstance{i, c.work}, err
}

type countedInstance struct {
	engine.Instance
	*work
}

func (i *countedInstance) Call(ctx context.Context, op abi.Op, n int) ([]byte, error) {
	i.count(func() { i.calls[op]++; i.fed[op] += int64(n) })
	return i.Instance.Call(ctx, op, n)
}

// fitPasses is how often a fit with all columns reads its rows.
const fitPasses = 1

// TestWorkOfARun bounds what a run reads and gives to instances: each byte of the vectors is fingerprinted once, fitted
// on in so many passes, and mined once; texts are read once; and instances get each document once. To find twins, texts
// of documents are read twice more, and the vectors of the narrowest model once.
func TestWorkOfARun(t *testing.T) {
	const header = 1 << 10 // of a file, or of a message, at most
	var fitted *projection.Projection
	for _, passes := range []int64{fitPasses, 0} { // the second run has the projection of the first
		w := newWork()
		data, err := beir.OpenFS(countedFS{demo.FS, w}, "demo")
		if err != nil {
			t.Fatal(err)
		}
		defer data.Close()
		r := newRun(t)
		r.Fit.Models, r.Mine.Engine, r.Mine.Threads, r.Mine.PartDocuments, r.Projection = nil, countedEngine{r.Mine.Engine, w}, 2, 0, fitted
		if fitted != nil {
			r.Outputs = OutputsBeside(filepath.Join(t.TempDir(), "n.jsonl"), false, false)
		}
		done, err := r.Do(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		fitted = done.Projection
		w.checkFiles(t, data, done.Tallies.Pairs, passes)
		documents, row := int64(data.Documents.Len()), int64(0)
		for _, name := range data.Models {
			m, _ := data.Vectors(name)
			row += stride(m.Documents)
		}
		pairs := int64(done.Tallies.Pairs + done.Tallies.Queries)
		for op, most := range map[abi.Op]int64{abi.OpPush: documents * row, abi.OpTransform: pairs * row, abi.OpLoadProjection: 2 * int64(len(fitted.File))} {
			if got := w.fed[op] - w.calls[op]*header; got > most {
				t.Errorf("%s was given %d bytes in %d calls; at most %d were expected, and headers", op, w.fed[op], w.calls[op], most)
			}
		}
		if w.calls[abi.OpBegin] > 2 || w.calls[abi.OpPush] > (documents+63)/64 {
			t.Errorf("%d times begin, %d times push", w.calls[abi.OpBegin], w.calls[abi.OpPush])
		}
	}
}

// checkFiles checks how much of each file was read.
func (w *work) checkFiles(t *testing.T, data *dataset.Dataset, pairs int, passes int64) {
	t.Helper()
	const header = 1 << 10
	for name := range w.read {
		info, err := fs.Stat(demo.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		most := info.Size()
		if name == "corpus.jsonl" {
			most += 2 * info.Size() // twins: of the positives, then of all
		}
		if folder := strings.Split(name, "/"); folder[0] == "vectors" {
			m, err := data.Vectors(folder[1])
			if err != nil {
				t.Fatal(err)
			}
			if folder[2] == "docs.npy" {
				most += (passes + 1) * info.Size() // fitted on, and mined
			}
			if folder[2] == "docs.npy" && folder[1] == narrowest {
				most += info.Size() + int64(pairs)*stride(m.Documents) // twins
			}
			most += header + int64(pairs)*stride(m.Documents) // the pairs' own
		}
		if w.read[name] > most {
			t.Errorf("%d bytes of %s were read, of %d; at most %d were expected", w.read[name], name, info.Size(), most)
		}
	}
}

// narrowest is the model of the demo that has the fewest columns.
const narrowest = "minilm"

// stride is the size of a row.
func stride(x dataset.Matrix) int64 { return int64(x.Width() * x.DType().Size()) }
