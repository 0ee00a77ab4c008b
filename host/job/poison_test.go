package job_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// trial is a job in which a test changes things, and a worker of it.
type trial struct {
	*inputs
	t  *testing.T
	at *job.Place
	w  *job.Worker
}

// on uploads a job to stores of memory.
func (i *inputs) on(t *testing.T) *trial {
	t.Helper()
	x := &trial{i, t, place(), nil}
	if err := copyObjects(t.Context(), i.from, x.at.In, ""); err != nil {
		t.Fatal(err)
	}
	x.w = worker(t, x.at)
	return x
}

func (x *trial) put(key string, b []byte) {
	x.t.Helper()
	if err := x.at.In.Put(x.t.Context(), key, bytes.NewReader(b)); err != nil {
		x.t.Fatal(err)
	}
}

// original is an object as Init made it.
func (x *trial) original(key string) []byte {
	x.t.Helper()
	b, _, err := objstore.ReadAll(x.t.Context(), x.from, key, 1<<30)
	if err != nil {
		x.t.Fatal(err)
	}
	return b
}

// mend puts an object as Init made it.
func (x *trial) mend(key string) { x.t.Helper(); x.put(key, x.original(key)) }

// shard delivers a shard and checks what became of it.
func (x *trial) shard(name string, want job.Action, problem string) *job.Outcome {
	x.t.Helper()
	o, err := x.w.Shard(x.t.Context(), name)
	return x.came(o, err, want, problem)
}

func (x *trial) sweep(want job.Action, problem string) *job.Outcome {
	x.t.Helper()
	o, err := x.w.Sweep(x.t.Context())
	return x.came(o, err, want, problem)
}

// came checks what a call did. An empty problem means that there has to be none.
func (x *trial) came(o *job.Outcome, err error, want job.Action, problem string) *job.Outcome {
	x.t.Helper()
	if err != nil || o.Action != want || !strings.Contains(o.Problem, problem) || problem == "" && o.Problem != "" {
		x.t.Fatalf("%+v, %v; expected %s, %q", o, err, want, problem)
	}
	return o
}

func (x *trial) status() *job.Status {
	x.t.Helper()
	s, err := job.ReadStatus(x.t.Context(), x.at)
	if err != nil {
		x.t.Fatal(err)
	}
	return s
}

// refused checks which objects the status reports as refused.
func (x *trial) refused(names ...string) {
	x.t.Helper()
	var got []string
	for _, r := range x.status().Refused {
		if got = append(got, r.Name); r.Problem == "" || r.Hint == "" {
			x.t.Errorf("%+v", r)
		}
	}
	if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(names))) {
		x.t.Errorf("records of %q; expected %q", got, names)
	}
}

// rest mines the shards that are left and checks the result.
func (x *trial) rest() {
	x.t.Helper()
	for _, name := range x.shards {
		if o, err := x.w.Shard(x.t.Context(), name); err != nil || o.Action == job.Refused || o.Action == job.Waits {
			x.t.Fatalf("%s: %+v, %v", name, o, err)
		}
	}
	x.check(x.t, x.at)
}

func sum(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }

// edit returns the manifest's bytes after a change.
func (i *inputs) edit(t testing.TB, change func(m *job.Manifest)) []byte {
	t.Helper()
	b, err := json.Marshal(i.manifest)
	if err != nil {
		t.Fatal(err)
	}
	m := &job.Manifest{}
	if err := json.Unmarshal(b, m); err != nil {
		t.Fatal(err)
	}
	change(m)
	if b, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	return b
}

// replace puts another shard, and a manifest that says so.
func (x *trial) replace(number int, b []byte) {
	x.t.Helper()
	x.put(x.shards[number], b)
	x.put(job.ManifestKey, x.edit(x.t, func(m *job.Manifest) {
		m.Shards[number].Size, m.Shards[number].SHA256 = int64(len(b)), sum(b)
	}))
}

// tensors returns a shard's file after a change of its tensors.
func (x *trial) tensors(number int, change func(f *safetensors.File)) []byte {
	x.t.Helper()
	f, err := safetensors.Parse(x.original(x.shards[number]), 1<<20)
	if err != nil {
		x.t.Fatal(err)
	}
	for i := range f.Tensors {
		f.Tensors[i].Data = bytes.Clone(f.Tensors[i].Data)
	}
	change(f)
	b, err := safetensors.Marshal(f.Tensors, f.Metadata)
	if err != nil {
		x.t.Fatal(err)
	}
	return b
}

func tensor(f *safetensors.File, name string) *safetensors.Tensor {
	return &f.Tensors[slices.IndexFunc(f.Tensors, func(t safetensors.Tensor) bool { return t.Name == name })]
}

