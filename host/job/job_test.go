package job_test

import (
	"bytes"
	"errors"
	"testing"
	"testing/fstest"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/objstore"
)

var native = engine.Native(engine.Options{})

// sample is the demo's folder, a projection of it, and what mining it on one machine gives.
type sample struct {
	folder     *dataset.Dataset
	projection *host.Projection
	options    host.MineOptions
	negatives  []byte
	manifest   []byte
}

func newSample(t testing.TB, o host.MineOptions) *sample {
	t.Helper()
	folder, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = folder.Close() })
	return newSampleOf(t, folder, o)
}

func newSampleOf(t testing.TB, folder *dataset.Dataset, o host.MineOptions) *sample {
	t.Helper()
	s := &sample{folder: folder, options: o}
	s.options.Engine = native
	var err error
	if s.projection, err = host.Fit(t.Context(), folder, host.FitOptions{Zero: o.Zero}); err != nil {
		t.Fatal(err)
	}
	r, err := host.Mine(t.Context(), folder, s.projection, s.options)
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
	w, err := job.NewWorker(at.In, at.Out, job.Options{RunOptions: host.RunOptions{Engine: native, BlockRows: 2}, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close(t.Context()) })
	return w
}

// TestJobGivesWhatOneMachineGives mines jobs of several rules, shards and groups of pairs, in an odd order.
func TestJobGivesWhatOneMachineGives(t *testing.T) {
	for _, o := range []host.MineOptions{{}, {Split: "all", Counts: true, Rule: "capped"}, {Rule: "margin", Zero: host.ZeroSkip, Positives: host.PositivesAll}} {
		s := newSample(t, o)
		for _, shards := range []int{1, 7, 40} {
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
