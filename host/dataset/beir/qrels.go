package beir

import (
	"io/fs"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/lines"
)

// readQrels reads all files of qrels/, in the order of their names. A pair that has two scores, in whichever files, is
// an error.
func (f *folder) readQrels() (qrels []*dataset.Qrels, err error) {
	entries, err := fs.ReadDir(f.fsys, "qrels")
	if err != nil {
		return nil, dataset.ReadError(f.path("qrels"), err, qrelsHint)
	}
	var judged dataset.JudgedPairs
	for _, entry := range entries {
		split, ok := strings.CutSuffix(entry.Name(), ".tsv")
		if !ok || entry.IsDir() {
			continue
		}
		name := "qrels/" + entry.Name()
		q := &dataset.Qrels{Split: split, Path: f.path(name)}
		var columns dataset.JudgementLines
		q.SHA256, err = f.file(name).Read(func(l *lines.Reader, line []byte) error {
			j, named, problem := columns.Parse(string(line), l.Number)
			switch {
			case problem != "":
				return l.Errorf(dataset.JudgementHint, "%s", problem)
			case named:
				return nil
			}
			return judged.Add(q, j)
		})
		if err != nil {
			return nil, err
		}
		qrels = append(qrels, q)
	}
	if len(qrels) == 0 {
		return nil, dataset.FileError(f.path("qrels"), qrelsHint, "there is no .tsv file")
	}
	return qrels, nil
}
