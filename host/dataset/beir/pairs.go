package beir

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/lines"
	"github.com/quarry-hn/quarry/host/dataset/pairs"
	files "github.com/quarry-hn/quarry/host/dataset/vectors"
)

// elsewhere are the files that a folder of pairs has none of.
var elsewhere = []string{"corpus.jsonl", "corpus.jsonl.gz", "collection.tsv", "collection.tsv.gz", "docs.ids",
	"queries.jsonl", "queries.jsonl.gz", "queries.tsv", "queries.tsv.gz", "queries.ids", "qrels"}

// pairs are the pairs that were chosen, or, of a folder that has no texts or ids of documents and no judgements, those that are
// found in it: train first, and then the splits by name. It is nil for every other folder.
func (f *folder) pairs(c choices) (splits []pairs.Split, err error) {
	for _, name := range slices.Sorted(maps.Keys(c.Pairs)) {
		chosen := c.Pairs[name]
		split, err := f.split(name, strings.Join(chosen.Path, ", "), chosen.Path, pairs.Members(chosen.Query, chosen.Positive, chosen.Negative))
		if err != nil {
			return nil, err
		}
		splits = append(splits, split)
	}
	if judged, _ := fs.Glob(f.fsys, "qrels.*"); splits == nil && c.isZero() && f.existing(elsewhere...) == nil && judged == nil {
		splits, err = f.findPairs()
	}
	slices.SortFunc(splits, func(a, b pairs.Split) int { return dataset.CompareSplits(a.Name, b.Name) })
	return splits, err
}

// split is a split whose pairs lie under those names. file is what they are called together.
func (f *folder) split(name, file string, names []string, members lines.Names) (pairs.Split, error) {
	s := pairs.Split{Name: name, File: file, Path: f.path(file), Members: members}
	parts, err := files.Parts(f.fsys, f.root, names, choicesHint)
	for _, part := range parts {
		format, _ := files.ByName(part)
		s.Files = append(s.Files, pairs.File{File: f.file(part), Format: format})
	}
	return s, err
}

// dataFolder is where Hugging Face's repositories have their pairs.
const dataFolder = "data"

// findPairs finds the splits in the folder, or in its folder data.
func (f *folder) findPairs() ([]pairs.Split, error) {
	here, err := f.findPairsIn(".")
	if err != nil {
		return nil, err
	}
	below, err := f.findPairsIn(dataFolder)
	if here != nil && below != nil {
		return nil, dataset.FileError(here[0].Path, chooseHint, "there is %s too", below[0].File)
	}
	return append(here, below...), err
}

const chooseHint = "remove one of them, or name the other in " + choicesFile

// partName is the name of a split, without its ending, or of a part of it, as Hugging Face names them: train-00000-of-00002, or
// with 16 hexadecimal digits after that.
var partName = regexp.MustCompile(`(?s)^(.+?)(?:-[0-9]{5}-of-([0-9]{5})(?:-[0-9a-f]{16})?)?$`)

// found is the pairs of a split that were found.
type found struct {
	names  []string
	parts  string // how many there are, by the names; empty where they are not numbered
	ending string // empty for the folder of a data set that datasets saved
}

// isMined tells by its first line whether a file is negatives that quarry mine wrote, which no pairs can begin with.
func (f *folder) isMined(name string) (mined bool) {
	err := f.file(name).Each(nil, func(_ *lines.Reader, line []byte) error {
		var pair struct {
			QueryID    string         `json:"query_id"`
			PositiveID string         `json:"positive_id"`
			Query      jsontext.Value `json:"query"`
		}
		mined = lines.Unmarshal(line, &pair) == nil && pair.QueryID != "" && pair.PositiveID != "" && pair.Query == nil
		return lines.ErrEnough
	})
	return mined && err == nil // an error is one of reading it as pairs
}

// IsSplit tells whether a file of that path would be read as pairs of a folder on disk, as one that lies there is.
func IsSplit(dir, path string) bool {
	root, err := filepath.Abs(dir)
	at, atErr := filepath.Abs(filepath.Dir(path))
	format, _ := files.ByName(filepath.Base(path))
	if err != nil || atErr != nil || !pairs.IsFormat(format) || at != root && at != filepath.Join(root, dataFolder) {
		return false
	}
	f := &folder{os.DirFS(dir), dir}
	c, err := f.readChoices()
	if err != nil || c.Pairs != nil {
		return false
	}
	splits, err := f.pairs(c)
	return err == nil && splits != nil
}

// findPairsIn finds the splits in a folder that may be missing: files, folders of parts, and data sets that datasets saved.
func (f *folder) findPairsIn(dir string) (splits []pairs.Split, err error) {
	if info, err := fs.Stat(f.fsys, dir); err != nil || !info.IsDir() {
		return nil, nil
	}
	entries, err := fs.ReadDir(f.fsys, dir)
	if err != nil {
		return nil, dataset.ReadError(f.path(dir), err)
	}
	all := map[string]*found{} // by split
	for _, e := range entries {
		format, ending := files.ByName(e.Name())
		name := path.Join(dir, e.Name())
		if saved := f.existing(name+"/state.json") != nil; strings.HasPrefix(e.Name(), ".") || !saved && !pairs.IsFormat(format) || format == "jsonl" && f.isMined(name) {
			continue
		}
		m := partName.FindStringSubmatch(strings.TrimSuffix(e.Name(), ending))
		split := all[m[1]]
		if split == nil {
			split = &found{parts: m[2], ending: ending}
			all[m[1]] = split
		} else if split.parts != m[2] || split.ending != ending {
			return nil, dataset.FileError(f.path(split.names[0]), chooseHint, "there is %s too", name)
		}
		split.names = append(split.names, name)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		split, file := all[name], all[name].names[0]
		if n, err := strconv.Atoi(split.parts); err == nil && n != len(split.names) {
			return nil, dataset.FileError(f.path(file), "copy all parts, or name those that are to be read in "+choicesFile, "there are %d parts; by its name there are %d", len(split.names), n)
		}
		if len(split.names) > 1 {
			file = path.Join(dir, name+"-*"+split.ending)
		}
		s, err := f.split(name, file, split.names, nil)
		if err != nil {
			return nil, err
		}
		splits = append(splits, s)
	}
	return splits, nil
}
