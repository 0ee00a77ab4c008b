package job

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/quarry-hn/quarry/host/objstore"
)

// The manifest that a job goes by is the one among the results. The first worker copies it there from the inputs; then
// it is pinned: whatever becomes of the one among the inputs, the job goes on with the copy.

// loadJob finds out whether there is anything to do, and loads the manifest. An outcome that is not nil says why there is
// nothing to do.
func (w *Worker) loadJob(ctx context.Context) (*Outcome, error) {
	if there, err := exists(ctx, w.out, cancelledKey); err != nil {
		return nil, err
	} else if there {
		return &Outcome{Action: Cancelled}, nil
	}
	if _, err := readResult(ctx, w.in, w.out); err == nil {
		return &Outcome{Action: Finished}, nil
	} else if !errors.Is(err, objstore.ErrNotExist) {
		return nil, err
	}
	pinned, err := w.out.Head(ctx, ManifestKey)
	if absent, e := missing(ctx, w.out, ManifestKey, err); e != nil {
		return nil, e
	} else if absent {
		return w.pin(ctx)
	}
	if w.manifest != nil && pinned.ETag == w.manifestETag {
		return nil, nil
	}
	source, err := w.checkPlaces(ctx)
	if err == nil {
		err = w.loadPinned(ctx)
	}
	if err == nil && source.Inputs == "" {
		err = w.adopt(ctx)
	}
	return nil, err
}

// pin copies the manifest of the inputs to the results, and loads it.
func (w *Worker) pin(ctx context.Context) (*Outcome, error) {
	w.manifest = nil // it was of a job that this one replaces
	if _, err := w.checkPlaces(ctx); err != nil {
		return nil, err
	}
	b, _, err := read(ctx, w.in, ManifestKey, maxManifest)
	if errors.Is(err, objstore.ErrNotExist) {
		return &Outcome{Action: Waits, Problem: fmt.Sprintf("there is no %s yet", ManifestKey)}, nil
	}
	if err != nil {
		return nil, deniedInput(ManifestKey, err)
	}
	m, err := ParseManifest(b)
	if err != nil {
		return w.refuse(ctx, &Outcome{}, Refusal{Name: ManifestKey, Problem: err.Error(), Hint: "upload a sound one"})
	}
	if err := w.putSource(ctx, m.runID); err != nil {
		return nil, err
	}
	if err := w.out.PutNew(ctx, ManifestKey, bytes.NewReader(b)); err != nil && !errors.Is(err, objstore.ErrExists) {
		return nil, err
	}
	return nil, w.loadPinned(ctx)
}

// loadPinned loads the manifest of the results. What the worker has of another job goes.
func (w *Worker) loadPinned(ctx context.Context) error {
	b, object, err := objstore.ReadAll(ctx, w.out, ManifestKey, maxManifest)
	if err != nil {
		return err
	}
	m, err := ParseManifest(b)
	if err != nil {
		return fmt.Errorf("%s/%s: %w\n  hint: cancel the job, and begin another", w.out.URL(), ManifestKey, err)
	}
	if err := w.stopMiner(ctx); err != nil {
		return err
	}
	w.kept.clear()
	w.manifest, w.manifestETag, w.projection = m, object.ETag, nil
	return nil
}

// refuseOtherManifest writes a record where the manifest among the inputs is not the one that the job goes by.
func (w *Worker) refuseOtherManifest(ctx context.Context) error {
	b, _, err := read(ctx, w.in, ManifestKey, maxManifest)
	if cannotRead(err) || err == nil && shaOf(b) == w.manifest.manifestSHA {
		return nil // the job goes by its copy
	}
	if err == nil {
		_, err = w.refuse(ctx, &Outcome{}, Refusal{Name: ManifestKey, Problem: "it was changed after the job had begun", Hint: "cancel the job, and begin another"})
	}
	return err
}

// checkPinned fails where the job was cancelled or replaced since the worker loaded its manifest.
func (w *Worker) checkPinned(ctx context.Context) error {
	if there, err := exists(ctx, w.out, cancelledKey); err != nil {
		return err
	} else if there {
		return errCancelled
	}
	now, err := w.out.Head(ctx, ManifestKey)
	if absent, err := missing(ctx, w.out, ManifestKey, err); err != nil {
		return err
	} else if absent || now.ETag != w.manifestETag {
		return fmt.Errorf("%s is not the job that was merged any more: it was made anew meanwhile", w.out.URL())
	}
	return nil
}
