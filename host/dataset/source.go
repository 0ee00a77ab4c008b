package dataset

import "encoding/json"

// Source says where a text was cut from. Most corpora do not say it.
type Source struct {
	Place string // metadata.source of a line, such as guide/page.md#3; empty where there is none
}

// UnmarshalJSON reads the metadata of a text. Corpora keep all sorts of things there; what has no source that is a string gives none.
func (s *Source) UnmarshalJSON(metadata []byte) error {
	var m struct {
		Source any `json:"source"`
	}
	*s = Source{}
	if json.Unmarshal(metadata, &m) == nil {
		s.Place, _ = m.Source.(string)
	}
	return nil
}

// MarshalJSON writes metadata that UnmarshalJSON reads.
func (s Source) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"source": s.Place})
}
