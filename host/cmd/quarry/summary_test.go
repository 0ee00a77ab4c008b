package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/run"
)

// decodeStrictly reads a JSON value that has no other keys than v.
func decodeStrictly(t *testing.T, text string, v any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil || d.More() {
		t.Fatalf("%v, or more than one value:\n%s", err, text)
	}
}

// TestStats: times, engine, threads, folder and outputs are in the file of --stats, and in no other.
func TestStats(t *testing.T) {
	t.Parallel()
	compilePlugin(t)
	w := workFolder(t, sample())
	native := engine.Native(engine.Options{}).Name() // which says what there is on this processor
	for _, row := range []struct {
		flags, engine string
		threads       int
		outputs       string
		stages        string
	}{
		{"--engine native --threads 3", native, 3, "out/projection.safetensors out/n.jsonl out/n.manifest.json", "fit mine project pairs read write"},
		{"--engine native", native, runtime.GOMAXPROCS(0), "out/projection.safetensors out/n.jsonl out/n.manifest.json", "fit mine project pairs read write"},
		{"--engine wasm --threads 1 --projection ./out/projection.safetensors", "wasm", 1, "out/n.jsonl out/n.manifest.json", "mine project pairs read write"},
	} {
		t.Run(row.flags, func(t *testing.T) {
			summary := w.mineJSON(t, "mine ./data -o ./out/n.jsonl --force --stats ./out/s.json "+row.flags)
			var s runStats
			all := w.tree(t)
			decodeStrictly(t, all["out/s.json"], &s)
			if s.Folder != w.path("data") || s.Engine != row.engine || s.Threads != row.threads || w.within(strings.Join(s.Outputs, " ")) != row.outputs || s.Tallies != summary.Tallies {
				t.Errorf("the statistics are %+v, expected %+v and tallies %+v", s, row, summary.Tallies)
			}
			if stages := strings.Join(slices.Sorted(maps.Keys(s.Seconds)), " "); stages != row.stages {
				t.Errorf("there are seconds of %s, expected %s", stages, row.stages)
			}
			for stage, seconds := range s.Seconds { // which may be as long as it takes
				if seconds < 0 {
					t.Errorf("%s took %v seconds", stage, seconds)
				}
			}
			if runtime.GOOS == "linux" && (s.PeakMemory < 1<<20 || s.PeakMemory > 1<<36) {
				t.Errorf("peak memory is %d bytes", s.PeakMemory)
			}
			for _, word := range []string{"engine", "threads", "seconds", "native", "out/", "data/"} {
				if strings.Contains(all["out/n.manifest.json"], word) {
					t.Errorf("the manifest has %q", word)
				}
			}
		})
	}
}

// TestSummaryAsJSON counts each figure of the summary again, from the negatives.
func TestSummaryAsJSON(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	var s run.Summary
	decodeStrictly(t, w.mustRun(t, mineLine+" --json --split all"), &s)
	pairs := w.readNegatives(t, "out/n.jsonl")
	var manifest negatives.Manifest
	decodeStrictly(t, w.tree(t)["out/n.manifest.json"], &manifest)
	tallies := negatives.Tallies{Documents: 8, Queries: 4, Pairs: len(pairs)}
	distances := map[string][]float64{}
	var with []negatives.Pair
	for _, p := range pairs {
		distances["d_q_pd"] = append(distances["d_q_pd"], p.DQPD)
		switch {
		case p.None == negatives.NoneWindow:
			tallies.NoneWindow++
		case p.None == negatives.NoneEq6:
			tallies.NoneEq6++
		default:
			tallies.WithNegatives++
			with = append(with, p)
		}
		for _, n := range p.Negatives {
			tallies.Negatives++
			distances["d_q_d"], distances["d_pd_d"] = append(distances["d_q_d"], n.DQD), append(distances["d_pd_d"], n.DPDD)
		}
	}
	if tallies.Negatives == 0 || tallies.NoneEq6+tallies.NoneWindow == 0 {
		t.Fatalf("the sample has %+v, which tests little", tallies)
	}
	if s.Tallies != tallies || manifest.Tallies != tallies {
		t.Errorf("the summary has %+v, the manifest %+v, the negatives %+v", s.Tallies, manifest.Tallies, tallies)
	}
	if s.NegativesID != manifest.Negatives || s.Projection.Fingerprint != manifest.Projection.SHA256 || s.Split != "all" || !reflect.DeepEqual(s.Rule, manifest.Rule) {
		t.Errorf("the summary %+v is not of the manifest %+v", s, manifest)
	}
	if written := strings.Join(s.Written, " "); written != "out/projection.safetensors out/n.jsonl out/n.manifest.json" {
		t.Errorf("written is %s", written)
	}
	for key, values := range distances {
		slices.Sort(values)
		q := s.Distances[key]
		if q == nil || q.Count != len(values) || q.Min != values[0] || q.Max != values[len(values)-1] || !slices.Contains(values, q.Median) || q.Q25 > q.Median || q.Median > q.Q75 {
			t.Errorf("%s is %+v, of %v", key, q, values)
		}
	}
	if len(s.Examples) != min(3, len(with)) {
		t.Fatalf("%d examples of %d pairs with negatives", len(s.Examples), len(with))
	}
	text := func(id string) string { return fmt.Sprintf("Title %s. Text of document %s.", id[1:], id[1:]) }
	first := with[0]
	want := run.Example{Query: "Text of query " + first.QueryID[1:], Positive: text(first.PositiveID), Negative: text(first.Negatives[0].ID),
		DQPD: first.DQPD, DQD: first.Negatives[0].DQD, DPDD: first.Negatives[0].DPDD}
	if s.Examples[0] != want {
		t.Errorf("the first example is %+v, expected %+v", s.Examples[0], want)
	}
}

