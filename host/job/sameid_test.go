package job_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// idOf is the id of a row of a shard's file.
func idOf(f *safetensors.File, row int) string {
	o := safetensors.Int64s(tensor(f, "ids_offsets").Data)
	return string(tensor(f, "ids").Data[o[row]:o[row+1]])
}

// setID gives a row of a shard's file another id.
func setID(f *safetensors.File, row int, id string) {
	blob, offsets := []byte{}, []int64{0}
	for i := range len(safetensors.Int64s(tensor(f, "ids_offsets").Data)) - 1 {
		own := idOf(f, i)
		if i == row {
			own = id
		}
		blob = append(blob, own...)
		offsets = append(offsets, int64(len(blob)))
	}
	ids := tensor(f, "ids")
	ids.Data, ids.Shape = blob, []int{len(blob)}
	tensor(f, "ids_offsets").Data = safetensors.OfInt64("", offsets, len(offsets)).Data
}

// TestIDInTwoShards gives a document the id of one in another shard, whether the result would name either or not. The
// job has no result then, and its status says which two documents it are. A worker with so little memory that it holds
// a tenth of the hashes at a time finds it too.
func TestIDInTwoShards(t *testing.T) {
	i := newInputs(t, grouped(t, mining.Options{}, 3), 3)
	for _, row := range []int{0, 3, 9} {
		for _, memory := range []int64{0, 1360} {
			x := i.on(t)
			first, err := safetensors.Parse(x.original(x.shards[0]), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			x.replace(2, x.tensors(2, func(f *safetensors.File) { setID(f, row, idOf(first, 1)) }))
			for _, name := range x.shards[:2] {
				x.shard(name, job.Mined, "")
			}
			problem := fmt.Sprintf("%s (row 1, position 1) and one of %s (row %d, position %d) have the same id", x.shards[0], x.shards[2], row, int(i.manifest.Shards[2].First)+row)
			x.shard(x.shards[2], job.Refused, problem)
			if x.w, err = job.NewWorker(x.at.In, x.at.Out, job.Options{Compute: mining.Compute{Engine: native, Memory: option.Budget{Bytes: memory}}, Dir: t.TempDir()}); err != nil {
				t.Fatal(err)
			}
			x.sweep(job.Refused, problem)
			x.refused(job.ManifestKey)
			if err := x.w.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := x.at.Out.Head(t.Context(), negativesKey); err == nil {
				t.Error("there is a result")
			}
		}
	}
	// Passes find nothing where there is nothing.
	x := i.on(t)
	x.rest()
	for _, key := range []string{negativesKey, resultKey} {
		if err := x.at.Out.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	w, err := job.NewWorker(x.at.In, x.at.Out, job.Options{Compute: mining.Compute{Engine: native, Memory: option.Budget{Bytes: 1360}}, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close(t.Context()) }()
	if o, err := w.Sweep(t.Context()); err != nil || !o.Committed {
		t.Errorf("%+v, %v", o, err)
	}
	x.check(t, x.at)
}

// TestSweepsOfARefusedJob: what was found once is not looked for by each sweep again.
func TestSweepsOfARefusedJob(t *testing.T) {
	i := newInputs(t, mining.Options{}, 3)
	x := i.on(t)
	first, err := safetensors.Parse(x.original(x.shards[0]), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	x.replace(2, x.tensors(2, func(f *safetensors.File) { setID(f, 3, idOf(first, 1)) }))
	for _, name := range x.shards {
		if _, err := x.w.Shard(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	gets := map[string]int{}
	count := func(op, key string) error {
		if op == "get" {
			gets[strings.SplitN(key, "/", 2)[0]]++
		}
		return nil
	}
	for range 10 {
		w := worker(t, &job.Place{Name: x.at.Name, In: &hooked{x.at.In, count}, Out: &hooked{x.at.Out, count}})
		if o, err := w.Sweep(t.Context()); err != nil || o.Action != job.Refused {
			t.Fatalf("%+v, %v", o, err)
		}
	}
	if gets["shards"] > 2 || gets["ids"] > 3 {
		t.Errorf("ten sweeps of a job that is refused read %v", gets)
	}
}

// TestIDTwiceIsSeenFirst: a shard with an id twice is refused before it is mined, so that nothing of it is put.
func TestIDTwiceIsSeenFirst(t *testing.T) {
	i := newInputs(t, grouped(t, mining.Options{}, 3), 3)
	x := i.on(t)
	first, err := safetensors.Parse(x.original(x.shards[0]), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	x.replace(0, x.tensors(0, func(f *safetensors.File) { setID(f, 3, idOf(first, 1)) }))
	order := []string{}
	hook := &hooked{x.at.Out, func(op, key string) error {
		if op == "put" && (strings.HasPrefix(key, "ids/") || strings.HasPrefix(key, "parts/")) {
			order = append(order, fmt.Sprintf("%.12s…%s", key, key[len(key)-40:]))
		}
		return nil
	}}
	w := worker(t, &job.Place{Name: x.at.Name, In: x.at.In, Out: hook})
	if _, err := w.Shard(t.Context(), x.shards[1]); err != nil {
		t.Fatal(err)
	}
	order = nil
	o, err := w.Shard(t.Context(), x.shards[0])
	if err != nil || o.Action != job.Refused {
		t.Fatalf("%+v, %v", o, err)
	}
	if len(order) > 0 {
		t.Errorf("before the shard was refused these were put: %q", order)
	}
}
