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
}

// NoTexts are the Texts of a side that has ids alone.
type NoTexts struct {
	Err error // what OfIDs fails with: where texts are missing, and what to do about it
}

var _ Texts = NoTexts{}

// OfIDs fails.
func (n NoTexts) OfIDs(map[string]bool) (map[string]Text, error) { return nil, n.Err }

func hasTexts(t Texts) bool {
	_, none := t.(NoTexts)
	return !none
}
