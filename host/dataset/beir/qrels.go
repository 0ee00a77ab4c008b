package beir

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/lines"
)

// split is a file of judgements or of pairs.
type split struct{ name, file string }

// readQrels reads the files of splits. A pair that has two scores, in whichever files, is an error.
func (f *folder) readQrels(splits []split) (qrels []*dataset.Qrels, err error) {
	var judged dataset.JudgedPairs
	for _, s := range splits {
		q, err := readJudgements(f.file(s.file), s.name, &judged)
		if err != nil {
			return nil, err
		}
		qrels = append(qrels, q)
	}
	return qrels, nil
}

// ReadJudgements reads a file like those of qrels/, wherever it is, for dataset.Dataset.Judge. Its name there is that of the file without .tsv.
func ReadJudgements(path string) (*dataset.Qrels, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, dataset.ReadError(path, err, judgementsHint)
	} else if info.IsDir() {
		return nil, dataset.FileError(path, judgementsHint, "a folder, not a file")
	}
	name := filepath.Base(path)
	return readJudgements(lines.File{FS: os.DirFS(filepath.Dir(path)), Name: name, Path: path}, strings.TrimSuffix(name, ".tsv"), &dataset.JudgedPairs{})
}

// judgementsHint is what a file of judgements is.
const judgementsHint = "give a file of lines query-id, corpus-id, score, separated by tabs, as quarry report's page saves it"

// readJudgements reads one file.
func readJudgements(file lines.File, split string, judged *dataset.JudgedPairs) (q *dataset.Qrels, err error) {
	q = &dataset.Qrels{Split: split, Path: file.Path}
	var columns dataset.JudgementLines
	q.SHA256, err = file.Read(func(l *lines.Reader, line []byte) error {
		j, named, problem := columns.Parse(string(line), l.Number)
		switch {
		case problem != "":
			return l.Errorf(dataset.JudgementHint, "%s", problem)
		case named:
			return nil
		}
		return judged.Add(q, j)
	})
	return q, err
}