// TestShellWord quotes words that a shell takes apart.
func TestShellWord(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "''", "s3://b/jobs/a": "s3://b/jobs/a", "./unï": "./unï", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'", "\xff": "'\xff'"} {
		if got := shellWord(text); got != want {
			t.Errorf("%q is %s, expected %s", text, got, want)
		}
	}
}

// TestSummaryAsText has the tallies in words.
func TestSummaryAsText(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	out := w.mustRun(t, mineLine+" --models a --no-pca")
	for _, part := range []string{"3 pairs of split train against 8 documents, rule dual, 2 components", "3, for 1 pairs (33.3 %)", "1 pairs: no document in the rule's window",
		"1 pairs: every document in the window is nearer to the positive (Eq. 6)", "query to positive", "Text of query 1", "to train on: where we trained, a re-ranker gained nothing from dual's", "written: out/projection.safetensors, out/n.jsonl, out/n.manifest.json"} {
		if !strings.Contains(out, part) {
			t.Errorf("the summary lacks %q:\n%s", part, out)
		}
	}
}

// TestQuiet: with --quiet commands print nothing but errors, and write the same files.
func TestQuiet(t *testing.T) {
	t.Parallel()
	for _, row := range append([]writing{{"demo -o ./out --engine native", "out/negatives.jsonl"}}, writings...) {
		if row.file == "out/s.json" {
			continue // it has times
		}
		t.Run(row.line+"/"+row.file, func(t *testing.T) {
			w := minedFolder(t)
			if w.mustRun(t, row.line) == "" {
				t.Error("nothing is said without --quiet")
			}
			want := w.tree(t)
			flags := []string{" --quiet", " -q"}
			if strings.HasPrefix(row.line, "demo") { // which fits each time
				flags = flags[:1]
			}
			for _, quiet := range flags {
				if out := w.mustRun(t, row.line+" --force"+quiet); out != "" {
					t.Errorf("quarry %s%s says %q", row.line, quiet, out)
				}
				w.checkUnchanged(t, want)
			}
			if o := w.quarry(t.Context(), "inspect ./nosuch --quiet"); o.code != exitInput || o.stderr == "" {
				t.Errorf("an error with --quiet: exit %d, stderr %q", o.code, o.stderr)
			}
		})
	}
}

// TestEverySummaryAsJSON: with --json each command prints one JSON value, whose figures are those of its files.
func TestEverySummaryAsJSON(t *testing.T) {
	t.Parallel()
	w := minedFolder(t)
	for _, row := range []struct {
		line string
		want map[string]any
	}{
		{"fit ./data -o ./out/p.safetensors --components 2", map[string]any{"columns": 5., "components": 2., "rows": 8., "written": []any{"out/p.safetensors"}}},
		{transformLine, map[string]any{"documents": 8., "queries": 4., "zero_rows": 0., "folder": "out"}},
		{exportLine, map[string]any{"pairs": 3., "triplets": float64(strings.Count(w.tree(t)["n.jsonl"], `"rank"`)), "written": []any{"out/t.jsonl"}}},
		{"demo -o ./out/demo --engine native", map[string]any{"split": "train"}},
		{"version", map[string]any{"go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH, "abi": "1.0"}},
	} {
		var got map[string]any
		decodeStrictly(t, w.mustRun(t, row.line+" --json"), &got)
		for key, want := range row.want {
			if !reflect.DeepEqual(got[key], want) {
				t.Errorf("quarry %s: %s is %v, expected %v", row.line, key, got[key], want)
			}
		}
	}
	if lines := strings.Count(w.tree(t)["out/t.jsonl"], "\n"); lines != strings.Count(w.tree(t)["n.jsonl"], `"rank"`) || lines == 0 {
		t.Errorf("%d triplets were written", lines)
	}
}
