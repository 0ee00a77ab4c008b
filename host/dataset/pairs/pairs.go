// Package pairs reads training pairs without ids, as sentence-transformers and FlagEmbedding keep them, as documents,
// queries and judgements.
//
// Input: files of a split each, or of a part of one: JSON, an object a line, or a table of Parquet or Arrow. Output: both
// sides without vectors, and the judgements, which are the same for the same pairs in any of these. Package beir calls it
// where a folder has no corpus.
package pairs

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/lines"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// Hint says what a line is.
const Hint = `one object a line: {"query":"...","positive":"..."}, with anchor for query, answer for positive and negative or negative_1, negative_2 ... beside them; or {"query":"...","pos":["..."],"neg":["..."]}; texts.json beside it names other members (docs/FORMATS.md)`

// Split is the pairs of a split.
type Split struct {
	Name    string
	File    string // its file in the folder, or what its parts are called together
	Path    string // what messages call it
	Files   []File // in order
	Members lines.Names
}

// File is a file of pairs.
type File struct {
	lines.File
	Format string // "jsonl", "parquet" or "arrow"
}

// IsFormat tells whether pairs are read of a format.
func IsFormat(name string) bool { return name == "jsonl" || isTable(name) }

func isTable(format string) bool { return format == "parquet" || format == "arrow" }

// pair is what a line or a row has: queries, of which the first is meant, positives and negatives. No text is empty.
type pair [3][]string

const (
	queryTexts = iota
	positiveTexts
	negativeTexts
)

// names are those of members and columns, by what of a pair they hold, in the order in which they are read.
var names = [3][]string{{"query", "anchor"}, {"positive", "answer", "pos"}, {"negative", "neg"}}

// Members are the names of a split's members or columns that are read as query, positive and negative. An empty one stands for
// the usual names.
func Members(query, positive, negative string) lines.Names {
	return lines.Names{}.Rename(query, names[queryTexts]...).Rename(positive, names[positiveTexts]...).Rename(negative, names[negativeTexts]...)
}

// column is a member of a line or a column of a table that is read.
type column struct {
	name string
	to   int // what of a pair it holds
}

// read are those of some members or columns that are read, in the order in which their texts are taken.
func (s Split) read(all []string) (read []column) {
	for to, usual := range names {
		for _, name := range usual {
			if from, renamed := s.Members[name]; renamed {
				name = from
			}
			if name != "" && slices.Contains(all, name) {
				read = append(read, column{name, to})
			}
		}
	}
	if _, renamed := s.Members["negative"]; !renamed {
		for _, name := range numbered(all) {
			read = append(read, column{name, negativeTexts})
		}
	}
	return read
}

// numbered are negative_1, negative_2 and so on, as sentence-transformers has them, in the order of their numbers.
func numbered(all []string) (found []string) {
	number := func(name string) int {
		digits, ok := strings.CutPrefix(name, "negative_")
		if n, err := strconv.ParseUint(digits, 10, 31); ok && err == nil {
			return int(n)
		}
		return -1
	}
	for _, name := range all {
		if number(name) >= 0 {
			found = append(found, name)
		}
	}
	slices.SortFunc(found, func(a, b string) int { return cmp.Or(number(a)-number(b), strings.Compare(a, b)) })
	return found
}

// problem says what a pair lacks; it is empty where nothing is missing.
func (s Split) problem(p pair) string {
	for _, to := range []int{queryTexts, positiveTexts} {
		usual := names[to][0]
		chosen, renamed := s.Members[usual]
		switch {
		case len(p[to]) > 0:
		case renamed:
			return fmt.Sprintf("no %s in %s", usual, excerpt.Quote(chosen))
		default:
			return "no " + usual
		}
	}
	return ""
}

// side numbers different texts in the order of their first appearance. The n-th, from 0, has the id prefix + n, and is
// of row n of the vectors. Of the texts it holds hashes alone.
type side struct {
	prefix string
	of     func(p pair) []string // those of a pair that are of this side, in order
	rows   map[textHash]int
	sum    hash.Hash // of the texts by row
}

// textHash is 128 bits of a text's SHA-256: enough that no two texts have the same.
type textHash [16]byte

func hashOf(text string) textHash {
	sum := sha256.Sum256([]byte(text))
	return textHash(sum[:])
}

func newSide(prefix string, of func(p pair) []string) *side {
	return &side{prefix, of, map[textHash]int{}, sha256.New()}
}

func (s *side) id(row int) string { return fmt.Sprintf("%s%d", s.prefix, row) }

func (s *side) add(text string) (id string) {
	h := hashOf(text)
	row, ok := s.rows[h]
	if !ok {
		row = len(s.rows)
		s.rows[h] = row
		fmt.Fprintf(s.sum, "%d\n%s\n", len(text), text)
	}
	return s.id(row)
}

