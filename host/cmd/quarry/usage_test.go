package main

import (
	"slices"
	"strings"
	"testing"
)

// usageRow is a mistake in the command line, and what the message must say: what was given, and what is allowed.
type usageRow struct {
	line string
	says []string
}

// mistakes are known from the command line alone.
var mistakes = []usageRow{
	{"bogus", []string{`"bogus"`}},
	{"mien data", []string{`"mien"`, "mine"}}, // a suggestion
	{"--bogus", []string{"--bogus"}},
	{"mine ./data --bogus", []string{"--bogus"}},
	{"mine -z ./data", []string{"'z'"}},
	{"mine", []string{"1 arg", "0"}},
	{"mine ./data ./data", []string{"1 arg", "2"}},
	{"fit", []string{"1 arg", "0"}},
	{"fit ./data ./data", []string{"1 arg", "2"}},
	{"transform --projection p -o ./out", []string{"1 arg", "0"}},
	{"transform ./data ./data --projection p -o ./out", []string{"1 arg", "2"}},
	{"transform ./data -o ./out", []string{"--projection"}},
	{"transform ./data --projection p", []string{"--output"}},
	{"export ./out/n.jsonl", []string{"no DIR", "--ids"}},
	{"export", []string{"between 1 and 2 arg", "0"}},
	{"export ./out/n.jsonl ./data ./data", []string{"2 arg", "3"}},
	{"inspect", []string{"1 arg", "0"}},
	{"inspect ./data ./data", []string{"1 arg", "2"}},
	{"demo ./data", []string{"data"}},
	{"import -o ./out", []string{"1 arg", "0"}},
	{"import postgres:///shop", []string{"--output"}},
	{"import ./data -o ./out/d", []string{"postgres://"}},
	{"import postgres:///shop -o s3://bucket/d", []string{"s3://bucket/d", "this machine"}},
	{"import postgres:///shop -o ./out/d --docs=", []string{"--docs", "empty"}},
	{"import postgres:///shop -o ./out/d --docs-columns id", []string{"--docs-columns", "key=value"}},
	{"import postgres:///shop -o ./out/d --docs-columns id=a,text=a", []string{"--docs-columns", "twice"}},
	{"import postgres:///shop -o ./out/d --qrels-columns grade=x", []string{"--qrels-columns", `"grade"`, "query_id, document_id, score, split"}},
	{"import postgres:///shop -o ./out/d --models a,,b", []string{"--models", "empty"}},
	{"version data", []string{"data"}},
	{"mine ./data -o", []string{"-o"}},
	{"mine ./data --top", []string{"--top"}},
	{mineLine + " --top x", []string{"--top", `"x"`}},
	{mineLine + " --top 0", []string{"--top", "0"}},
	{mineLine + " --top -1", []string{"top is -1", "1 to 4096"}},
	{mineLine + " --top 5000", []string{"top is 5000", "1 to 4096"}},
	{mineLine + " --rule bogus", []string{`rule is "bogus"`, "dual, topk, margin, perc, capped"}},
	// Two problems are reported together.
	{mineLine + " --rule bogus --top 5000", []string{`rule is "bogus"`, "top is 5000"}},
	{mineLine + " --rule window", []string{`rule is "window"`, "dual, topk, margin, perc, capped"}},
	{mineLine + " --rule perc --perc 0", []string{"perc is 0", "above 0 to 1"}},
	{mineLine + " --rule perc --perc=-0", []string{"perc", "0"}},
	{mineLine + " --rule perc --perc 1.5", []string{"perc is 1.5", "above 0 to 1"}},
	{mineLine + " --rule perc --perc=-0.5", []string{"perc is -0.5", "above 0 to 1"}},
	{mineLine + " --rule perc --perc NaN", []string{"perc is NaN", "above 0 to 1"}},
	{mineLine + " --rule margin --margin 3", []string{"margin is 3", "0 to 2"}},
	{mineLine + " --rule margin --margin=-0.1", []string{"margin is -0.1", "0 to 2"}},
	{mineLine + " --perc 0.9", []string{"--perc", "perc or capped", "dual"}},
	{mineLine + " --rule perc --margin 0.1", []string{"--margin", "--rule margin", "perc"}},
	{"mine ./data -o - --engine native", []string{"--output", "./-"}},
	{"demo -o -", []string{"--output", "./-"}},
	{mineLine + " --positives some", []string{`positives is "some"`, "each, all"}},
	{mineLine + " --self maybe", []string{`self is "maybe"`, "exclude, keep"}},
	{mineLine + " --zero keep", []string{`zero is "keep"`, "error, skip"}},
	{mineLine + " --missing keep", []string{`missing is "keep"`, "error, skip"}},
	{mineLine + " --threads 0", []string{"--threads", "0", "1 or more"}},
	{mineLine + " --threads=-2", []string{"--threads", "-2", "1 or more"}},
	{"fit ./data -o ./out/p --threads 0", []string{"--threads", "0", "1 or more"}},
	{"fit ./data -o ./out/p --zero keep", []string{`zero is "keep"`, "error, skip"}},
	{"demo -o ./out/demo --threads 0", []string{"--threads", "0", "1 or more"}},
	{"transform ./data --projection p -o ./out --threads 0", []string{"--threads", "0", "1 or more"}},
	{"transform ./data --projection p -o ./out --zero keep --engine native", []string{`zero is "keep"`, "error, skip"}},
	{"mine ./data -o ./out/n.jsonl --engine bogus", []string{`--engine is "bogus"`, "wasm or native"}},
	{"demo -o ./out/demo --engine bogus", []string{`--engine is "bogus"`, "wasm or native"}},
	{"transform ./data --projection p -o ./out --engine bogus", []string{`--engine is "bogus"`, "wasm or native"}},
	{mineLine + " --variance 0", []string{"--variance", "0", "above 0 to 1"}},
	{mineLine + " --variance 1.5", []string{"variance is 1.5", "above 0 to 1"}},
	{mineLine + " --variance=-0.5", []string{"variance is -0.5", "above 0 to 1"}},
	{mineLine + " --variance NaN", []string{"variance is NaN", "above 0 to 1"}},
	{mineLine + " --components 0", []string{"--components", "0", "1 or more"}},
	{mineLine + " --components=-1", []string{"--components", "-1", "1 or more"}},
	{mineLine + " --components 65537", []string{"components is 65537", "1 to 65536"}},
	{mineLine + " --variance 0.9 --components 2", []string{"variance and components", "choose one"}},
	{mineLine + " --no-pca --variance 0.9", []string{"without PCA", "variance"}},
	{mineLine + " --no-pca --components 2", []string{"without PCA", "components"}},
	{mineLine + " --no-pca --no-center", []string{"without PCA", "centred"}},
	// Nothing is fitted, so there is nothing to fit it on.
	{mineLine + " --no-pca --fit-on all", []string{"without PCA", "fit on"}},
	{mineLine + " --no-pca --fit-on sample:3", []string{"without PCA", "fit on"}},
	{mineLine + " --fit-on queries", []string{`"queries"`, "docs, all, or sample:N"}},
	{mineLine + " --fit-on sample:0", []string{`"sample:0"`, "docs, all, or sample:N"}},
	{mineLine + " --fit-on sample:-3", []string{`"sample:-3"`, "docs, all, or sample:N"}},
	{mineLine + " --fit-on sample:x", []string{`"sample:x"`, "docs, all, or sample:N"}},
	{mineLine + " --fit-on sample:3x", []string{`"sample:3x"`, "docs, all, or sample:N"}},
	{mineLine + " --fit-on sample:", []string{`"sample:"`, "docs, all, or sample:N"}},
	{mineLine + " --seed x", []string{"--seed", `"x"`}},
	{mineLine + " --models=", []string{"--models", "empty"}},
	{mineLine + " --models a,,b", []string{"--models", "empty", "a,,b"}},
	{mineLine + " --models =2", []string{"--models", "empty"}},
	{mineLine + " --models a,b,a", []string{`"a"`, "twice"}},
	{mineLine + " --models a=0,b", []string{`"a"`, "weight 0", "above 0"}},
	{mineLine + " --models a=-1,b", []string{`"a"`, "weight -1", "above 0"}},
	{mineLine + " --models a=NaN", []string{`"a"`, "weight NaN", "above 0"}},
	{mineLine + " --models a=inf", []string{`"a"`, "weight +Inf", "finite"}},
	{mineLine + " --models a=x", []string{"--models", `"x"`, "not a number"}},
	{mineLine + " --models a=", []string{"--models", `""`, "not a number"}},
	{mineLine + " --models a=1,b --variance 3 --components 2", []string{"variance is 3", "choose one"}},
	// Outputs that there is no name for, or that would overwrite one another.
	{"mine ./data --engine native --output=", []string{"--output", "empty"}},
	{"fit ./data --output=", []string{"--output", "empty"}},
	{"export ./out/n.jsonl ./data --output=", []string{"--output", "empty"}},
	{"transform ./data --projection p --engine native --output=", []string{"--output", "empty"}},
	{"demo --engine native --output=", []string{"--output", "empty"}},
	{"mine ./data --engine native -o ./out/projection.safetensors", []string{"out/projection.safetensors", "twice"}},
	{mineLine + " --stats ./out/n.jsonl", []string{"out/n.jsonl", "--stats"}},
	{mineLine + " --stats ./out/n.manifest.json --force", []string{"out/n.manifest.json", "--stats"}},
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, row := range mistakes {
		t.Run(row.line, func(t *testing.T) {
			w := workFolder(t, sample())
			failure{line: row.line, code: exitUsage, says: append(row.says, "--help")}.run(t, w)
		})
	}
}