// TestShardIsNotTheManifests refuses a shard of other bytes, and mines it once it is mended.
func TestShardIsNotTheManifests(t *testing.T) {
	t.Parallel()
	i := newInputs(t, mining.Options{}, 4)
	for _, row := range []struct {
		name, problem string
		change        func(b []byte) []byte
	}{
		{"one bit", "its sha256 is", func(b []byte) []byte { b[len(b)/2] ^= 4; return b }},
		{"truncated", "its size is not the", func(b []byte) []byte { return b[:len(b)-1] }},
		{"empty", "its size is not the", func([]byte) []byte { return nil }},
		{"larger", "its size is not the", func(b []byte) []byte { return append(b, 0) }},
		{"much larger", "its size is not the", func(b []byte) []byte { return append(b, make([]byte, 5<<20)...) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			x := i.on(t)
			x.put(x.shards[1], row.change(x.original(x.shards[1])))
			x.shard(x.shards[0], job.Mined, "")
			x.shard(x.shards[1], job.Refused, row.problem)
			x.shard(x.shards[1], job.Refused, row.problem)
			x.refused(x.shards[1])
			x.shard(x.shards[2], job.Mined, "")
			x.mend(x.shards[1])
			x.shard(x.shards[1], job.Mined, "")
			x.refused()
			x.rest()
		})
	}
}

// TestShardAsTheManifestSays refuses shards whose bytes are the manifest's and make no sense.
func TestShardAsTheManifestSays(t *testing.T) {
	t.Parallel()
	i := newInputs(t, mining.Options{}, 4)
	const vectors = "documents/minilm"
	f16 := func(v uint16) func(f *safetensors.File) {
		return func(f *safetensors.File) {
			for at := range job.SmallWidth { // of row 2
				d := tensor(f, vectors).Data[2*(2*job.SmallWidth+at):]
				d[0], d[1] = byte(v), byte(v>>8)
			}
		}
	}
	for _, row := range []struct {
		name, problem string
		change        func(f *safetensors.File)
	}{
		{"width", "shape", func(f *safetensors.File) {
			x := tensor(f, vectors)
			x.Shape[1]--
			x.Data = x.Data[:2*x.Shape[0]*x.Shape[1]]
		}},
		{"rows", "shape", func(f *safetensors.File) {
			x := tensor(f, vectors)
			x.Shape[0]--
			x.Data = x.Data[:2*x.Shape[0]*x.Shape[1]]
		}},
		{"integers", "F16, F32 and F64 are read", func(f *safetensors.File) {
			x := tensor(f, vectors)
			x.DType, x.Data = safetensors.U8, x.Data[:len(x.Data)/2]
		}},
		{"a model is missing", "there is no tensor", func(f *safetensors.File) { tensor(f, vectors).Name = "documents/other" }},
		{"NaN", "row 2", f16(0x7e00)},
		{"Inf", "row 2", f16(0x7c00)},
		{"zeros", "row 2", f16(0)},
		{"no ids", "ids", func(f *safetensors.File) { tensor(f, "ids").Name = "names" }},
		{"no offsets", "ids_offsets", func(f *safetensors.File) { tensor(f, "ids_offsets").Name = "offsets" }},
		{"an empty id", "is empty", func(f *safetensors.File) {
			o := safetensors.Int64s(tensor(f, "ids_offsets").Data)
			o[2] = o[1]
		}},
		{"an id that is no text", "UTF-8", func(f *safetensors.File) { tensor(f, "ids").Data[1] = 0xff }},
		{"an id twice", "its rows 0 and 1 have the same id", func(f *safetensors.File) { setID(f, 1, idOf(f, 0)) }},
		{"ids end early", "ascend", func(f *safetensors.File) {
			x := tensor(f, "ids")
			x.Shape[0]--
			x.Data = x.Data[:x.Shape[0]]
		}},
		{"offsets descend", "ascend", func(f *safetensors.File) {
			o := safetensors.Int64s(tensor(f, "ids_offsets").Data)
			o[1], o[2] = o[2], o[1]
		}},
		{"one id too few", "values", func(f *safetensors.File) {
			x := tensor(f, "ids_offsets")
			x.Shape[0]--
			x.Data = x.Data[:8*x.Shape[0]]
		}},
		{"more tensors", "tensors", func(f *safetensors.File) {
			f.Tensors = append(f.Tensors, safetensors.OfInt64("more", []int64{1}, 1))
		}},
		{"format", "format is", func(f *safetensors.File) { f.Metadata["format"] = "quarry.shard.v9" }},
	} {
		t.Run(row.name, func(t *testing.T) {
			x := i.on(t)
			x.replace(1, x.tensors(1, row.change))
			x.shard(x.shards[1], job.Refused, row.problem)
			x.refused(x.shards[1])
			x.shard(x.shards[0], job.Mined, "")
		})
	}
	t.Run("no tensors at all", func(t *testing.T) {
		x := i.on(t)
		x.replace(1, []byte("a text"))
		x.shard(x.shards[1], job.Refused, "not a safetensors file")
	})
}

