package projection

import "fmt"

// Summary is what a projection is, for whoever shows it.
type Summary struct {
	Fingerprint string   `json:"sha256"`
	Models      []string `json:"models"` // name, width and weight of each, in order of concatenation
	Columns     int      `json:"columns"`
	Components  int      `json:"components"`
	PCA         string   `json:"pca"`
	Normalize   bool     `json:"normalize"`
	Center      bool     `json:"center"`
	FitOn       string   `json:"fit_on"`
	Rows        int      `json:"rows"`
	Total       float64  `json:"total_variance"`
	Captured    float64  `json:"captured_variance"`
	Written     []string `json:"written,omitempty"` // paths
}

// Summarize says what a projection is.
func Summarize(p *Projection) *Summary {
	s := &Summary{Fingerprint: p.Fingerprint, Columns: p.Columns(), Components: p.Width(), PCA: p.PCA, Normalize: p.Normalize, Center: p.Center,
		FitOn: p.FitOn, Rows: p.Rows, Total: p.TotalVariance, Captured: p.CapturedVariance}
	for _, m := range p.Models {
		s.Models = append(s.Models, fmt.Sprintf("%s (%d x %v)", m.Name, m.Width, m.Weight))
	}
	return s
}
