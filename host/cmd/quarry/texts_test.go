package main

import (
	"strings"
	"testing"
)

// onlyIDs replaces the texts by ids files.
func onlyIDs(f files) {
	f.drop("corpus.jsonl", "queries.jsonl")
	f["docs.ids"], f["queries.ids"] = "d1\nd2\nd3\nd4\nd5\nd6\nd7\nd8\n", "q1\nq2\nq3\nq4\n"
}

func TestTextFilesThatAreNotSound(t *testing.T) {
	t.Parallel()
	zip := func(f files) {
		f["corpus.jsonl.gz"] = zipped(f["corpus.jsonl"])
		f.drop("corpus.jsonl")
	}
	// set is a change to one file.
	set := func(name, content string) func(files) { return func(f files) { f[name] = content } }
	edit := func(name, old, new string) func(files) { return func(f files) { f.edit(name, old, new) } }
	runFailures(t, []failure{
		{name: "broken JSON", change: edit("corpus.jsonl", `"d3",`, `"d3"`), says: []string{"data/corpus.jsonl, line 3", "not a JSON object", `{"_id":"d1"`}},
		{name: "broken JSON in queries", change: edit("queries.jsonl", `{"_id":"q4"`, `"_id":"q4"`), says: []string{"data/queries.jsonl, line 4", "not a JSON object"}},
		{name: "an array", change: edit("corpus.jsonl", `{"_id":"d2","title":"Title 2","text":"Text of document 2."}`, `["d2"]`), says: []string{"data/corpus.jsonl, line 2", "not a JSON object"}},
		{name: "two objects in a line", change: edit("corpus.jsonl", "}\n{", "}{"), says: []string{"data/corpus.jsonl, line 1", "not a JSON object"}},
		{name: "an array for _id", change: edit("corpus.jsonl", `"d5"`, `[5]`), says: []string{"data/corpus.jsonl, line 5", "_id is an array; it is a string or a number"}},
		{name: "no _id", change: edit("corpus.jsonl", `"_id":"d4",`, ``), says: []string{"data/corpus.jsonl, line 4", "no _id", `{"_id":"d1"`}},
		{name: "an empty _id", change: edit("queries.jsonl", `"q2"`, `""`), says: []string{"data/queries.jsonl, line 2", "no _id"}},
		{name: "null", change: edit("queries.jsonl", `{"_id":"q1","text":"Text of query 1"}`, `null`), says: []string{"data/queries.jsonl, line 1"}},
		{name: "an _id that is not UTF-8", change: edit("corpus.jsonl", `"d3"`, "\"d\xff3\""), says: []string{"data/corpus.jsonl, line 3", `d\xff`, "UTF-8"}},
		{name: "a text that is not UTF-8", change: edit("queries.jsonl", "query 3", "qu\xe9ry 3"), says: []string{"data/queries.jsonl, line 3", `qu\xe9`, "UTF-8"}},
		{name: "an id twice", change: edit("corpus.jsonl", `"d6"`, `"d2"`), says: []string{"data/corpus.jsonl, line 6", `"d2"`, "first in line 2"}},
		{name: "a query id twice", change: edit("queries.jsonl", `"q4"`, `"q1"`), says: []string{"data/queries.jsonl, line 4", `"q1"`, "first in line 1"}},
		{name: "a line cut off", change: func(f files) { f["corpus.jsonl"] = f["corpus.jsonl"][:len(f["corpus.jsonl"])-9] }, says: []string{"data/corpus.jsonl, line 8", "not a JSON object"}},
		{name: "a document too few", change: func(f files) {
			f["corpus.jsonl"] = f["corpus.jsonl"][:strings.Index(f["corpus.jsonl"], `{"_id":"d8"`)]
		}, says: []string{"data/vectors/a/docs.npy", "8 rows", "data/corpus.jsonl has 7 ids"}},
		{name: "empty corpus", change: set("corpus.jsonl", ""), says: []string{"data/corpus.jsonl", "empty"}},
		{name: "empty lines only", change: set("queries.jsonl", "\n\r\n\n"), says: []string{"data/queries.jsonl", "empty"}},
		{name: "gzip cut off", change: func(f files) { zip(f); cut("corpus.jsonl.gz", len(f["corpus.jsonl.gz"])-12)(f) },
			says: []string{"data/corpus.jsonl.gz", "cut off", "compress it again"}},
		{name: "gzip cut off in its checksum", change: func(f files) { zip(f); cut("corpus.jsonl.gz", len(f["corpus.jsonl.gz"])-3)(f) },
			says: []string{"data/corpus.jsonl.gz", "cut off"}},
		{name: "gzip with a wrong checksum", change: func(f files) {
			zip(f)
			b := []byte(f["corpus.jsonl.gz"])
			b[len(b)-6] ^= 1
			f["corpus.jsonl.gz"] = string(b)
		}, says: []string{"data/corpus.jsonl.gz", "checksum"}},
		{name: "gzip with a changed byte", change: func(f files) {
			zip(f)
			b := []byte(f["corpus.jsonl.gz"])
			b[10] = 7 // the first byte of the compressed data: a block of a type that there is not
			f["corpus.jsonl.gz"] = string(b)
		}, says: []string{"data/corpus.jsonl.gz", "corrupt"}},
		{name: "empty gzip", change: func(f files) { zip(f); cut("corpus.jsonl.gz", 0)(f) }, says: []string{"data/corpus.jsonl.gz"}},
		{name: "not gzip", change: func(f files) { f.rename("corpus.jsonl", "corpus.jsonl.gz") }, says: []string{"data/corpus.jsonl.gz", "not a gzip file", "gzip"}},
		{name: "plain and gzip", change: func(f files) { f["corpus.jsonl.gz"] = zipped(f["corpus.jsonl"]) },
			says: []string{"data/corpus.jsonl", "corpus.jsonl.gz", "remove one"}},
		{name: "plain and gzip queries", change: func(f files) { f["queries.jsonl.gz"] = zipped(f["queries.jsonl"]) },
			says: []string{"data/queries.jsonl", "queries.jsonl.gz", "remove one"}},
		{name: "a folder for the corpus", change: func(f files) { f.rename("corpus.jsonl", "corpus.jsonl/x") }, says: []string{"data/corpus.jsonl", "directory"}},
		{name: "no corpus and no ids", change: func(f files) { f.drop("corpus.jsonl") }, says: []string{"data/corpus.jsonl", "docs.ids", "corpus.jsonl.gz"}},
		{name: "no queries and no ids", change: func(f files) { f.drop("queries.jsonl") }, says: []string{"data/queries.jsonl", "queries.ids", "queries.jsonl.gz"}},
		{name: "ids with another id", change: set("docs.ids", "d1\nd2\nx3\nd4\nd5\nd6\nd7\nd8\n"), says: []string{"data/docs.ids, line 3", `"x3"`, `data/corpus.jsonl has "d3"`, "make them again"}},
		{name: "ids in another order", change: set("vectors/a/docs.ids", "d2\nd1\nd3\nd4\nd5\nd6\nd7\nd8\n"), says: []string{"data/vectors/a/docs.ids, line 1", `"d2"`, `has "d1"`}},
		{name: "ids too few", change: set("vectors/queries.ids", "q1\nq2\nq3\n"), says: []string{"data/vectors/queries.ids", "3 ids", "data/queries.jsonl has 4", "make them again"}},
		{name: "ids too many", change: set("queries.ids", "q1\nq2\nq3\nq4\nq5"), says: []string{"data/queries.ids", "5 ids", "has 4"}},
		{name: "ids alone that are empty", change: func(f files) { onlyIDs(f); f["docs.ids"] = "" }, says: []string{"data/docs.ids", "empty"}},
		{name: "ids alone, one twice", change: func(f files) { onlyIDs(f); f.edit("docs.ids", "d8", "d1") }, says: []string{"data/docs.ids, line 8", `"d1"`, "first in line 1"}},
		{name: "ids alone, not UTF-8", change: func(f files) { onlyIDs(f); f.edit("docs.ids", "d8", "d\xff") }, says: []string{"data/docs.ids, line 8", `"d\xff"`, "UTF-8"}},
		{name: "ids alone that disagree with one another", change: func(f files) { onlyIDs(f); f["vectors/b/docs.ids"] = "d1\nd2\nd3\nd4\nd5\nd6\nd8\nd7\n" },
			says: []string{"data/vectors/b/docs.ids, line 7", `"d8"`, `data/docs.ids has "d7"`}},
		{name: "ids alone, and vectors of another length", change: func(f files) { onlyIDs(f); f.edit("docs.ids", "d8\n", "") }, says: []string{"data/vectors/a/docs.npy", "8 rows", "data/docs.ids has 7 ids"}},
	})
}