// TestZeroDocumentsAreSkipped has one machine and a job leave out the same documents.
func TestZeroDocumentsAreSkipped(t *testing.T) {
	at := place()
	s := newSample(t, smallFolder(t, func(fsys fstest.MapFS) {
		clear(fsys["vectors/minilm/docs.npy"].Data[128+2*job.SmallWidth*60:][:2*job.SmallWidth*9])
	}), mining.Options{Zero: option.ZeroSkip, Missing: mining.MissingSkip})
	if !bytes.Contains(s.manifest, []byte(`"skipped_documents_zero": 9`)) {
		t.Fatalf("%s", s.manifest)
	}
	m, w := s.init(t, at, 5), worker(t, at)
	for _, shard := range m.Shards {
		if _, err := w.Shard(t.Context(), shard.Name); err != nil {
			t.Fatal(err)
		}
	}
	s.check(t, at)
}

func TestShardThatTheManifestDoesNotName(t *testing.T) {
	x := newInputs(t, mining.Options{}, 4).on(t)
	const name = "shards/zz more.safetensors"
	x.put(name, []byte("anything"))
	x.shard(name, job.Refused, "the manifest does not name it")
	x.refused(name)
	if err := x.at.In.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	x.refused()
	x.rest()
}

// TestManifestsThatAreNotSound are refused, and mended.
func TestManifestsThatAreNotSound(t *testing.T) {
	t.Parallel()
	i := newInputs(t, mining.Options{Rule: "margin"}, 4)
	rows := []struct {
		name, problem string
		change        func(m *job.Manifest)
	}{
		{"twice", "is named twice", func(m *job.Manifest) { m.Shards[1].Name = m.Shards[0].Name }},
		{"overlap", "positions overlap", func(m *job.Manifest) { m.Shards[1].First-- }},
		{"the same again", "positions overlap", func(m *job.Manifest) { m.Shards[1].First = m.Shards[0].First }},
		{"gap", "a gap", func(m *job.Manifest) { m.Shards[0].Rows-- }},
		{"gap at the start", "a gap", func(m *job.Manifest) { m.Shards = m.Shards[1:] }},
		{"last is missing", "result has", func(m *job.Manifest) { m.Shards = m.Shards[:3] }},
		{"no shards", "result has", func(m *job.Manifest) { m.Shards = nil }},
		{"no pairs", "the groups end", func(m *job.Manifest) { m.Groups = nil }},
		{"documents", "result has", func(m *job.Manifest) { m.Result.Tallies.Documents++ }},
		{"pairs", "the groups end", func(m *job.Manifest) { m.Result.Tallies.Pairs-- }},
		{"first is far", "a gap", func(m *job.Manifest) { m.Shards[3].First = math.MaxInt64 - 1 }},
		{"first is negative", "from position -", func(m *job.Manifest) { m.Shards[0].First = math.MinInt64 }},
		{"no rows", "it has at least one", func(m *job.Manifest) { m.Shards[2].Rows = 0 }},
		{"rows are many", "rows from position", func(m *job.Manifest) { m.Shards[2].Rows = math.MaxInt }},
		{"size", "size is 0", func(m *job.Manifest) { m.Shards[2].Size = 0 }},
		{"sha256", "sha256 is", func(m *job.Manifest) { m.Shards[2].SHA256 = strings.ToUpper(m.Shards[2].SHA256) }},
		{"name", "expected a path below", func(m *job.Manifest) { m.Shards[2].Name = "shards/../x" }},
		{"name elsewhere", "expected a path below", func(m *job.Manifest) { m.Shards[2].Name = "parts/x" }},
		{"projection", "that of result is", func(m *job.Manifest) { m.Projection.SHA256 = strings.Repeat("0", 64) }},
		{"name of the projection", `name "p.safetensors"; expected "projection.safetensors"`, func(m *job.Manifest) { m.Projection.Name = "p.safetensors" }},
		{"rule", "rule", func(m *job.Manifest) { m.Result.Rule.Name = "best" }},
		{"bounds", "its floor, cap or eq6", func(m *job.Manifest) { m.Result.Rule.Cap = &[2]float64{0.9, -0.05} }},
		{"bounds out of range", "margin", func(m *job.Manifest) { m.Result.Rule.Cap = &[2]float64{1, 7} }},
		{"top", "top is 0", func(m *job.Manifest) { m.Result.Top = 0 }},
		{"zero", "zero is", func(m *job.Manifest) { m.Result.Zero = "keep" }},
		{"tallies", "not mined yet", func(m *job.Manifest) { m.Result.Tallies.Negatives = 3 }},
		{"format of result", "result: format is", func(m *job.Manifest) { m.Result.Format = "x" }},
		{"format", "its format is", func(m *job.Manifest) { m.Format = "quarry.job.v9" }},
		{"abi", "plugin of ABI", func(m *job.Manifest) { m.Result.Plugin.ABI = "quarry.abi.v9" }},
		{"plugin", "it is for plugin", func(m *job.Manifest) { m.Result.Plugin.SHA256 = strings.Repeat("0", 64) }},
		{"positives", "make no sense", func(m *job.Manifest) { m.Groups[0].Positives = 0 }},
		{"parts", "make 16008001 parts", many(4001)},
	}
	files := map[string][2]string{
		"unknown field": {strings.Replace(string(i.edit(t, func(*job.Manifest) {})), `{"format"`, `{"colour":1,"format"`, 1), "colour"},
		"goes on":       {string(i.edit(t, func(*job.Manifest) {})) + "{}", "goes on"},
		"cut":           {string(i.edit(t, func(*job.Manifest) {})[:300]), "unexpected"},
		"empty":         {"", "EOF"},
		"null":          {"null", "format"},
		"a list":        {"[]", "array"},
	}
	for _, row := range rows {
		files[row.name] = [2]string{string(i.edit(t, row.change)), row.problem}
	}
	for name, file := range files {
		t.Run(name, func(t *testing.T) {
			x := i.on(t)
			x.put(job.ManifestKey, []byte(file[0]))
			x.sweep(job.Refused, file[1])
			x.shard(x.shards[0], job.Refused, file[1])
			x.mend(job.ManifestKey)
			if o := x.sweep(job.Pending, ""); len(o.Uploaded) != 4 {
				t.Fatalf("%+v", o)
			}
			x.refused()
			x.rest()
		})
	}
	t.Run("many problems", func(t *testing.T) {
		_, err := job.ParseManifest(i.edit(t, func(m *job.Manifest) {
			for n := range 30 {
				m.Shards = append(m.Shards, job.Shard{File: job.File{Name: fmt.Sprint(n)}})
			}
		}))
		if err == nil || !strings.Contains(err.Error(), "more") || len(err.Error()) > 3000 {
			t.Errorf("%v", err)
		}
	})
}

