package job

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/plugin"
	"github.com/quarry-hn/quarry/plugin/abi"
)

// Format is what a job's manifest of this version gives as its format.
const Format = "quarry.job.v1"

// Manifest fixes a job: what is mined, from which bytes. It alone decides the result.
type Manifest struct {
	Format string `json:"format"`
	// Result is the manifest of the negatives, as far as it is known before mining. The number of zero documents, what
	// became of the pairs, and the fingerprint of the negatives are known after mining.
	Result     negatives.Manifest `json:"result"`
	Projection File               `json:"projection"`
	Groups     []Group            `json:"pairs"`  // in order
	Shards     []Shard            `json:"shards"` // by first position

	manifestSHA string // SHA-256 of the manifest's bytes
	runID       string // fingerprint of Result, which parts name
}

// File is an object of the job's inputs.
type File struct {
	Name   string `json:"name"` // its key, below the job's
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// Group is pairs First to End-1 of all pairs of the job. They are mined together.
type Group struct {
	File
	First int `json:"first"`
	End   int `json:"end"`
	mining.GroupSize
}

// Shard is documents First to First+Rows-1, by their positions in the corpus.
type Shard struct {
	File
	First int64 `json:"first"`
	Rows  int   `json:"rows"`
}

// Keys of a job's objects, below the job's own key. docs/JOBS.md describes the objects.
const (
	ManifestKey   = "manifest.json"
	projectionKey = "projection.safetensors"
	groupsPrefix  = "pairs/"
	ShardsPrefix  = "shards/"

	partsPrefix   = "parts/"
	idsPrefix     = "ids/"
	refusedPrefix = "refused/"
	cancelledKey  = "cancelled.json"
	negativesKey  = "negatives.jsonl"
	resultKey     = "negatives.manifest.json" // it is written last: where it is, the job is finished
)

const (
	maxManifest = 256 << 20  // bytes
	maxParts    = 10_000_000 // a worker looks for each of them in a list, after each shard
)

// ErrManifest is returned, wrapped, for a manifest that is not sound. Up to ten of its problems are reported together.
var ErrManifest = errors.New("not a job's manifest")

// ParseManifest reads a manifest and checks it throughout.
func ParseManifest(b []byte) (*Manifest, error) {
	m := &Manifest{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(m)
	if err == nil {
		if _, end := d.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("it goes on after the object")
		}
	}
	if err == nil && m.Format != Format {
		err = fmt.Errorf("its format is %s; expected %q", excerpt.Quote(m.Format), Format)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, excerpt.Error(err))
	}
	m.manifestSHA, m.runID = shaOf(b), m.Result.RunID()
	slices.SortStableFunc(m.Shards, func(a, b Shard) int { return cmp.Compare(a.First, b.First) })
	return m, m.validate()
}

// marshal returns the manifest's bytes.
func (m *Manifest) marshal() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(m)
	return b.Bytes(), err
}

// Documents is how many documents all shards hold.
func (m *Manifest) Documents() int64 { return m.Result.Tallies.Documents }

// Parts is how many parts the job needs: one for each shard and each group of pairs.
func (m *Manifest) Parts() int { return len(m.Shards) * len(m.Groups) }

// problems collects what is wrong with a manifest.
type problems []string

func (p *problems) check(ok bool, format string, args ...any) {
	if !ok {
		*p = append(*p, excerpt.Text(fmt.Sprintf(format, args...)))
	}
}

var sha256Form = regexp.MustCompile(`^[0-9a-f]{64}$`)