// TestIDsAlone mines a folder without texts: the negatives are those of the folder with texts, and only export needs
// more.
func TestIDsAlone(t *testing.T) {
	t.Parallel()
	data := sample()
	w := workFolder(t, data)
	w.mustRun(t, mineLine)
	onlyIDs(data)
	data.write(t, w.path("bare"))
	w.mustRun(t, "mine ./bare -o ./out/bare.jsonl --engine native --projection ./out/projection.safetensors")
	all := w.tree(t)
	if all["out/bare.jsonl"] != all["out/n.jsonl"] {
		t.Error("the negatives differ from those of the folder with texts")
	}
	failure{line: "export ./out/bare.jsonl ./bare -o ./out/t.jsonl", says: []string{"bare", "no texts, only ids", "corpus.jsonl and queries.jsonl"}}.run(t, w)
	// With queries' texts alone it is the corpus that is missing.
	files{"queries.jsonl": sample()["queries.jsonl"]}.write(t, w.path("bare"))
	failure{line: "export ./out/bare.jsonl ./bare -o ./out/t.jsonl", says: []string{"bare", "no texts, only ids"}}.run(t, w)
}

// TestSpellingsOfAFolder writes the same folder in other ways. What is mined is the same in all of them.
func TestSpellingsOfAFolder(t *testing.T) {
	t.Parallel()
	texts := []string{"corpus.jsonl", "queries.jsonl"}
	all := append([]string{"qrels/train.tsv", "qrels/test.tsv"}, texts...)
	each := func(names []string, change func(content string) string) func(files) {
		return func(f files) {
			for _, name := range names {
				if f[name] = change(f[name]); f[name] == sample()[name] {
					panic("nothing changed in " + name)
				}
			}
		}
	}
	for _, row := range []struct {
		name   string
		change func(files)
		// sameInputs: the fingerprints of the inputs are those of the plain folder too.
		sameInputs bool
	}{
		{"gzip", func(f files) {
			for _, name := range texts {
				f[name+".gz"] = zipped(f[name])
				f.drop(name)
			}
		}, true},
		{"gzip in two members", func(f files) {
			f["corpus.jsonl.gz"] = zipped(f["corpus.jsonl"][:100]) + zipped(f["corpus.jsonl"][100:])
			f.drop("corpus.jsonl")
		}, true},
		{"ids files that agree", func(f files) {
			f["docs.ids"], f["vectors/queries.ids"], f["vectors/b/docs.ids"] = "d1\nd2\nd3\nd4\nd5\nd6\nd7\nd8", "q1\nq2\nq3\nq4\n", "d1\nd2\nd3\nd4\nd5\nd6\nd7\nd8\n"
		}, true},
		{"other files", func(f files) {
			f["README.md"], f["qrels/.notes.txt"], f["vectors/.cache/x"], f["vectors/log.txt"] = "x", "x", "x", "x"
		}, true},
		{"CRLF", each(all, func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }), false},
		{"byte order mark", each(all, func(s string) string { return "\xef\xbb\xbf" + s }), false},
		{"byte order mark and an empty line", each(all[:2], func(s string) string { return "\xef\xbb\xbf\r\n" + s[strings.Index(s, "\n")+1:] }), false},
		{"byte order mark and an empty line in texts", each(texts, func(s string) string { return "\xef\xbb\xbf\n" + s }), false},
		{"empty lines", each(all, func(s string) string { return strings.ReplaceAll(s, "\n", "\n\n\r\n") }), false},
		{"no newline at the end", each(all, func(s string) string { return strings.TrimSuffix(s, "\n") }), false},
		{"qrels without a header", each(all[:2], func(s string) string { return s[strings.Index(s, "\n")+1:] }), false},
		{"scores with a point", each(all[:2], func(s string) string { return strings.ReplaceAll(s, "1\n", "1.0\n") }), false},
		{"other keys, in another order", each(texts, func(s string) string {
			return strings.ReplaceAll(s, `{"_id":`, `{"metadata":{"url":"x","n":[1,null]}, "_id": `)
		}), false},
		{"vectors in float64", func(f files) {
			// The angles of model b, which are not exact in float32, are as float32 in both.
			f["vectors/a/docs.npy"] = f8(rounded(planar(documentDegrees))...)
			f["vectors/b/queries.npy"] = f8(rounded(spread(4, 0.5))...)
		}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			data := sample()
			w := workFolder(t, data)
			row.change(data)
			data.write(t, w.path("other"))
			w.mustRun(t, mineLine+" --split all")
			w.mustRun(t, "mine ./other -o ./out/other.jsonl --engine native --split all --projection ./out/projection.safetensors")
			all := w.tree(t)
			if all["out/other.jsonl"] != all["out/n.jsonl"] {
				t.Errorf("the negatives differ:\n%s\nexpected\n%s", all["out/other.jsonl"], all["out/n.jsonl"])
			}
			if same := all["out/other.manifest.json"] == all["out/n.manifest.json"]; same != row.sameInputs {
				t.Errorf("the manifests are equal: %v, expected %v", same, row.sameInputs)
			}
		})
	}
}

// rounded rounds to float32.
func rounded(rows [][]float64) [][]float64 {
	for _, row := range rows {
		for i, x := range row {
			row[i] = float64(float32(x))
		}
	}
	return rows
}
