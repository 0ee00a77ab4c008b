package export

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
)

// Format is a format of training data.
type Format struct {
	Name string
	Help string // one line for --help: what a line is, and which library reads it

	merges  bool // a row is all pairs of a query
	fixed   bool // all rows have the same number of negatives
	scores  bool // there is a place for scores
	array   bool // the file is one JSON array; otherwise it has an object, or columns, a line
	columns bool // members are texts, numbers or lists of them, so that they may be columns of a table

	lines func(r *row) int // how many lines a row gives
	write func(e *encoder, r *row, line int)
}

func oneLine(*row) int            { return 1 }
func lineEachNegative(r *row) int { return len(r.negatives) }

// Formats is the table of formats. The first is the default.
var Formats = []Format{
	{Name: "triplet", Help: "query, positive, negative: a line for each negative (sentence-transformers)", columns: true, scores: true, lines: lineEachNegative, write: (*encoder).triplet},
	{Name: "n-tuple", Help: "query, positive, negative_1, negative_2 and so on (sentence-transformers)", columns: true, fixed: true, scores: true, lines: oneLine, write: (*encoder).tuple},
	{Name: "labeled-pair", Help: "query, document and label 1 or 0: a line for each document (sentence-transformers, cross-encoders)", columns: true, merges: true, scores: true,
		lines: func(r *row) int { return len(r.positives) + len(r.negatives) }, write: (*encoder).labeledPair},
	{Name: "labeled-list", Help: "query, documents and their labels, the positive first (sentence-transformers, cross-encoders)", columns: true, scores: true, lines: oneLine, write: (*encoder).labeledList},
	{Name: "flagembedding", Help: "query, pos and neg: a line for each query (FlagEmbedding)", columns: true, merges: true, scores: true, lines: oneLine, write: (*encoder).flagEmbedding},
	{Name: "tevatron", Help: "query_id, query, positive_passages and negative_passages: a line for each query (Tevatron)", merges: true, lines: oneLine, write: (*encoder).tevatron},
	{Name: "dpr", Help: "question, positive_ctxs and hard_negative_ctxs: one JSON array (DPR)", merges: true, scores: true, array: true, lines: oneLine, write: (*encoder).dpr},
	{Name: "tsv", Help: "query, positive and negative separated by tabs: a line for each negative (MS MARCO's triples)", scores: true, lines: lineEachNegative, write: (*encoder).tsv},
}

// Names lists the names of the formats.
func Names() (names []string) {
	for _, f := range Formats {
		names = append(names, f.Name)
	}
	return names
}