// TestUsageComesFirst has the same mistakes, and a folder that is not there: what the command line alone tells is told
// before a folder is read, which takes minutes where it is large.
func TestUsageComesFirst(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	for _, row := range mistakes {
		line := strings.ReplaceAll(row.line, "out/", "")
		o := w.quarry(t.Context(), line)
		if o.code != exitUsage {
			t.Errorf("quarry %s: exit %d, expected %d:\n%s", line, o.code, exitUsage, o.stderr)
		}
	}
	w.checkUnchanged(t, files{})
}

// TestUsageThatTheFolderTells are options that do not go with the folder that is given.
func TestUsageThatTheFolderTells(t *testing.T) {
	t.Parallel()
	rows := []failure{
		{line: mineLine + " --components 6", says: []string{"6 components", "5 columns"}},
		{line: "fit ./data -o ./out/p --components 6", says: []string{"6 components", "5 columns"}},
		{line: "fit ./data -o ./out/p --components 5 --fit-on sample:3", says: []string{"5 components", "only 2"}},
		{line: mineLine + " --fit-on sample:9", says: []string{"sample of 9", "8 documents"}},
		{line: mineLine + " --models c", says: []string{`"c"`, "a, b"}},
		{line: mineLine + " --models a,A", says: []string{`"A"`, "a, b"}},
		{line: mineLine + " --models a/../b", says: []string{`"a/../b"`, "a, b"}},
		{line: "fit ./data -o ./out/p --models a,c=2", says: []string{`"c"`, "a, b"}},
		{line: mineLine + " --memory 16MiB", says: []string{"too little memory", "16 MiB were given", "at least"}},
		{line: "fit ./data -o ./out/p --memory 16MiB", says: []string{"too little memory", "at least"}},
		{line: mineLine + " --split dev", says: []string{"qrels/dev.tsv", "train, test or all"}},
		{line: mineLine + " --split ../qrels/train", says: []string{"train, test or all"}},
	}
	// The covariance of so many columns is not held.
	rows = append(rows, failure{line: "fit ./data -o ./out/p --variance 1", says: []string{"2053 columns", "--no-pca", "--variance"}, change: func(f files) {
		wide := make([]float64, 2048)
		wide[0] = 1
		f["vectors/wide/docs.npy"] = f4(slices.Repeat([][]float64{wide}, 8)...)
		f["vectors/wide/queries.npy"] = f4(slices.Repeat([][]float64{wide}, 4)...)
	}})
	for i := range rows {
		rows[i].name, rows[i].code = rows[i].line, exitUsage
	}
	runFailures(t, rows)
}

