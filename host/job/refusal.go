package job

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/objstore"
)

// Refusal says what is wrong with an object of the job's inputs, and how to mend it.
type Refusal struct {
	Name    string `json:"name"` // its key, below the job's
	Problem string `json:"problem"`
	Hint    string `json:"hint"`
	Kind    string `json:"kind,omitempty"` // of those below; empty for any other
}

// Kinds of refusals, by which is told whether the object is mended since.
const (
	kindBytes  = "bytes"  // it has not the bytes that the manifest says
	kindDenied = "denied" // a worker may not read it
	kindSameID = "ids"    // two documents have the same id
)

// refusalRecord is a Refusal as it is written among the results.
type refusalRecord struct {
	Format string `json:"format"`
	Refusal
	Manifest string `json:"manifest,omitempty"` // SHA-256 of the manifest that the job goes by; empty where it has none yet
}

const (
	refusalFormat = "quarry.refused.v1"
	maxRefusal    = 1 << 20 // bytes of a record
)

// refusedKey is the key of the record of an object of that name.
func refusedKey(name string) string {
	sum := sha256.Sum256([]byte(name))
	return fmt.Sprintf("%s%.16x.json", refusedPrefix, sum)
}

// refuse writes a record, and says in the outcome what was refused.
func (w *Worker) refuse(ctx context.Context, o *Outcome, r Refusal) (*Outcome, error) {
	r.Problem = excerpt.Text(r.Problem)
	o.Action, o.Refused, o.Problem, o.Hint = Refused, r.Name, r.Problem, r.Hint
	return o, w.putRefusal(ctx, r)
}

// putRefusal writes a record.
func (w *Worker) putRefusal(ctx context.Context, r Refusal) error {
	record := refusalRecord{Format: refusalFormat, Refusal: r}
	if w.manifest != nil {
		record.Manifest = w.manifest.manifestSHA
	}
	b, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return err
	}
	return w.out.Put(ctx, refusedKey(r.Name), bytes.NewReader(append(b, '\n')))
}

// Denied is the error of an input that is there, as far as the worker can tell, and that the worker may not read. Its
// turn must come again: once a policy is mended, nothing else brings it back. It wraps objstore.ErrDenied.
type Denied struct {
	Refusal
	cause error
}

func (e *Denied) Error() string { return e.Name + ": " + e.Problem + "\n  hint: " + e.Hint }
func (e *Denied) Unwrap() error { return e.cause }

// deniedInput makes a Denied of an input's error, where it is denied.
func deniedInput(name string, err error) error {
	if !errors.Is(err, objstore.ErrDenied) {
		return err
	}
	return &Denied{Refusal{name, "it was denied to a worker: " + err.Error(), hintPolicy, kindDenied}, err}
}

// recordDenied writes a record where an input was denied, so that whoever asks how the job stands learns why it does
// not go on. It returns err.
func (w *Worker) recordDenied(ctx context.Context, err error) error {
	if denied := (*Denied)(nil); errors.As(err, &denied) {
		return errors.Join(err, w.putRefusal(ctx, denied.Refusal))
	}
	return err
}

// readRefusals reads the records of objects that are not mended yet. mined has the names of the shards that are mined.
func (w *Worker) readRefusals(ctx context.Context, mined map[string]bool) ([]Refusal, error) {
	refusals := []Refusal{}
	for object, err := range w.out.List(ctx, refusedPrefix, "") {
		if err != nil {
			return nil, err
		}
		r, err := w.readRefusal(ctx, object.Key)
		if errors.Is(err, objstore.ErrNotExist) {
			continue // it was removed after it was listed, or it is of a job that this one replaced
		}
		if err != nil {
			return nil, err
		}
		mended, err := w.isMended(ctx, r, mined)
		if err != nil {
			return nil, err
		}
		if !mended {
			refusals = append(refusals, r)
		}
	}
	return refusals, nil
}

// readRefusal reads a record of this job. The error is objstore.ErrNotExist where there is none.
func (w *Worker) readRefusal(ctx context.Context, key string) (Refusal, error) {
	b, _, err := read(ctx, w.out, key, maxRefusal)
	if err != nil {
		return Refusal{}, err
	}
	var r refusalRecord
	if err := json.Unmarshal(b, &r); err != nil || r.Format != refusalFormat {
		return Refusal{}, fmt.Errorf("%s/%s: not the record of a refused object", w.out.URL(), key)
	}
	if r.Manifest != "" && r.Manifest != w.manifest.manifestSHA {
		return Refusal{}, fmt.Errorf("%s/%s: %w of this job", w.out.URL(), key, objstore.ErrNotExist)
	}
	if r.Kind == "" && r.Hint == hintUpload { // of an earlier version
		r.Kind = kindBytes
	}
	return r.Refusal, nil
}

// cannotRead reports whether an object is missing or denied.
func cannotRead(err error) bool {
	return errors.Is(err, objstore.ErrNotExist) || errors.Is(err, objstore.ErrDenied)
}

// isMended reports whether an object that was refused is in order now. A shard is where it is mined, and the manifest
// where it is the one that the job goes by. The projection and the groups are where they have the manifest's bytes.
// What the manifest does not name has to be gone.
func (w *Worker) isMended(ctx context.Context, r Refusal, mined map[string]bool) (bool, error) {
	m := w.manifest
	if _, ok := m.shard(r.Name); ok {
		return mined[r.Name], nil
	}
	switch {
	case r.Kind == kindSameID: // until another manifest takes its place
		return false, nil
	case r.Kind == kindDenied && r.Name == ManifestKey: // which a worker has read since, where it copied it
		return exists(ctx, w.out, ManifestKey)
	}
	if r.Name == ManifestKey {
		b, _, err := objstore.ReadAll(ctx, w.in, ManifestKey, maxManifest)
		if cannotRead(err) {
			return false, nil
		}
		return err == nil && shaOf(b) == m.manifestSHA, err
	}
	f := m.Projection
	if i := slices.IndexFunc(m.Groups, func(g Group) bool { return g.Name == r.Name }); i >= 0 {
		f = m.Groups[i].File
	} else if r.Name != f.Name {
		there, err := exists(ctx, w.in, r.Name)
		return !there, err
	}
	if r.Kind != kindBytes { // its bytes make no sense, or a worker is denied them: shards wait for it
		return len(mined) == len(m.Shards), nil
	}
	err := w.fetchInput(ctx, f, io.Discard, func() error { return nil })
	if errors.As(err, new(*inputError)) || cannotRead(err) {
		return false, nil
	}
	return err == nil, err
}