func lookup(name string) *Format {
	i := slices.IndexFunc(Formats, func(f Format) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return &Formats[i]
}

// encoder writes lines. It keeps the first error.
type encoder struct {
	Options
	texts  *negatives.Texts
	wanted int // negatives of each row, where the format has it fixed
	to     *bufio.Writer
	table  *table // what objects are rows of; nil where they are written as JSON
	err    error
}

func (e *encoder) write(text string) {
	if _, err := e.to.WriteString(text); e.err == nil {
		e.err = err
	}
}

// member is a member of a JSON object.
type member struct {
	name  string // letters, digits and _
	value any
}

// object writes a JSON object, or a row of a table, with its members in order.
func (e *encoder) object(members ...member) {
	if e.table == nil {
		e.write(string(e.marshal(members)))
	} else if err := e.table.write(members); e.err == nil {
		e.err = err
	}
}

func (e *encoder) marshal(members []member) []byte {
	var b bytes.Buffer
	to := json.NewEncoder(&b)
	to.SetEscapeHTML(false)
	separator := "{"
	for _, m := range members {
		b.WriteString(separator + `"` + m.name + `":`)
		if err := to.Encode(m.value); err != nil && e.err == nil {
			e.err = err
		}
		b.Truncate(b.Len() - 1) // the line's end that Encode writes
		separator = ","
	}
	b.WriteByte('}')
	return b.Bytes()
}

// query is a row's query, as a text or an id.
func (e *encoder) query(r *row) string {
	if e.IDs {
		return r.query
	}
	return e.texts.Queries[r.query].Text
}

// document is a document as a text or an id.
func (e *encoder) document(d document) string {
	if e.IDs {
		return d.id
	}
	return e.texts.Document(d.id, e.Separator)
}

// all are the texts, or the ids, of documents, and their scores.
func (e *encoder) all(of ...document) (texts []string, scores []float64) {
	texts, scores = []string{}, []float64{}
	for _, d := range of {
		texts, scores = append(texts, e.document(d)), append(scores, d.score)
	}
	return texts, scores
}

// withScores adds the scores of documents, where they are asked for.
func (e *encoder) withScores(members []member, name string, of ...document) []member {
	if !e.Scores {
		return members
	}
	_, scores := e.all(of...)
	return append(members, member{name, scores})
}

func (e *encoder) triplet(r *row, line int) {
	positive, negative := r.positives[0], r.negatives[line]
	members := []member{{"query", e.query(r)}, {"positive", e.document(positive)}, {"negative", e.document(negative)}}
	e.object(e.withScores(members, "scores", positive, negative)...)
}

func (e *encoder) tuple(r *row, _ int) {
	members := []member{{"query", e.query(r)}, {"positive", e.document(r.positives[0])}}
	for i := range e.wanted {
		m := member{name: fmt.Sprintf("negative_%d", i+1)} // null in a row that is short
		if i < len(r.negatives) {
			m.value = e.document(r.negatives[i])
		}
		members = append(members, m)
	}
	e.object(e.withScores(members, "scores", append(r.positives[:1:1], r.negatives...)...)...)
}

func (e *encoder) labeledPair(r *row, line int) {
	d, label := document{}, member{"label", 1}
	if line < len(r.positives) {
		d = r.positives[line]
	} else {
		d, label.value = r.negatives[line-len(r.positives)], 0
	}
	if e.Scores {
		label = member{"score", d.score}
	}
	e.object(member{"query", e.query(r)}, member{"document", e.document(d)}, label)
}

func (e *encoder) labeledList(r *row, _ int) {
	documents := append(r.positives[:1:1], r.negatives...)
	texts, scores := e.all(documents...)
	labels := make([]int, len(documents))
	labels[0] = 1
	last := member{"labels", labels}
	if e.Scores {
		last = member{"scores", scores}
	}
	e.object(member{"query", e.query(r)}, member{"documents", texts}, last)
}

func (e *encoder) flagEmbedding(r *row, _ int) {
	positives, _ := e.all(r.positives...)
	negatives, _ := e.all(r.negatives...)
	members := e.withScores([]member{{"query", e.query(r)}, {"pos", positives}, {"neg", negatives}}, "pos_scores", r.positives...)
	e.object(e.withScores(members, "neg_scores", r.negatives...)...)
}

// passages are documents as objects; id names the member that holds a document's id.
func (e *encoder) passages(id string, of []document) []json.RawMessage {
	all := []json.RawMessage{}
	for _, d := range of {
		members := []member{{id, d.id}}
		if !e.IDs {
			text := e.texts.Documents[d.id]
			members = append(members, member{"title", text.Title}, member{"text", text.Text})
		}
		if e.Scores {
			members = append(members, member{"score", d.score})
		}
		all = append(all, e.marshal(members))
	}
	return all
}

func (e *encoder) tevatron(r *row, _ int) {
	members := []member{{"query_id", r.query}}
	if !e.IDs {
		members = append(members, member{"query", e.query(r)})
	}
	e.object(append(members, member{"positive_passages", e.passages("docid", r.positives)}, member{"negative_passages", e.passages("docid", r.negatives)})...)
}

func (e *encoder) dpr(r *row, _ int) {
	e.object(member{"question", e.query(r)}, member{"answers", []string{}}, member{"positive_ctxs", e.passages("passage_id", r.positives)},
		member{"negative_ctxs", []string{}}, member{"hard_negative_ctxs", e.passages("passage_id", r.negatives)})
}

// noTabs has a space for what separates columns and lines.
var noTabs = strings.NewReplacer("\t", " ", "\n", " ", "\r", " ")

func (e *encoder) tsv(r *row, line int) {
	positive, negative := r.positives[0], r.negatives[line]
	for _, id := range []string{r.query, positive.id, negative.id} {
		if e.IDs && noTabs.Replace(id) != id && e.err == nil {
			e.err = fmt.Errorf("%w: id %s has what separates columns or lines of tsv\n  hint: choose another format", option.ErrOption, excerpt.Quote(id))
		}
	}
	e.write(noTabs.Replace(e.query(r)) + "\t" + noTabs.Replace(e.document(positive)) + "\t" + noTabs.Replace(e.document(negative)))
	if e.Scores {
		e.write(fmt.Sprintf("\t%v\t%v", positive.score, negative.score))
	}
}