// TestHelp: every command has help with examples that begin with its name, and help is no failure.
func TestHelp(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	for _, command := range []string{"", "mine", "fit", "transform", "export", "compare", "eval", "audit", "report", "inspect", "demo", "import", "version", "job", "job init", "job status", "job run", "job sweep", "job cancel", "job fetch"} {
		for _, line := range []string{command + " --help", command + " -h", "help " + command} {
			out := w.mustRun(t, line)
			examples, flags, ok := strings.Cut(out, "Examples:\n")
			if !ok || !strings.Contains(flags, "quarry "+command) || !strings.Contains(flags, "Flags:") || examples == "" {
				t.Errorf("quarry %s lacks examples or flags:\n%s", line, out)
			}
		}
	}
	if w.mustRun(t, "") != w.mustRun(t, "--help") {
		t.Error("quarry alone and quarry --help say different things")
	}
	if w.mustRun(t, "job") != w.mustRun(t, "job --help") {
		t.Error("quarry job alone and quarry job --help say different things")
	}
	root := w.mustRun(t, "--help")
	for _, part := range []string{"corpus.jsonl", "qrels/<split>.tsv", "vectors/<model>/docs.npy", "Exit codes: 0", "130 interrupted", "--force"} {
		if !strings.Contains(root, part) {
			t.Errorf("quarry --help lacks %q", part)
		}
	}
	for _, line := range []string{"help bogus", "help job bogus"} {
		if o := w.quarry(t.Context(), line); o.code != exitUsage {
			t.Errorf("quarry %s: exit %d, expected %d", line, o.code, exitUsage)
		}
	}
	w.checkUnchanged(t, files{})
}
