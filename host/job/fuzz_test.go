package job

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/pca"
)

// seeds are files of a job of the small sample: its manifest, and the first shard, group and part.
type seeds struct {
	manifest                    *Manifest
	models                      []pca.Model
	file, shard, group, partOf0 []byte
}

func newSeeds(t testing.TB) *seeds {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	folder, err := beir.OpenFS(Small(t), "small")
	must(err)
	defer func() { _ = folder.Close() }()
	p, err := projection.Fit(t.Context(), folder, projection.FitOptions{Components: 4})
	must(err)
	run := mining.Compute{Engine: engine.Native(engine.Options{})}
	at := &Place{Name: "fuzz", In: objstore.NewMemory(), Out: objstore.NewMemory()}
	m, err := Init(t.Context(), at, folder, p, InitOptions{Mine: mining.Options{Compute: run}, Shards: 30})
	must(err)
	w, err := NewWorker(at.In, at.Out, Options{Compute: run, Dir: t.TempDir()})
	must(err)
	defer func() { _ = w.Close(t.Context()) }()
	_, err = w.Shard(t.Context(), m.Shards[0].Name)
	must(err)
	s := &seeds{manifest: m, models: p.Models}
	for key, to := range map[string]*[]byte{ManifestKey: &s.file, m.Shards[0].Name: &s.shard, m.Groups[0].Name: &s.group} {
		*to, _, err = objstore.ReadAll(t.Context(), at.In, key, 1<<20)
		must(err)
	}
	s.partOf0, _, err = objstore.ReadAll(t.Context(), at.Out, m.partKey(0, 0), 1<<20)
	must(err)
	return s
}

// add adds a file and some broken ones to a target's corpus.
func add(f *testing.F, b []byte) {
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Add(bytes.Replace(b, []byte("I64"), []byte("F64"), 1))
	f.Add(bytes.Replace(b, []byte(`"U8"`), []byte(`"I8"`), 1))
	f.Add([]byte{})
}

// FuzzManifest checks that a manifest that is taken for sound can be written and read again, and has a key of its own
// for each part.
func FuzzManifest(f *testing.F) {
	s := newSeeds(f)
	short := *s.manifest
	short.Shards = short.Shards[:2]
	short.Result.Tallies.Documents = short.Shards[1].First + int64(short.Shards[1].Rows)
	b, err := short.marshal()
	if err != nil {
		f.Fatal(err)
	}
	add(f, b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseManifest(b)
		if err != nil {
			if !errors.Is(err, ErrManifest) || len(err.Error()) > 20_000+20*len(b) {
				t.Fatal(err)
			}
			return
		}
		again, err := m.marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseManifest(again); err != nil {
			t.Fatalf("written again: %v", err)
		}
		keys := map[string]bool{}
		for shard := range m.Shards {
			for group := range m.Groups {
				keys[m.partKey(shard, group)] = true
			}
		}
		if len(keys) != m.Parts() || len(keys) == 0 {
			t.Fatalf("%d keys of %d parts", len(keys), m.Parts())
		}
	})
}

// FuzzShard reads every row and id of what is taken for a shard.
func FuzzShard(f *testing.F) {
	s := newSeeds(f)
	rows := s.manifest.Shards[0].Rows
	add(f, s.shard)
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := openShard(bytes.NewReader(b), int64(len(b)), "shard", s.models, rows)
		if err != nil {
			if d := (*dataset.Error)(nil); !errors.As(err, &d) || d.Err != nil {
				t.Fatalf("%v: the shard is not what is blamed", err)
			}
			return
		}
		for _, d := range file.documents {
			if err := d.ReadRows(make([]byte, rows*d.Width()*d.DType().Size()), 0, rows); err != nil {
				t.Fatal(err)
			}
		}
		for i := range rows {
			if file.ids.at(i) == "" {
				t.Fatal("an empty id")
			}
		}
	})
}

// FuzzGroup names all pairs of what is taken for a group.
func FuzzGroup(f *testing.F) {
	s := newSeeds(f)
	of := s.manifest.Groups[0]
	add(f, s.group)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseGroup(b, "id", of)
		if err != nil {
			return
		}
		for i := range of.End - of.First {
			if q, a := p.pair(i); q == "" || a == "" {
				t.Fatalf("pair %d is of %q and %q", i, q, a)
			}
		}
	})
}

// FuzzPart names all documents of what is taken for a part.
func FuzzPart(f *testing.F) {
	s := newSeeds(f)
	add(f, s.partOf0)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := s.manifest.parsePart(b, 0, 0)
		if err != nil {
			return
		}
		for i := range p.positions {
			if p.ids.at(i) == "" {
				t.Fatal("an empty id")
			}
		}
		if !p.sameResult(p) {
			t.Fatal("it is not like itself")
		}
	})
}

// unreadable is a disk that fails after some reads.
type unreadable struct {
	io.ReaderAt
	left int
}

var errDisk = errors.New("the disk fails")

func (u *unreadable) ReadAt(p []byte, at int64) (int, error) {
	if u.left--; u.left < 0 {
		return 0, errDisk
	}
	return u.ReaderAt.ReadAt(p, at)
}

// TestDiskThatFails tells a disk that fails from a shard that is broken.
func TestDiskThatFails(t *testing.T) {
	s := newSeeds(t)
	for n := range 4 {
		_, err := openShard(&unreadable{bytes.NewReader(s.shard), n}, int64(len(s.shard)), "shard", s.models, s.manifest.Shards[0].Rows)
		if d := (*dataset.Error)(nil); !errors.As(err, &d) || !errors.Is(d.Err, errDisk) {
			t.Errorf("after %d reads: %v", n, err)
		}
	}
}
