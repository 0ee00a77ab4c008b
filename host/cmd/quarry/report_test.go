package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// reportLine is a command line of report on what mine wrote.
const reportLine = "report ./out/n.jsonl ./data -o ./out/report.html"

// TestReport mines and makes a page, with the manifest and the projection that mine left beside the negatives.
func TestReport(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	w.mustRun(t, mineLine)
	var said struct {
		Cases   int      `json:"cases"`
		Pairs   int      `json:"pairs"`
		LeftOut []string `json:"left_out"`
		Written []string `json:"written"`
	}
	if err := json.Unmarshal([]byte(w.mustRun(t, reportLine+" --json")), &said); err != nil {
		t.Fatal(err)
	}
	page := w.read(t, "out/report.html")
	for _, part := range []string{`"scree":{`, `"figure":{`, `"rule":{"name":"dual"`, `"negatives_sha256":"`} {
		if !strings.Contains(page, part) {
			t.Errorf("the page lacks %s", part)
		}
	}
	if said.Pairs != 3 || said.Cases == 0 || len(said.Written) != 1 || strings.Contains(strings.Join(said.LeftOut, " "), "manifest") {
		t.Errorf("%+v", said)
	}
	failure{line: reportLine, code: exitExists, says: []string{"out/report.html", "--force"}}.run(t, w)
	w.mustRun(t, reportLine+" --force")
	if again := w.read(t, "out/report.html"); again != page {
		t.Error("the same inputs gave another page")
	}
}

// TestReportOfOthers takes an audit of the negatives, or of those that it kept, and a comparison of the same data, and refuses others.
func TestReportOfOthers(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	w.mustRun(t, mineLine)
	w.mustRun(t, "mine ./data -o ./out/topk.jsonl --rule topk --projection ./out/projection.safetensors")
	audit := w.mustRun(t, "audit ./out/topk.jsonl ./data --drop-above 0.9 -o ./out/kept.jsonl --json")
	w.write(t, files{"out/audit.json": audit})
	w.mustRun(t, "compare ./data -o ./out/compare.json --projection ./out/projection.safetensors --draws 1 --rules dual,topk")
	for _, name := range []string{"topk", "kept"} {
		w.mustRun(t, "report ./out/"+name+".jsonl ./data -o ./out/"+name+".html --audit ./out/audit.json --compare ./out/compare.json")
	}
	const compared = reportLine + " --compare ./out/compare.json"
	failure{line: reportLine + " --audit ./out/audit.json", says: []string{"audit.json", "of other negatives", "quarry audit --json prints of these"}}.run(t, w)
	earlier := w.read(t, "data/qrels/train.tsv")
	w.write(t, files{"data/qrels/later.tsv": earlier})
	failure{line: compared, says: []string{"compare.json", "other data than", "qrels/later", "quarry compare wrote"}}.run(t, w)
	w.remove(t, "data/qrels/later.tsv")
	w.write(t, files{"out/compare.json": strings.Replace(w.read(t, "out/compare.json"), `"vectors/a/docs": "`, `"vectors/a/docs": "0`, 1)})
	failure{line: compared, says: []string{"compare.json", "other data than", "vectors/a/docs"}}.run(t, w)
}

// TestReportRefuses bad inputs, and leaves everything as it was.
func TestReportRefuses(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	w.mustRun(t, mineLine)
	w.mustRun(t, "fit ./data -o ./out/other.safetensors --models b")
	w.write(t, files{"out/compare.json": `{"rules": []}`, "out/audit.json": "no JSON", "out/broken.jsonl": "{}\n",
		"out/changed.jsonl": "", "out/changed.manifest.json": w.read(t, "out/n.manifest.json")})
	for _, row := range []failure{
		{line: reportLine + " --cases 0", code: exitUsage, says: []string{"--cases is 0", "1 to 5000"}},
		{line: reportLine + " --cases 6000", code: exitUsage, says: []string{"cases is 6000", "1 to 5000"}},
		{line: "report ./out/n.jsonl", code: exitUsage, says: []string{"2 arg", "1"}},
		{line: "report ./out/n.jsonl ./data -o -", code: exitUsage, says: []string{"--output", "./-"}},
		{line: reportLine + " --projection ./out/other.safetensors", says: []string{"other.safetensors", "another projection"}},
		{line: reportLine + " --projection ./out/missing", says: []string{"out/missing", "quarry fit"}},
		{line: reportLine + " --compare ./out/compare.json", says: []string{"compare.json", "no rules", "quarry compare"}},
		{line: reportLine + " --audit ./out/audit.json", says: []string{"audit.json", "quarry audit --json"}},
		{line: "report ./out/broken.jsonl ./data -o ./out/report.html", says: []string{"broken.jsonl, line 1", "query_id"}},
		{line: "report ./out/changed.jsonl ./data -o ./out/report.html", says: []string{"changed.manifest.json", "not of the negatives in"}},
		{line: "report ./out/n.jsonl ./missing -o ./out/report.html", says: []string{"missing"}},
	} {
		row.run(t, w)
	}
}
