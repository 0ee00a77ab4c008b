package beir

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/lines"
)

// readQrels reads all files of qrels/, in the order of their names. A pair that has two scores, in whichever files, is
// an error.
func (f *folder) readQrels() (qrels []*dataset.Qrels, err error) {
	names, err := f.qrelsNames()
	if err != nil {
		return nil, err
	}
	var judged dataset.JudgedPairs
	for _, name := range names {
		split := strings.TrimSuffix(strings.TrimPrefix(name, "qrels")[1:], ".tsv")
		q, err := readJudgements(f.file(name), split, &judged)
		if err != nil {
			return nil, err
		}
		qrels = append(qrels, q)
	}
	return qrels, nil
}

// qrelsNames are the files of qrels/ that are a split each, in the order of their names, or, where there is no such
// folder, the files qrels.<split>.tsv that MS MARCO has beside its texts.
func (f *folder) qrelsNames() (names []string, err error) {
	entries, err := fs.ReadDir(f.fsys, "qrels")
	if err != nil {
		if names, _ = fs.Glob(f.fsys, "qrels.*.tsv"); len(names) > 0 {
			return names, nil
		}
		return nil, dataset.ReadError(f.path("qrels"), err, qrelsHint)
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), ".tsv") && !entry.IsDir() {
			names = append(names, "qrels/"+entry.Name())
		}
	}
	if len(names) == 0 {
		return nil, dataset.FileError(f.path("qrels"), qrelsHint, "there is no .tsv file")
	}
	return names, nil
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
