package report

import (
	"encoding/json"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/negatives"
)

// Case is a pair with its negatives and their texts.
type Case struct {
	Query     Text       `json:"query"`
	Positive  Text       `json:"positive"`
	DQPD      float64    `json:"d_q_pd"`
	Negatives []Negative `json:"negatives"`
	More      int        `json:"more,omitempty"` // negatives that the case leaves out
}

// Negative is a negative of a case, with what an audit said of it.
type Negative struct {
	Text
	Rank int     `json:"rank"`
	DQD  float64 `json:"d_q_d"`
	DPDD float64 `json:"d_pd_d"`
	*Suspicion
}

// Text is a query or a document.
type Text struct {
	ID    string      `json:"id"`
	Title string      `json:"title,omitempty"`
	Text  string      `json:"text"`
	Cut   int         `json:"cut,omitempty"` // characters that were left out at the end
	At    *[2]float64 `json:"at,omitempty"`  // on the first two components
}

// show fills in the cases: up to n pairs with their texts. Without texts there are none.
func (r *Report) show(in Input, n int) error {
	if !in.Data.HasTexts() {
		r.leaveOut("Cases: the folder has ids alone, and no texts.")
		return nil
	}
	var shown []negatives.Pair
	for _, i := range pick(in.Pairs, in.Audit, n) {
		shown = append(shown, in.Pairs[i])
	}
	if in.Audit == nil {
		r.leaveOut("Reasons to doubt a negative: no audit was given. quarry audit makes one, and --audit takes it.")
	}
	more := 0
	for i, p := range shown {
		if over := len(p.Negatives) - maxNegatives; over > 0 {
			shown[i].Negatives, more = p.Negatives[:maxNegatives], more+over
		}
	}
	texts, err := negatives.TextsOf(in.Data, shown)
	if err != nil {
		return err
	}
	cut := 0
	text := func(t dataset.Text) Text {
		s := Text{ID: t.ID, Title: t.Title, Text: t.Text}
		if s.Text, s.Cut = shorten(t.Text, maxText); s.Cut > 0 {
			cut++
		}
		return s
	}
	for _, p := range shown {
		c := Case{Query: text(texts.Queries[p.QueryID]), Positive: text(texts.Documents[p.PositiveID]), DQPD: p.DQPD}
		for _, n := range p.Negatives {
			c.Negatives = append(c.Negatives, Negative{Text: text(texts.Documents[n.ID]), Rank: n.Rank, DQD: n.DQD, DPDD: n.DPDD,
				Suspicion: in.Audit.of(&p, n.ID)})
		}
		r.Cases = append(r.Cases, c)
	}
	if all := r.Tallies.WithNegatives; len(shown) < all {
		r.leaveOut("Cases: %d of the %d pairs with negatives are shown, %s. --cases shows more.", len(shown), all, how(in.Audit))
	}
	if more > 0 {
		r.leaveOut("Cases: %d negatives that stand behind the first %d of their pairs are not shown.", more, maxNegatives)
	}
	if cut > 0 {
		r.leaveOut("Texts: %d are cut at %d characters.", cut, maxText)
	}
	return nil
}

func how(audit *Audit) string {
	if audit == nil {
		return "spread evenly over the file"
	}
	return "half of them those that the audit doubts most, half of them spread evenly over the file"
}

// fitCases drops the last cases where all of them together would be too much for a page.
func (r *Report) fitCases() error {
	bytes := 0
	for i, c := range r.Cases {
		text, err := json.Marshal(c)
		if err != nil {
			return err
		}
		if bytes += len(text); bytes > maxCasesBytes {
			r.leaveOut("Cases: the last %d are left out, since the page would grow beyond %d MiB.", len(r.Cases)-i, maxCasesBytes>>20)
			r.Cases = r.Cases[:i]
			return nil
		}
	}
	return nil
}

// shorten cuts a text to at most n characters and says how many it left out. What is not UTF-8 becomes a replacement character.
func shorten(text string, n int) (string, int) {
	runes := []rune(strings.ToValidUTF8(text, "�"))
	if len(runes) <= n {
		return string(runes), 0
	}
	return string(runes[:n]), len(runes) - n
}
