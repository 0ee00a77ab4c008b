package job

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// partStart is how many bytes of a part's object are read for its metadata. The header of any part that workers put
// fits them.
const partStart = 16 << 10

// Status is how far a job is, as its two stores tell.
type Status struct {
	Job       string             `json:"job"`
	State     Action             `json:"state"` // Waits, Pending, Finished or Cancelled
	Problem   string             `json:"problem,omitempty"`
	Documents int64              `json:"documents"`
	Pairs     int                `json:"pairs"`
	Shards    int                `json:"shards"`
	Mined     int                `json:"shards_mined"`
	Uploaded  []string           `json:"uploaded_not_mined"`
	Absent    []string           `json:"not_uploaded"`
	Refused   []Refusal          `json:"refused"` // what is not mended yet
	Rows      int64              `json:"documents_mined"`
	Seconds   float64            `json:"seconds"`    // that mining took, of all shards together
	GBSeconds float64            `json:"gb_seconds"` // of these, with the memory that is paid for
	Dollars   float64            `json:"dollars"`    // about: memory and time, invocations, requests of S3
	Tallies   *negatives.Tallies `json:"tallies"`    // of a result that is there, even where the job was cancelled since; otherwise nil
}

// ReadStatus reads the manifest, the list of parts, the start of each part, and the records of what was refused. It
// only gets and lists objects of both stores.
func ReadStatus(ctx context.Context, at *Place) (*Status, error) {
	if _, err := checkSource(ctx, at.In, at.Out); err != nil {
		return nil, err
	}
	s := &Status{Job: at.Name, State: Pending, Uploaded: []string{}, Absent: []string{}, Refused: []Refusal{}}
	m, err := at.readManifest(ctx)
	if errors.Is(err, objstore.ErrNotExist) {
		s.State, s.Problem = Waits, fmt.Sprintf("there is no %s/%s", at.In.URL(), ManifestKey)
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	s.Documents, s.Pairs, s.Shards = m.Documents(), m.Result.Tallies.Pairs, len(m.Shards)
	parts, err := m.listParts(ctx, at.Out)
	if err != nil {
		return nil, err
	}
	mined := map[string]bool{}
	for i, shard := range m.Shards {
		if m.mined(i, parts) {
			mined[shard.Name] = true
			s.Mined++
			s.Rows += int64(shard.Rows)
		}
	}
	if err := s.addEffort(ctx, m, at.Out, parts); err != nil {
		return nil, err
	}
	w := &Worker{in: at.In, out: at.Out, manifest: m}
	if s.Refused, err = w.readRefusals(ctx, mined); err != nil {
		return nil, err
	}
	return s, s.readState(ctx, w, parts)
}

// readManifest reads the manifest that the job goes by; before it has begun, that of the inputs.
func (p *Place) readManifest(ctx context.Context) (*Manifest, error) {
	b, _, err := read(ctx, p.Out, ManifestKey, maxManifest)
	if errors.Is(err, objstore.ErrNotExist) {
		b, _, err = read(ctx, p.In, ManifestKey, maxManifest)
	}
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.In.URL(), err)
	}
	return m, nil
}

// readState finds out whether the job is finished or cancelled, and otherwise what it waits for.
func (s *Status) readState(ctx context.Context, w *Worker, parts map[string]bool) error {
	result, err := readResult(ctx, w.in, w.out)
	switch {
	case err == nil:
		s.State, s.Tallies = Finished, &result.Tallies
	case !errors.Is(err, objstore.ErrNotExist):
		return err
	}
	if there, err := exists(ctx, w.out, cancelledKey); err != nil || there {
		s.State = Cancelled
		return err
	}
	if s.State == Finished {
		return nil
	}
	if s.Problem, err = w.missingInput(ctx); err != nil {
		return err
	}
	if s.Problem != "" {
		s.State = Waits
	}
	u, err := w.unminedShards(ctx, parts)
	s.Uploaded, s.Absent = append(s.Uploaded, u.uploaded...), append(s.Absent, u.absent...)
	return err
}

// addEffort adds up the effort of the parts.
func (s *Status) addEffort(ctx context.Context, m *Manifest, out objstore.Store, parts map[string]bool) error {
	efforts := make([]Effort, m.Parts())
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(concurrentRequests)
	for i := range m.Shards {
		for g := range m.Groups {
			if key := m.partKey(i, g); parts[key] {
				group.Go(func() (err error) {
					efforts[i*len(m.Groups)+g], err = readEffort(limited, out, key)
					if errors.Is(err, objstore.ErrNotExist) {
						return nil // a cancel removed it after it was listed
					}
					return err
				})
			}
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	paid := 0
	for _, e := range efforts {
		s.Seconds += float64(e.Milliseconds) / 1e3
		s.GBSeconds += float64(e.Milliseconds) / 1e3 * float64(e.MemoryMiB) / 1024
		if e.MemoryMiB > 0 {
			paid++
		}
	}
	s.Dollars = dollars(s.GBSeconds, paid, m.Parts())
	return nil
}

// readEffort reads the start of a part's object, and from it the effort.
func readEffort(ctx context.Context, out objstore.Store, key string) (Effort, error) {
	r, object, err := out.Get(ctx, key, 0, "")
	if err != nil {
		return Effort{}, err
	}
	defer r.Close()
	start := make([]byte, min(partStart, object.Size))
	if _, err := io.ReadFull(r, start); err != nil {
		return Effort{}, err
	}
	effort, err := parseEffortOf(start, int(object.Size))
	if err != nil {
		return Effort{}, fmt.Errorf("%s/%s: not a part: %w\n  hint: %s", out.URL(), key, excerpt.Error(err), hintRemovePart)
	}
	return effort, nil
}

// parseEffortOf finds the effort in the first bytes of a part's object of so many bytes.
func parseEffortOf(start []byte, size int) (Effort, error) {
	length, err := safetensors.HeaderLen(start, size, partStart-8)
	if err != nil {
		return Effort{}, err
	}
	f, _, err := safetensors.ParseHeader(start[:length], size)
	if err != nil {
		return Effort{}, err
	}
	return parseEffort(f.Metadata[effortMetadata])
}
