package beir

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/datasettest"
	"github.com/quarry-hn/quarry/host/dataset/npy"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// TestFormat runs the suite for formats on folders of every layout. The folders of the plain layout are on disk.
func TestFormat(t *testing.T) {
	for name, layout := range map[string]layout{
		"plain": {}, "compressed": {compressed: true}, "ids": {ids: "docs.ids"}, "ids of all models": {ids: "vectors/docs.ids"}, "ids of a model": {ids: "vectors/wide/docs.ids"},
	} {
		t.Run(name, func(t *testing.T) {
			datasettest.Run(t, func(t *testing.T, c datasettest.Contents) (*dataset.Dataset, error) {
				if name == "plain" {
					dir := t.TempDir()
					layout.write(t, dir, c)
					return Open(dir)
				}
				return OpenFS(inMemory(layout.files(t, c)), "folder")
			})
		})
	}
}

// layout is a way to lay a folder out. Zero is the plain one: texts in jsonl files, and no ids files.
type layout struct {
	compressed bool
	ids        string // name of an ids file of the documents beside the texts, or none
}

// files are the contents of the folder's files, by name.
func (l layout) files(t testing.TB, c datasettest.Contents) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, side := range []struct {
		texts, vectors string
		of             []dataset.Text
	}{{"corpus.jsonl", "docs", c.Documents}, {"queries.jsonl", "queries", c.Queries}} {
		var texts, ids bytes.Buffer
		for _, text := range side.of {
			line, err := json.Marshal(text)
			if err != nil {
				t.Fatal(err)
			}
			texts.Write(append(line, '\n'))
			ids.WriteString(text.ID + "\n")
		}
		switch {
		case c.NoTexts:
			files[side.vectors+".ids"] = ids.Bytes()
		case l.compressed:
			files[side.texts+".gz"] = zip(t, texts.Bytes(), 1<<16)
		default:
			files[side.texts] = texts.Bytes()
		}
		if l.ids != "" && side.vectors == "docs" {
			files[l.ids] = ids.Bytes()
		}
	}
	for _, split := range c.Qrels {
		var b bytes.Buffer
		for _, j := range split.Judgements {
			fmt.Fprintf(&b, "%s\t%s\t%v\n", j.Query, j.Document, j.Score)
		}
		files["qrels/"+split.Name+".tsv"] = b.Bytes()
	}
	for _, m := range c.Models {
		files["vectors/"+m.Name+"/docs.npy"] = npyOf(m.Documents)
		files["vectors/"+m.Name+"/queries.npy"] = npyOf(m.Queries)
	}
	return files
}

// inMemory is a folder of files by name.
func inMemory(files map[string][]byte) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, b := range files {
		fsys[name] = &fstest.MapFile{Data: b}
	}
	return fsys
}

func (l layout) write(t *testing.T, dir string, c datasettest.Contents) {
	t.Helper()
	writeTo(t, dir, l.files(t, c))
}

// writeTo writes files by name.
func writeTo(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, b := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func npyOf(rows [][]float32) []byte {
	b := npy.Header(len(rows), len(rows[0]))
	for _, row := range rows {
		b = append(b, safetensors.OfFloat32("", row).Data...)
	}
	return b
}

// TestFolderMessages opens folders that are not sound. Each error names the file and the line, and says what is wrong
// and what to do.
func TestFolderMessages(t *testing.T) {
	sound := datasettest.Contents{
		Documents: []dataset.Text{{ID: "d1"}, {ID: "d2"}}, Queries: []dataset.Text{{ID: "q"}},
		Qrels:  []datasettest.Split{{Name: "train", Judgements: []dataset.Judgement{{Query: "q", Document: "d1", Score: 1}}}},
		Models: []datasettest.Vectors{{Name: "m", Documents: [][]float32{{1}, {2}}, Queries: [][]float32{{3}}}},
	}
	for what, c := range map[string]struct {
		files map[string]string // to write; removed where the text is empty
		path  string
		says  string
		line  int
	}{
		"other ids":          {map[string]string{"docs.ids": "d1\nother\n"}, "docs.ids", `line 2: id "other"; DIR/corpus.jsonl has "d2" there` + "\n  hint: the vectors were made from another file, or in another order: make them again", 2},
		"fewer ids":          {map[string]string{"vectors/m/queries.ids": "q\nr\n"}, "vectors/m/queries.ids", "2 ids; DIR/queries.jsonl has 1", 0},
		"an id twice":        {map[string]string{"docs.ids": "d1\n\nd1\n"}, "docs.ids", `line 3: id "d1" is given twice, first in line 1` + "\n  hint: ids must differ", 3},
		"two corpus files":   {map[string]string{"corpus.jsonl.gz": "x"}, "corpus.jsonl", "there is corpus.jsonl.gz too\n  hint: remove one of them", 0},
		"no corpus":          {map[string]string{"corpus.jsonl": ""}, "corpus.jsonl", "there is no corpus.jsonl, corpus.jsonl.gz or docs.ids\n  hint: add it, or docs.ids with one id a line", 0},
		"an empty corpus":    {map[string]string{"corpus.jsonl": "\n"}, "corpus.jsonl", "the file is empty\n  hint: it needs a line for each text", 0},
		"a pair twice":       {map[string]string{"qrels/dev.tsv": "q\td1\t2\n"}, "qrels/train.tsv", `line 1: query "q" and document "d1" are judged twice, first in DIR/qrels/dev.tsv, line 1: the score is 2 there and 1 here` + "\n  hint: keep one of the lines", 1},
		"no vectors":         {map[string]string{"vectors/m/queries.npy": ""}, "vectors/m/queries.npy", "no such file or directory\n  hint: add vectors/<model>/docs.npy and vectors/<model>/queries.npy for each model", 0},
		"vectors of other":   {map[string]string{"vectors/m/docs.npy": string(npyOf([][]float32{{1}}))}, "vectors/m/docs.npy", "1 rows; DIR/corpus.jsonl has 2 ids\n  hint: one row for each id, in their order: make the vectors again", 0},
		"vectors too narrow": {map[string]string{"vectors/m/queries.npy": string(npyOf([][]float32{{1, 2}}))}, "vectors/m/queries.npy", "2 columns; docs.npy has 1\n  hint: one model encodes both: make the vectors again", 0},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			layout{}.write(t, dir, sound)
			for name, text := range c.files {
				path := filepath.Join(dir, name)
				err := os.WriteFile(path, []byte(text), 0o644)
				if text == "" {
					err = os.Remove(path)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			d, err := Open(dir)
			if err == nil {
				_, err = d.Vectors("m")
				defer d.Close()
			}
			e := datasettest.AsError(t, err, filepath.Join(dir, c.path))
			if says := strings.ReplaceAll(c.says, "DIR", dir); e.Line != c.line || !strings.Contains(e.Error(), says) {
				t.Errorf("%v; expected line %d and %q", e, c.line, says)
			}
		})
	}
}
