package host

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strconv"

	"github.com/quarry-hn/quarry/plugin"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// ManifestFormat is what a manifest of this version gives as its format.
const ManifestFormat = "quarry.negatives.v1"

// Manifest says what negatives depend on, and nothing else: no time, path, engine or number of threads. Equal manifests mean equal
// negatives.
type Manifest struct {
	Format     string             `json:"format"`
	Rule       ManifestRule       `json:"rule"`
	Top        int                `json:"top"`
	Split      string             `json:"split"`
	Counts     bool               `json:"counts"`
	Positives  string             `json:"positives"`
	Self       string             `json:"self"`
	Zero       string             `json:"zero"`
	Missing    string             `json:"missing"`
	Projection ManifestProjection `json:"projection"`
	Plugin     ManifestPlugin     `json:"plugin"`
	Inputs     map[string]string  `json:"inputs"` // SHA-256 of each; see dataset.Dataset.Fingerprints
	Tallies    Tallies            `json:"tallies"`
	Negatives  string             `json:"negatives_sha256"`
}

// ManifestRule is the rule as what it decides: a bound [a, b] is a * s(Q,PD) + b.
type ManifestRule struct {
	Name  string      `json:"name"`
	Floor *[2]float64 `json:"floor,omitempty"` // s(Q,D) above
	Cap   *[2]float64 `json:"cap,omitempty"`   // s(Q,D) at most
	Eq6   bool        `json:"eq6"`
}

// ManifestProjection names the projection, and what it was made with.
type ManifestProjection struct {
	SHA256     string          `json:"sha256"`
	Models     []ManifestModel `json:"models"`
	Normalize  bool            `json:"normalize"`
	PCA        string          `json:"pca"`
	Components int             `json:"components"`
	Center     bool            `json:"center"`
	FitOn      string          `json:"fit_on"`
	Seed       uint64          `json:"seed"`
}

// ManifestModel is a model of the projection.
type ManifestModel struct {
	Name   string  `json:"name"`
	Width  int     `json:"width"`
	Weight float64 `json:"weight"`
}

// ManifestPlugin names the module that holds the method. A native run gives the same negatives, and names it too.
type ManifestPlugin struct {
	ABI    string `json:"abi"`
	SHA256 string `json:"sha256"`
}

// newManifest says what a job's result depends on. Its tallies, and the fingerprint of the negatives, come with the result.
func newManifest(o MineOptions, rule mine.Rule, p *Projection, inputs map[string]string) Manifest {
	m := Manifest{
		Format: ManifestFormat,
		Rule:   newManifestRule(rule),
		Top:    o.Top, Split: o.Split, Counts: o.Counts, Positives: o.Positives, Self: o.Self, Zero: o.Zero, Missing: o.Missing,
		Projection: ManifestProjection{SHA256: p.Fingerprint, Normalize: p.Normalize, PCA: p.PCA, Components: p.Width(), Center: p.Center, FitOn: p.FitOn, Seed: p.Seed},
		Plugin:     ManifestPlugin{ABI: abi.Version, SHA256: plugin.SHA256()},
		Inputs:     inputs,
	}
	for _, model := range p.Models {
		m.Projection.Models = append(m.Projection.Models, ManifestModel(model))
	}
	return m
}

// CheckRule fails where the rule is not the one of its name.
func (m *Manifest) CheckRule() error {
	_, err := m.beginOptions()
	return err
}

// PairsID names pairs first to end-1 of the run of that fingerprint, in parts.
func PairsID(fingerprint string, first, end int) string {
	return fmt.Sprintf("%s %d-%d", fingerprint, first, end)
}

// beginOptions are the manifest's options as a begin message has them.
func (m *Manifest) beginOptions() (map[string]string, error) {
	options := map[string]string{
		"rule": m.Rule.Name, "top": strconv.Itoa(m.Top), "counts": strconv.FormatBool(m.Counts), "zero": m.Zero, "projection": m.Projection.SHA256,
	}
	margin, perc := mine.DefaultMargin, mine.DefaultPerc
	if of := m.Rule.Cap; of != nil && m.Rule.Name == "margin" {
		margin = -of[1]
		options["margin"] = strconv.FormatFloat(margin, 'g', -1, 64)
	} else if of != nil {
		perc = of[0]
		options["perc"] = strconv.FormatFloat(perc, 'g', -1, 64)
	}
	rule, err := mine.NamedRule(m.Rule.Name, margin, perc)
	if err == nil && !reflect.DeepEqual(newManifestRule(rule), m.Rule) {
		err = fmt.Errorf("%w: its floor, cap or eq6 are not those of rule %q", ErrOption, m.Rule.Name)
	}
	if err != nil {
		return nil, err
	}
	return options, nil
}

// Fingerprint is the SHA-256 of the manifest without tallies and negatives, as JSON, in hexadecimal: it names a run.
func (m *Manifest) Fingerprint() string {
	own := *m
	own.Tallies, own.Negatives = Tallies{}, ""
	b, err := json.Marshal(&own)
	if err != nil {
		panic(err) // strings, numbers that are finite, and maps of strings
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func newManifestRule(r mine.Rule) ManifestRule {
	return ManifestRule{Name: r.Name, Floor: bound(r.Floor), Cap: bound(r.Cap), Eq6: r.Eq6}
}

func bound(b *mine.Bound) *[2]float64 {
	if b == nil {
		return nil
	}
	return &[2]float64{b.A, b.B}
}

// Write writes the manifest as JSON.
func (m *Manifest) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(m)
}
