package negatives

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
)

// Result is what was mined.
type Result struct {
	Pairs    []Pair // in the order of the judgements
	Tallies  Tallies
	Manifest Manifest // what the result depends on
}

// NewResult counts what became of the pairs. known are the tallies that the pairs do not tell, and manifest is that of the run, without
// tallies and without the fingerprint of the negatives.
func NewResult(pairs []Pair, known Tallies, manifest Manifest) (*Result, error) {
	r := &Result{Pairs: pairs, Tallies: known, Manifest: manifest}
	for i := range pairs {
		r.Tallies.Add(&pairs[i])
	}
	sum := sha256.New()
	if err := r.WriteNegatives(sum); err != nil {
		return nil, err
	}
	r.Manifest.Tallies, r.Manifest.Negatives = r.Tallies, hex.EncodeToString(sum.Sum(nil))
	return r, nil
}

// WriteNegatives writes the pairs as negatives.jsonl: one object a line.
func (r *Result) WriteNegatives(w io.Writer) error {
	e := NewPairEncoder(w)
	for i := range r.Pairs {
		if err := e.Encode(&r.Pairs[i]); err != nil {
			return err
		}
	}
	return nil
}
