package job

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

const (
	partHeader     = 16 << 10 // bytes of a part's object that hold its header, unless it is unusual
	statusRequests = 16
)

// Status is how far a job is, as its buckets tell.
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
	Refused   []Record           `json:"refused"`
	Rows      int64              `json:"documents_mined"`
	Seconds   float64            `json:"seconds"`    // of mining, of all shards
	GBSeconds float64            `json:"gb_seconds"` // that are paid for
	Dollars   float64            `json:"dollars"`    // about: memory and time, invocations, requests of S3
	Tallies   *negatives.Tallies `json:"tallies"`    // of a finished job, which may have been cancelled since
}

// Record is of an object that was refused, and is not mended yet.
type Record struct {
	Name    string `json:"name"`
	Problem string `json:"problem"`
	Hint    string `json:"hint"`
}

// ReadStatus reads manifest, parts and records. It needs no more than to get and list both stores.
func ReadStatus(ctx context.Context, at *Place) (*Status, error) {
	w := &Worker{in: at.In, out: at.Out}
	s := &Status{Job: at.Name, State: Pending, Uploaded: []string{}, Absent: []string{}, Refused: []Record{}}
	b, _, err := objstore.ReadAll(ctx, at.Out, ManifestKey, maxManifest)
	if absent(err) {
		b, _, err = objstore.ReadAll(ctx, at.In, ManifestKey, maxManifest)
		if absent(err) {
			s.State, s.Problem = Waits, fmt.Sprintf("there is no %s/%s", at.In.URL(), ManifestKey)
			return s, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if w.manifest, err = ParseManifest(b); err != nil {
		return nil, fmt.Errorf("%s: %w", at.In.URL(), err)
	}
	m := w.manifest
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
	if err := s.addWork(ctx, m, at.Out, parts); err != nil {
		return nil, err
	}
	if s.Refused, err = w.readRefused(ctx, mined); err != nil {
		return nil, err
	}
	return s, s.settle(ctx, w, parts)
}

// settle finds out how the job stands.
func (s *Status) settle(ctx context.Context, w *Worker, parts map[string]bool) error {
	result, err := readResult(ctx, w.in, w.out)
	switch {
	case err == nil:
		s.State, s.Tallies = Finished, &result.Tallies
	case !absent(err):
		return err
	}
	if there, err := w.has(ctx, w.out, cancelledKey); err != nil || there {
		s.State = Cancelled
		return err
	}
	if s.State == Finished {
		return nil
	}
	if s.Problem, err = w.lacks(ctx); err != nil {
		return err
	}
	if s.Problem != "" {
		s.State = Waits
	}
	uploaded, missing, err := w.missing(ctx, parts)
	s.Uploaded, s.Absent = append(s.Uploaded, uploaded...), append(s.Absent, missing...)
	return err
}

// addWork adds up what the parts say they took; it reads the start of each alone.
func (s *Status) addWork(ctx context.Context, m *Manifest, out objstore.Store, parts map[string]bool) error {
	works := make([]Work, m.Parts())
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(statusRequests)
	paid := 0
	for i := range m.Shards {
		for g := range m.Pairs {
			if key := m.partKey(i, g); parts[key] {
				group.Go(func() (err error) {
					works[i*len(m.Pairs)+g], err = readWork(limited, out, key)
					if errors.Is(err, objstore.ErrNotExist) {
						return nil // the job was cancelled this moment
					}
					return err
				})
			}
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, work := range works {
		s.Seconds += float64(work.Milliseconds) / 1e3
		s.GBSeconds += float64(work.Milliseconds) / 1e3 * float64(work.MemoryMiB) / 1024
		if work.MemoryMiB > 0 {
			paid++
		}
	}
	s.Dollars = dollars(s.GBSeconds, paid, m.Parts())
	return nil
}

func readWork(ctx context.Context, out objstore.Store, key string) (Work, error) {
	r, object, err := out.Get(ctx, key, 0, "")
	if err != nil {
		return Work{}, err
	}
	defer r.Close()
	header := make([]byte, min(partHeader, object.Size))
	if _, err := io.ReadFull(r, header); err != nil {
		return Work{}, err
	}
	bad := func(err error) error {
		return fmt.Errorf("%s/%s: not a part: %w\n  hint: %s", out.URL(), key, err, removePart)
	}
	length, err := safetensors.HeaderLen(header, int(object.Size), partHeader-8)
	if err != nil {
		return Work{}, bad(err)
	}
	f, _, err := safetensors.ParseHeader(header[:length], int(object.Size))
	if err != nil {
		return Work{}, bad(err)
	}
	work, err := parseWork(f.Metadata[workMetadata])
	if err != nil {
		return Work{}, bad(err)
	}
	return work, nil
}

// readRefused reads the records of what was refused and is not mended.
func (w *Worker) readRefused(ctx context.Context, mined map[string]bool) ([]Record, error) {
	records, out := []Record{}, w.out
	for object, err := range out.List(ctx, refusedPrefix, "") {
		if err != nil {
			return nil, err
		}
		b, _, err := objstore.ReadAll(ctx, out, object.Key, 1<<20)
		if errors.Is(err, objstore.ErrNotExist) {
			continue // it was removed this moment
		}
		if err != nil {
			return nil, err
		}
		var r refusal
		if err := json.Unmarshal(b, &r); err != nil || r.Format != refusalFormat {
			return nil, fmt.Errorf("%s/%s: not the record of a refused object", out.URL(), object.Key)
		}
		mended, err := w.mended(ctx, r, mined)
		if err != nil {
			return nil, err
		}
		if !mended {
			records = append(records, Record{r.Name, r.Problem, r.Hint})
		}
	}
	return records, nil
}

// mended reports whether what was refused is in order now: a shard is mined, the manifest is the job's, another input has the manifest's bytes, what
// does not belong is gone.
func (w *Worker) mended(ctx context.Context, r refusal, mined map[string]bool) (bool, error) {
	m := w.manifest
	if _, ok := m.shard(r.Name); ok {
		return mined[r.Name], nil
	}
	if r.Name == ManifestKey {
		b, _, err := objstore.ReadAll(ctx, w.in, ManifestKey, maxManifest)
		if absent(err) {
			return false, nil
		}
		sum := sha256.Sum256(b)
		return err == nil && hex.EncodeToString(sum[:]) == m.identity, err
	}
	i := slices.IndexFunc(m.Pairs, func(g Pairs) bool { return g.Name == r.Name })
	if i < 0 && r.Name != m.Projection.Name {
		there, err := w.has(ctx, w.in, r.Name)
		return !there, err
	}
	if r.Hint != uploadAgain { // the manifest's own bytes were refused: as long as shards wait for them, they are not in order
		return len(mined) == len(m.Shards), nil
	}
	f := m.Projection
	if i >= 0 {
		f = m.Pairs[i].File
	}
	err := w.fetch(ctx, f, io.Discard, func() {})
	if errors.As(err, new(*unlike)) || absent(err) {
		return false, nil
	}
	return err == nil, err
}

// Cancel makes later deliveries do nothing, and removes the parts. A result that is there stays; it reports whether there is one. A worker that is at
// work may leave a part: to cancel again removes it.
func Cancel(ctx context.Context, at *Place) (finished bool, err error) {
	if err := at.stop(ctx); err != nil {
		return false, err
	}
	if _, err := removeAll(ctx, at.Out, partsPrefix, ""); err != nil {
		return false, err
	}
	_, err = readResult(ctx, at.In, at.Out)
	if errors.Is(err, objstore.ErrNotExist) || errors.Is(err, ErrReplaced) {
		return false, nil
	}
	return err == nil, err
}

// stop makes workers do nothing from now on.
func (p *Place) stop(ctx context.Context) error {
	return p.Out.Put(ctx, cancelledKey, strings.NewReader("{\"format\":\"quarry.cancelled.v1\"}\n"))
}