// Read reads pairs. Each different query and each different document has one id: q0, q1 and so on in the order in which
// queries first appear, and d0, d1 and so on for documents: of each pair the positives first, then the negatives. Splits
// are read in their order. Every positive is judged 1; a negative is a document that nobody judged. Texts are not
// held in memory, and are read again when they are asked for. The sides have no vectors yet.
func Read(name string, splits []Split) (documents, queries dataset.Side, qrels []*dataset.Qrels, err error) {
	docs := newSide("d", func(p pair) []string { return slices.Concat(p[positiveTexts], p[negativeTexts]) })
	asked := newSide("q", func(p pair) []string { return p[queryTexts][:1] })
	var judged dataset.JudgedPairs
	for _, split := range splits {
		q := &dataset.Qrels{Split: split.Name, Path: split.Path}
		sum := sha256.New()
		err := split.each(func(line int, p pair) error {
			id := asked.add(p[queryTexts][0])
			for _, text := range p[positiveTexts] {
				j := dataset.Judgement{Query: id, Document: docs.add(text), Score: 1, Line: line}
				fmt.Fprintf(sum, "%s\t%s\n", j.Query, j.Document)
				if err := judged.Add(q, j); err != nil {
					return err
				}
			}
			for _, text := range p[negativeTexts] {
				docs.add(text)
			}
			return nil
		})
		if err != nil {
			return documents, queries, nil, err
		}
		q.SHA256 = hex.EncodeToString(sum.Sum(nil))
		qrels = append(qrels, q)
	}
	if documents, err = docs.side(name, splits); err == nil {
		queries, err = asked.side(name, splits)
	}
	return documents, queries, qrels, err
}

// side is what was numbered, as ids and texts.
func (s *side) side(name string, splits []Split) (dataset.Side, error) {
	sum := hex.EncodeToString(s.sum.Sum(nil))
	ids, err := dataset.NewIDs(name, func(f func(int, []byte) error) (string, error) {
		for row := range len(s.rows) {
			if err := f(0, []byte(s.id(row))); err != nil {
				return "", err
			}
		}
		return sum, nil
	})
	return dataset.Side{IDs: ids, Texts: &texts{s, ids, splits}}, err
}

// texts are those of a side, of pairs that are read each time some are asked for, up to the last of them.
type texts struct {
	side   *side
	ids    *dataset.StoredIDs
	splits []Split
}

var _ dataset.Texts = (*texts)(nil)

// OfIDs reads the texts of those ids. A text that has another id by now is left out, as if it were not there.
func (x *texts) OfIDs(ids map[string]bool) (map[string]dataset.Text, error) {
	return dataset.TextsOfIDs(x, x.ids, ids)
}

// EachRow reads the texts of those rows.
func (x *texts) EachRow(rows map[int]bool, f func(row int, t dataset.Text) error) error {
	if rows != nil && len(rows) == 0 {
		return nil
	}
	next, left := 0, len(rows)
	var stopped error // why reading ended before the last pair
	for _, split := range x.splits {
		err := split.each(func(_ int, p pair) error {
			for _, text := range x.side.of(p) {
				row, ok := x.side.rows[hashOf(text)]
				if !ok || row < next { // it is new since, or has been there before
					continue
				}
				if next = row + 1; rows != nil && !rows[row] {
					continue
				}
				if stopped = f(row, dataset.Text{ID: x.side.id(row), Text: text}); stopped != nil {
					return stopped
				}
				if left--; left == 0 {
					stopped = lines.ErrEnough
					return stopped
				}
			}
			return nil
		})
		switch {
		case stopped == lines.ErrEnough:
			return nil
		case stopped != nil:
			return stopped
		case err != nil:
			return err
		}
	}
	return nil
}

// each calls do for each pair. line is 0 where the file has no lines.
func (s Split) each(do func(line int, p pair) error) error {
	unseen := s.Members.Unseen()
	for _, file := range s.Files {
		read := s.eachLine
		if isTable(file.Format) {
			read = s.eachRow
		}
		if err := read(file, unseen, do); err != nil {
			return err
		}
	}
	return unseen.Check(s.Path)
}

func (s Split) eachLine(file File, unseen lines.Unseen, do func(line int, p pair) error) error {
	return file.Each(nil, func(l *lines.Reader, line []byte) error {
		p, err := s.parse(line, unseen)
		if err != nil {
			return l.Errorf(Hint, "not a JSON object of a pair: %v", excerpt.Error(err))
		}
		if problem := s.problem(p); problem != "" {
			return l.Errorf(Hint, "%s", problem)
		}
		return do(l.Number, p)
	})
}

// parse reads a line.
func (s Split) parse(line []byte, unseen lines.Unseen) (p pair, err error) {
	r := record{split: s}
	if err := lines.Unmarshal(line, &r); err != nil {
		return p, err
	}
	for _, c := range s.read(r.names) {
		delete(unseen, c.name)
		p[c.to] = append(p[c.to], r.texts[slices.Index(r.names, c.name)]...)
	}
	return p, nil
}

// record is the members of a line that are read.
type record struct {
	split Split
	names []string
	texts []lines.Texts // of each of the names
}

// UnmarshalJSONFrom decodes those members alone.
func (r *record) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	r.names, r.texts = nil, nil
	if d.PeekKind() != '{' {
		return json.UnmarshalDecode(d, &struct{}{}) // which fails
	}
	_, err := d.ReadToken()
	for err == nil && d.PeekKind() == '"' {
		err = r.member(d)
	}
	if err == nil {
		_, err = d.ReadToken()
	}
	return err
}

// member reads the next member.
func (r *record) member(d *jsontext.Decoder) error {
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	name := token.String()
	to := r.split.read([]string{name})
	if to == nil {
		return d.SkipValue()
	}
	if kind := d.PeekKind(); to[0].to == queryTexts && kind != '"' && kind != 'n' {
		return errors.New("not a text")
	}
	var texts lines.Texts
	if err := json.UnmarshalDecode(d, &texts); err != nil {
		return err
	}
	if i := slices.Index(r.names, name); i >= 0 { // the last of a name counts
		r.texts[i] = texts
		return nil
	}
	r.names, r.texts = append(r.names, name), append(r.texts, texts)
	return nil
}
