package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
)

// A record among the results says which shards a sweep has brought back, and how often: a shard whose turn fails each
// time comes back more and more seldom. When the record was put tells when the job had its turn.
const (
	sweptKey    = "swept.json"
	sweptFormat = "quarry.swept.v1"
	maxSwept    = 256 << 20 // bytes
	maxBack     = 1000      // shards that one sweep of a job brings back
	maxDoubled  = 10        // how often the wait doubles
)

// sweptRecord is the record of the sweeps of one manifest.
type sweptRecord struct {
	Format   string              `json:"format"`
	Manifest string              `json:"manifest"` // SHA-256; empty before a shard was brought back
	Shards   map[string]comeback `json:"shards"`   // by name
}

// comeback says how often a sweep has brought a shard back since it was uploaded, and when it last did.
type comeback struct {
	Times int       `json:"times"`
	Last  time.Time `json:"last"`
}

// Standing is how a job stands, as far as a few look-ups tell.
type Standing struct {
	Ended Action    // Finished, Cancelled, or "" for a job under way
	Swept time.Time // when a sweep last looked at the job; zero for never
}

// Look tells whether a job has ended, and when it had its last turn.
func Look(ctx context.Context, at *Place) (Standing, error) {
	if cancelled, err := exists(ctx, at.Out, cancelledKey); err != nil {
		return Standing{}, err
	} else if cancelled {
		return Standing{Ended: Cancelled}, nil
	}
	if _, err := readResult(ctx, at.In, at.Out); err == nil {
		return Standing{Ended: Finished}, nil
	} else if !errors.Is(err, objstore.ErrNotExist) {
		return Standing{}, err
	}
	record, err := at.Out.Head(ctx, sweptKey)
	if absent, err := missing(ctx, at.Out, sweptKey, err); err != nil || absent {
		return Standing{}, err
	}
	return Standing{Swept: record.Modified}, nil
}

// TakeTurn records that the job has its turn, before anything is done for it: where that fails, or takes all the time
// there is, others come first next time.
func (w *Worker) TakeTurn(ctx context.Context) error {
	if !w.using.TryLock() {
		return mining.ErrBusy
	}
	defer w.using.Unlock()
	if _, err := w.checkPlaces(ctx); err != nil {
		return err
	}
	record, err := w.readSwept(ctx)
	if err == nil {
		err = w.out.Put(ctx, sweptKey, marshalRecord(record))
	}
	return err
}

// BringBack gives back those shards that a sweep found unmined and that were uploaded longer ago than age: a shard's
// message can be lost, and then nothing else brings it back. A shard that was brought back before waits twice as long
// each time. o is what Sweep returned.
func (w *Worker) BringBack(ctx context.Context, o *Outcome, age time.Duration, back func(shards []string) error) error {
	if !w.using.TryLock() {
		return mining.ErrBusy
	}
	defer w.using.Unlock()
	if len(o.Uploaded) == 0 {
		return nil
	}
	old, err := w.readSwept(ctx)
	if err != nil {
		return err
	}
	if old.Manifest != w.manifest.manifestSHA {
		old.Shards = nil
	}
	now, due := time.Now().UTC(), []string{}
	record := sweptRecord{Format: sweptFormat, Manifest: w.manifest.manifestSHA, Shards: map[string]comeback{}}
	for i, name := range o.Uploaded {
		uploaded, c := o.uploadedAt[i], old.Shards[name]
		if !c.Last.After(uploaded) {
			c = comeback{Last: uploaded}
		}
		if len(due) < maxBack && now.Sub(c.Last) >= age<<min(c.Times, maxDoubled) {
			due = append(due, name)
			c = comeback{c.Times + 1, now}
		}
		if c.Times > 0 {
			record.Shards[name] = c
		}
	}
	if len(due) == 0 {
		return nil
	}
	// The shards first: where this dies between the two, they come back once more.
	if err := back(due); err != nil {
		return err
	}
	return w.out.Put(ctx, sweptKey, marshalRecord(record))
}

// readSwept reads the record of the sweeps. It is empty where there is none.
func (w *Worker) readSwept(ctx context.Context) (r sweptRecord, err error) {
	b, _, err := read(ctx, w.out, sweptKey, maxSwept)
	if errors.Is(err, objstore.ErrNotExist) {
		return sweptRecord{Format: sweptFormat}, nil
	}
	if err == nil && (json.Unmarshal(b, &r) != nil || r.Format != sweptFormat) {
		err = fmt.Errorf("%s/%s: not the record of sweeps\n  hint: remove it", w.out.URL(), sweptKey)
	}
	return r, err
}