// many makes a manifest of so many shards and groups of pairs, which are sound but for that.
func many(n int) func(m *job.Manifest) {
	return func(m *job.Manifest) {
		shard, group := m.Shards[0], m.Groups[0]
		shard.Rows, group.Pairs, m.Shards, m.Groups = 1, 1, nil, nil
		for i := range n {
			shard.Name, shard.First = fmt.Sprintf("shards/%d", i), int64(i)
			group.Name, group.First, group.End = fmt.Sprintf("pairs/%d", i), i, i+1
			m.Shards, m.Groups = append(m.Shards, shard), append(m.Groups, group)
		}
		m.Result.Tallies.Documents, m.Result.Tallies.Pairs = int64(n), n
	}
}

// listing counts the objects that a store lists.
type listing struct {
	objstore.Store
	listed int
}

func (l *listing) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		for o, err := range l.Store.List(ctx, prefix, after) {
			l.listed++
			if !yield(o, err) {
				return
			}
		}
	}
}

// TestForeignKeys has many objects beside the job's own. They cost a worker and a status nothing: neither lists one.
func TestForeignKeys(t *testing.T) {
	t.Parallel()
	x := newInputs(t, mining.Options{}, 4).on(t)
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	body := strings.NewReader("")
	for i := range n {
		s, key := x.at.In, fmt.Sprintf("shards/foreign/%d", i)
		if i%2 == 1 {
			s, key = x.at.Out, fmt.Sprintf("parts/0123456789abcdef/%d", i)
		}
		if err := s.Put(t.Context(), key, body); err != nil {
			t.Fatal(err)
		}
	}
	in, out := &listing{Store: x.at.In}, &listing{Store: x.at.Out}
	x.at = &job.Place{Name: x.at.Name, In: in, Out: out}
	x.w = worker(t, x.at)
	x.sweep(job.Pending, "")
	x.rest()
	if s := x.status(); s.Mined != 4 || s.State != job.Finished {
		t.Errorf("%+v", s)
	}
	// Of its own parts a worker lists none in the sweep, then 1, 2, 3 and 4, and the status 4.
	if parts := len(x.manifest.Groups); in.listed != 0 || out.listed != 14*parts {
		t.Errorf("%d inputs and %d results were listed, expected none and %d", in.listed, out.listed, 14*parts)
	}
}