// validate checks all that does not take the inputs themselves.
func (m *Manifest) validate() error {
	var p problems
	r := m.Result
	p.check(r.Format == negatives.ManifestFormat, "result: format is %q; expected %q", r.Format, negatives.ManifestFormat)
	p.check(r.Plugin.ABI == abi.Version, "result: it is for a plugin of ABI %q; this one has %q", r.Plugin.ABI, abi.Version)
	p.check(r.Plugin.SHA256 == "" || r.Plugin.SHA256 == plugin.SHA256(),
		"result: it is for plugin %.12s; this program has %.12s: make the job with this program, or mine it with the other", r.Plugin.SHA256, plugin.SHA256())
	p.check(r.Top >= 1 && r.Top <= abi.MaxTop, "result: top is %d; it goes from 1 to %d", r.Top, abi.MaxTop)
	p.check(r.Zero == option.ZeroError || r.Zero == option.ZeroSkip, "result: zero is %q; it is %s or %s", r.Zero, option.ZeroError, option.ZeroSkip)
	if err := r.CheckRule(); err != nil {
		p.check(false, "result: %v", err)
	}
	t := r.Tallies
	p.check(t.ZeroDocuments == 0 && t.WithNegatives == 0 && t.NoneEq6 == 0 && t.NoneWindow == 0 && t.Negatives == 0 && r.Negatives == "",
		"result: it has tallies or a fingerprint of negatives that are not mined yet")
	p.check(r.Projection.SHA256 == m.Projection.SHA256, "projection: sha256 is %.12q; that of result is %.12q", m.Projection.SHA256, r.Projection.SHA256)
	names := map[string]bool{}
	p.check(m.Projection.Name == projectionKey, "projection: name %q; expected %q", m.Projection.Name, projectionKey)
	m.Projection.check(&p, "projection", "", names)
	m.checkGroups(&p, names)
	m.checkShards(&p, names)
	p.check(m.Parts() <= maxParts, "%d shards and %d groups of pairs make %d parts; %d are the most", len(m.Shards), len(m.Groups), m.Parts(), maxParts)
	if len(p) == 0 {
		return nil
	}
	if more := len(p) - 10; more > 0 {
		p = append(p[:10], fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("%w: %s", ErrManifest, strings.Join(p, "; "))
}

// checkGroups checks that the groups follow one another and hold all pairs.
func (m *Manifest) checkGroups(p *problems, names map[string]bool) {
	next := 0
	for i, g := range m.Groups {
		what := fmt.Sprintf("pairs %d", i)
		g.check(p, what, groupsPrefix, names)
		p.check(g.First == next && g.End > g.First && g.End-g.First == g.Pairs, "%s: pairs %d to %d, %d of them; expected to go on from %d", what, g.First, g.End-1, g.Pairs, next)
		p.check(g.Positives >= 1 && g.Excluded >= 0, "%s: %d positives and %d excluded documents make no sense", what, g.Positives, g.Excluded)
		next = g.End
	}
	p.check(len(m.Groups) > 0 && next == m.Result.Tallies.Pairs, "pairs: the groups end at pair %d; result has %d", next-1, m.Result.Tallies.Pairs)
}

// checkShards checks that the shards hold every document once.
func (m *Manifest) checkShards(p *problems, names map[string]bool) {
	next, last := int64(0), "the start"
	for _, s := range m.Shards {
		what := fmt.Sprintf("shard %q", s.Name)
		s.check(p, what, ShardsPrefix, names)
		p.check(s.Rows >= 1 && s.Rows <= abi.MaxRows && s.First >= 0, "%s: %d rows from position %d; it has at least one", what, s.Rows, s.First)
		p.check(s.First >= next, "%s: position %d is in %s too, which ends at %d: positions overlap", what, s.First, last, next-1)
		p.check(s.First <= next, "%s: positions %d to %d, between it and %s, are in no shard: a gap", what, next, s.First-1, last)
		next, last = max(next, s.First+int64(s.Rows)), fmt.Sprintf("%q", s.Name)
	}
	p.check(len(m.Shards) > 0 && next == m.Documents(), "shards: they end at position %d; result has %d documents", next-1, m.Documents())
}

// check checks a file's name, size and fingerprint. Its name has to begin with prefix, and not to be among names, which
// it joins.
func (f File) check(p *problems, what, prefix string, names map[string]bool) {
	p.check(strings.HasPrefix(f.Name, prefix) && ValidName(f.Name), "%s: name %q; expected a path below %q without empty parts, . or ..", what, f.Name, prefix)
	p.check(!names[f.Name], "%s: %q is named twice", what, f.Name)
	names[f.Name] = true
	p.check(f.Size > 0, "%s: size is %d", what, f.Size)
	p.check(sha256Form.MatchString(f.SHA256), "%s: sha256 is %.70q; expected 64 hexadecimal digits", what, f.SHA256)
}

// ValidName reports whether every store takes a name as part of a key. Between its slashes nothing is empty, "." or
// "..", and it has no control characters.
func ValidName(name string) bool {
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }) {
		return false
	}
	return !slices.ContainsFunc(strings.Split(name, "/"), func(part string) bool { return part == "" || part == "." || part == ".." })
}

// shard returns the number of the shard of that name.
func (m *Manifest) shard(name string) (number int, ok bool) {
	i := slices.IndexFunc(m.Shards, func(s Shard) bool { return s.Name == name })
	return i, i >= 0
}

// pairsID is the name that parts have for a group's pairs. It is the one that they have where a job is mined on one
// machine.
func (m *Manifest) pairsID(group int) string {
	return mining.PairsID(m.runID, m.Groups[group].First, m.Groups[group].End)
}

// partKey is the key of the part of a shard and a group. It has the fingerprints of the manifest and the shard.
func (m *Manifest) partKey(shard, group int) string {
	return fmt.Sprintf("%s%05d-%07d-%.16s.safetensors", m.partsKey(), group, shard, m.Shards[shard].SHA256)
}

// partsKey is what the keys of all parts of the job begin with.
func (m *Manifest) partsKey() string { return fmt.Sprintf("%s%.16s/", partsPrefix, m.manifestSHA) }

// listParts returns the keys of the job's parts that are there.
func (m *Manifest) listParts(ctx context.Context, out objstore.Store) (map[string]bool, error) {
	parts := map[string]bool{}
	for object, err := range out.List(ctx, m.partsKey(), "") {
		if err != nil {
			return nil, err
		}
		parts[object.Key] = true
	}
	return parts, nil
}

// mined reports whether the parts of a shard for all groups are among those keys.
func (m *Manifest) mined(shard int, parts map[string]bool) bool {
	for g := range m.Groups {
		if !parts[m.partKey(shard, g)] {
			return false
		}
	}
	return true
}

// count is how many of the job's parts are among those keys. Others below partsKey are none of the job's.
func (m *Manifest) count(parts map[string]bool) (n int) {
	for s := range m.Shards {
		for g := range m.Groups {
			if parts[m.partKey(s, g)] {
				n++
			}
		}
	}
	return n
}

// shaOf is the SHA-256 of some bytes, in hexadecimal digits.
func shaOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// fileOf describes an object of those bytes.
func fileOf(name string, b []byte) File {
	return File{Name: name, Size: int64(len(b)), SHA256: shaOf(b)}
}
