package negatives

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/plugin"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/pca"
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
	Twins      string             `json:"twins,omitempty"` // "exclude" where twins of positives were left out; empty where there were none, or they were kept
	Zero       string             `json:"zero"`
	Missing    string             `json:"missing"`
	Projection ManifestProjection `json:"projection"`
	Plugin     ManifestPlugin     `json:"plugin"`
	Inputs     map[string]string  `json:"inputs"` // SHA-256 of each; see dataset.Dataset.Fingerprints
	Tallies    Tallies            `json:"tallies"`
	Negatives  string             `json:"negatives_sha256"`
}

// ManifestRule is the rule as what it decides. A bound [a, b] on s(Q,D) is a * s(Q,PD) + b.
type ManifestRule struct {
	Name  string      `json:"name"`
	Floor *[2]float64 `json:"floor,omitempty"` // s(Q,D) lies above
	Cap   *[2]float64 `json:"cap,omitempty"`   // s(Q,D) is at most
	Eq6   bool        `json:"eq6"`

	*ManifestSampling // of a sampler; nil for a rule that is a window alone
}

// ManifestSampling is what a sampler (package sampler) depends on beside the window, if it has one. A member that it does not use is not there.
type ManifestSampling struct {
	Sampler string         `json:"sampler"`          // its name; "ranks" or "sum" of what a rule, or several, give
	Seed    *uint64        `json:"seed,omitempty"`   // of its draws
	Ranks   *[2]int        `json:"ranks,omitempty"`  // the first and the last rank, from 1, that negatives are taken from
	Random  *int           `json:"random,omitempty"` // of star: how many of the negatives of a pair are drawn from all documents
	Batch   *int           `json:"batch,omitempty"`  // of in-batch: pairs in a batch
	K1      *float64       `json:"k1,omitempty"`     // of bm25
	B       *float64       `json:"b,omitempty"`      // of bm25
	Tokens  string         `json:"tokens,omitempty"` // of bm25: how texts become terms
	Of      []ManifestRule `json:"of,omitempty"`     // of a sum: its rules, in their order
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

// NewManifest is a manifest of this version and this plugin for a rule and a projection. The caller fills in its own options and the inputs.
func NewManifest(rule mine.Rule, p *pca.Projection, fingerprint string) Manifest {
	m := Manifest{
		Format: ManifestFormat,
		Rule:   NewManifestRule(rule),
		Projection: ManifestProjection{SHA256: fingerprint, Normalize: p.Normalize, PCA: p.PCA, Components: p.Width(), Center: p.Center, FitOn: p.FitOn,
			Seed: p.Seed},
		Plugin: ManifestPlugin{ABI: abi.Version, SHA256: plugin.SHA256()},
	}
	for _, model := range p.Models {
		m.Projection.Models = append(m.Projection.Models, ManifestModel(model))
	}
	return m
}

// CheckRule fails where the rule is not the one of its name.
// A sampler's rule is no such rule.
func (m *Manifest) CheckRule() error {
	_, err := m.MineOptions()
	return err
}

// MineOptions are the options that an instance mines with. They fail where the rule is not the one of its name. Pairs are named by the caller.
func (m *Manifest) MineOptions() (mine.Options, error) {
	if m.Rule.ManifestSampling != nil {
		return mine.Options{}, fmt.Errorf("%w: rule %s is a sampler's, which no instance mines with; those of one are %s", option.ErrOption,
			excerpt.Quote(m.Rule.Name), strings.Join(mine.RuleNames(), ", "))
	}
	rule, err := mine.RuleOf(m.Rule.Name, bound(m.Rule.Floor), bound(m.Rule.Cap), m.Rule.Eq6)
	err = excerpt.Error(err)
	if mine.LookupRule(m.Rule.Name) == nil {
		return mine.Options{}, err
	}
	if err != nil {
		return mine.Options{}, fmt.Errorf("%w: %w", option.ErrOption, err)
	}
	return mine.Options{Rule: rule, Top: m.Top, Counts: m.Counts, SkipZero: m.Zero == option.ZeroSkip, Projection: m.Projection.SHA256}, nil
}

// RunID names the run that the manifest is of: the SHA-256, in hexadecimal, of the manifest as JSON without tallies and negatives.
func (m *Manifest) RunID() string {
	b, err := json.Marshal(m.OfRun())
	if err != nil {
		panic(err) // it holds strings, finite numbers, and maps of strings
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// OfRun is the manifest without tallies and the fingerprint of the negatives: what tells runs apart.
func (m *Manifest) OfRun() *Manifest {
	own := *m
	own.Tallies, own.Negatives = Tallies{}, ""
	return &own
}

// Unmined is the manifest as it was before mining: without the fingerprint of the negatives and the tallies that mining gives.
func (m *Manifest) Unmined() *Manifest {
	own := *m
	own.Tallies, own.Negatives = own.Tallies.Unmined(), ""
	return &own
}

// NewManifestRule is a rule as a manifest has it.
func NewManifestRule(r mine.Rule) ManifestRule {
	return ManifestRule{Name: r.Name, Floor: newManifestBound(r.Floor), Cap: newManifestBound(r.Cap), Eq6: r.Eq6}
}

func newManifestBound(b *mine.Bound) *[2]float64 {
	if b == nil {
		return nil
	}
	return &[2]float64{b.A, b.B}
}

func bound(b *[2]float64) *mine.Bound {
	if b == nil {
		return nil
	}
	return &mine.Bound{A: b[0], B: b[1]}
}

// Write writes the manifest as JSON.
func (m *Manifest) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(m)
}
