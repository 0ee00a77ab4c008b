package job_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
)

var native = engine.Native(engine.Options{})

// sample is a folder, a projection of it, and what mining it on one machine gives.
type sample struct {
	folder     *dataset.Dataset
	projection *projection.Projection
	options    mining.Options
	negatives  []byte
	manifest   []byte
}

// fittedDemo is the projection of the demo, which takes most of a second.
var fittedDemo = sync.OnceValues(func() (*projection.Projection, error) {
	folder, err := demo.Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = folder.Close() }()
	return projection.Fit(context.Background(), folder, projection.FitOptions{})
})

// newDemo mines the demo.
func newDemo(t testing.TB, o mining.Options) *sample {
	t.Helper()
	folder, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = folder.Close() })
	p, err := fittedDemo()
	if err != nil {
		t.Fatal(err)
	}
	return mineSample(t, folder, p, o)
}

// newSample fits and mines a folder.
func newSample(t testing.TB, folder *dataset.Dataset, o mining.Options) *sample {
	t.Helper()
	p, err := projection.Fit(t.Context(), folder, projection.FitOptions{Zero: o.Zero})
	if err != nil {
		t.Fatal(err)
	}
	return mineSample(t, folder, p, o)
}

func mineSample(t testing.TB, folder *dataset.Dataset, p *projection.Projection, o mining.Options) *sample {
	t.Helper()
	s := &sample{folder: folder, projection: p, options: o}
	s.options.Engine = native
	r, err := mining.Mine(t.Context(), folder, p, s.options)
	if err != nil {
		t.Fatal(err)
	}
	var negatives, manifest bytes.Buffer
	if err := errors.Join(r.WriteNegatives(&negatives), r.Manifest.Write(&manifest)); err != nil {
		t.Fatal(err)
	}
	s.negatives, s.manifest = negatives.Bytes(), manifest.Bytes()
	return s
}

func place() *job.Place {
	return &job.Place{Name: "nightly", In: objstore.NewMemory(), Out: objstore.NewMemory()}
}

func (s *sample) init(t testing.TB, at *job.Place, shards int) *job.Manifest {
	t.Helper()
	m, err := job.Init(t.Context(), at, s.folder, s.projection, job.InitOptions{Mine: s.options, Shards: shards})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// check compares the result, by Fetch and by its objects, with the one machine's.
func (s *sample) check(t testing.TB, at *job.Place) {
	t.Helper()
	var negatives, manifest bytes.Buffer
	m, err := job.Fetch(t.Context(), at, &negatives)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Write(&manifest); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(negatives.Bytes(), s.negatives) {
		t.Errorf("negatives differ from those of one machine: %d bytes and %d", negatives.Len(), len(s.negatives))
	}
	if !bytes.Equal(manifest.Bytes(), s.manifest) {
		t.Errorf("the manifest differs from that of one machine:\n%s\n%s", manifest.Bytes(), s.manifest)
	}
}

func worker(t testing.TB, at *job.Place) *job.Worker {
	t.Helper()
	// Blocks are small, so that a row of a block is not that row of the shard.
	w, err := job.NewWorker(at.In, at.Out, job.Options{Compute: mining.Compute{Engine: native, BlockRows: 2}, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close(t.Context()) })
	return w
}

// TestJobGivesWhatOneMachineGives mines jobs of several rules, shards and groups of pairs, in an odd order.
func TestJobGivesWhatOneMachineGives(t *testing.T) {
	t.Parallel()
	for n, o := range []mining.Options{{}, {Split: "all", Counts: true, Rule: "capped"}, {Rule: "margin", Zero: option.ZeroSkip, Positives: mining.PositivesAll}} {
		s := newDemo(t, o)
		for m, shards := range []int{1, 7, 40} {
			if testing.Short() && n != m {
				continue
			}
			at := place()
			m := s.init(t, at, shards)
			w := worker(t, at)
			for i := range m.Shards {
				out, err := w.Shard(t.Context(), m.Shards[(i*3+1)%len(m.Shards)].Name)
				if err != nil || out.Action != job.Mined && (shards%3 != 0) {
					t.Fatalf("shard %d: %+v, %v", i, out, err)
				}
				if out.Committed != (i == shards-1) {
					t.Errorf("shard %d of %d: committed is %v", i, shards, out.Committed)
				}
			}
			s.check(t, at)
		}
	}
}

// smallFolder opens the small sample, after a change.
func smallFolder(t testing.TB, change func(fstest.MapFS)) *dataset.Dataset {
	t.Helper()
	fsys := job.Small(t)
	if change != nil {
		change(fsys)
	}
	folder, err := beir.OpenFS(fsys, "small")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = folder.Close() })
	return folder
}
