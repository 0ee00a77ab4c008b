package dataset

// Text is the text of a document or a query.
type Text struct {
	ID    string `json:"_id"`
	Title string `json:"title"` // may be empty
	Text  string `json:"text"`

	Source Source `json:"metadata,omitzero"`
}

// Texts are the texts of one side.
type Texts interface {
	// OfIDs returns the texts of those ids that are there, by id.
	OfIDs(ids map[string]bool) (map[string]Text, error)
	// EachRow calls f for the texts of those rows that are there, in order, until f fails. nil means all rows. A row may
	// be left out whose text has another id by now.
	EachRow(rows map[int]bool, f func(row int, t Text) error) error
}

// TextsOfIDs is OfIDs of texts that can be read by their rows. all are the ids of the rows. A row that has another id by now
// is left out, as if it were not there.
func TextsOfIDs(x Texts, all IDs, ids map[string]bool) (map[string]Text, error) {
	of := map[string]Text{}
	rows, err := all.Rows(ids)
	if err != nil || len(rows) == 0 {
		return of, err
	}
	wanted := make(map[int]bool, len(rows))
	for _, row := range rows {
		wanted[row] = true
	}
	err = x.EachRow(wanted, func(_ int, t Text) error {
		if ids[t.ID] {
			of[t.ID] = t
		}
		return nil
	})
	return of, err
}

// TextsOf are texts that a program already has, one for each row, in order.
type TextsOf []Text

var _ Texts = TextsOf(nil)

// OfIDs returns the texts of those ids that are there, by id.
func (x TextsOf) OfIDs(ids map[string]bool) (map[string]Text, error) {
	of := map[string]Text{}
	for _, t := range x {
		if ids[t.ID] {
			of[t.ID] = t
		}
	}
	return of, nil
}

// EachRow calls f for the texts of those rows.
func (x TextsOf) EachRow(rows map[int]bool, f func(row int, t Text) error) error {
	for row, t := range x {
		if rows != nil && !rows[row] {
			continue
		}
		if err := f(row, t); err != nil {
			return err
		}
	}
	return nil
}

// NoTexts are the Texts of a side that has ids alone.
type NoTexts struct {
	Err error // what OfIDs fails with: where texts are missing, and what to do about it
}

var _ Texts = NoTexts{}

// OfIDs fails.
func (n NoTexts) OfIDs(map[string]bool) (map[string]Text, error) { return nil, n.Err }

// EachRow fails.
func (n NoTexts) EachRow(map[int]bool, func(int, Text) error) error { return n.Err }

func hasTexts(t Texts) bool {
	_, none := t.(NoTexts)
	return !none
}
