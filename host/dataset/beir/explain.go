package beir

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/lines"
)

// File is a file of a folder that is no vectors, and what it was recognised as.
type File struct {
	Name string // in the folder
	Is   string // its format, and how much of what it holds
}

// Explain says of the texts, ids and judgements of a data set how OpenFS, which it is of, read them in that file system.
func Explain(fsys fs.FS, data *dataset.Dataset) (files []File, err error) {
	f := &folder{fsys, data.Name}
	from, err := f.sources()
	if err != nil {
		return nil, err
	}
	if f.existing(choicesFile) != nil {
		files = append(files, File{choicesFile, "says which files and members are read"})
	}
	for i, split := range from.pairs {
		is, err := split.Explain()
		if err != nil {
			return nil, err
		}
		files = append(files, File{split.File, is + ": " + judged(data.Qrels[i])})
	}
	if from.pairs != nil {
		return append(files, File{"all pairs", fmt.Sprintf("%d different documents, %d different queries", data.Documents.Len(), data.Queries.Len())}), nil
	}
	for _, side := range []struct {
		of    dataset.Side
		from  textsFile
		ids   []string
		holds string
	}{
		{data.Documents, from.documents, f.idsFiles("docs", data.Models), fmt.Sprintf("%d documents", data.Documents.Len())},
		{data.Queries, from.queries, f.idsFiles("queries", data.Models), fmt.Sprintf("%d queries", data.Queries.Len())},
	} {
		if side.from.name != "" {
			is := side.from.format() + ": " + side.holds
			switch blank, err := noTexts(side.of.Texts); {
			case err != nil:
				return nil, err
			case blank && !side.from.table:
				is += fmt.Sprintf("; no line has a text in the member %q, and %s may name another", cmp.Or(side.from.members["text"], "text"), choicesFile)
			}
			files = append(files, File{side.from.name, is})
		}
		if side.from.name == "" && len(side.ids) == 0 {
			files = append(files, File{path.Join("vectors", filepath.Base(side.of.Name())), "a table of ids, texts and vectors: " + side.holds})
		}
		for _, name := range side.ids {
			files = append(files, File{name, "ids, one a line: " + side.holds})
		}
	}
	for _, split := range from.qrels {
		format, err := f.judgementFormat(split.file)
		if err != nil {
			return nil, err
		}
		for _, q := range data.Qrels {
			if q.Split == split.name {
				files = append(files, File{split.file, fmt.Sprintf("judgements of split %s in %s: %s", q.Split, format, judged(q))})
			}
		}
	}
	return files, nil
}

// noTexts reports whether all texts are empty. It reads up to the first that is not.
func noTexts(texts dataset.Texts) (bool, error) {
	enough := errors.New("there is a text")
	err := texts.EachRow(nil, func(_ int, t dataset.Text) error {
		if t.Text != "" {
			return enough
		}
		return nil
	})
	if errors.Is(err, enough) {
		return false, nil
	}
	return err == nil, err
}

// format is what the file is.
func (x textsFile) format() string {
	switch {
	case x.table:
		return "texts as MS MARCO has them, id and text separated by a tab"
	case len(x.members) > 0:
		return "texts in JSON lines, with the members that " + choicesFile + " names"
	}
	return "texts in JSON lines as BEIR has them"
}

// judged is how much a split holds.
func judged(q *dataset.Qrels) string {
	relevant := 0
	for range dataset.Relevant([]*dataset.Qrels{q}) {
		relevant++
	}
	return fmt.Sprintf("%d judgements, %d of them relevant", len(q.Judgements), relevant)
}

// judgementFormat is what a file of judgements is, by its first line.
func (f *folder) judgementFormat(name string) (string, error) {
	var columns dataset.JudgementLines
	err := f.file(name).Each(nil, func(l *lines.Reader, line []byte) error {
		columns.Parse(string(line), l.Number)
		return lines.ErrEnough
	})
	return columns.Format(), err
}
