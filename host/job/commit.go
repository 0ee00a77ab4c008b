package job

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/quarry-hn/quarry/host/objstore"
)

var errCancelled = errors.New("the job was cancelled meanwhile")

// commit merges all parts and writes the result: the negatives, then their manifest. Both have the same bytes whichever
// worker writes them. It reports whether this worker wrote the second, which makes the job finished.
func (w *Worker) commit(ctx context.Context) (bool, error) {
	f, err := os.Create(filepath.Join(w.dir, negativesKey))
	if err != nil {
		return false, err
	}
	defer func() { _ = removeFile(f) }() // the result does not depend on it, and Close removes the folder
	timed, cancel := w.withoutReserve(ctx)
	defer cancel()
	result, err := w.merge(timed, f)
	if outOfTime(ctx, timed, err) {
		return false, givenUp(fmt.Sprintf("merge of %d parts", w.manifest.Parts()), err, "give workers more time, or run quarry job sweep where there is no deadline")
	}
	if err != nil {
		return false, err
	}
	var manifest bytes.Buffer
	if err := result.Write(&manifest); err != nil {
		return false, err
	}
	if _, err := w.putResult(ctx, negativesKey, f); err != nil {
		return false, err
	}
	return w.putResult(ctx, resultKey, bytes.NewReader(manifest.Bytes()))
}

// putResult puts an object of the result, if the job is still the same, and reports whether it put it. Where the object
// is there already it must have the same bytes: another worker has put it. Where it has others because a worker of a job
// that this one replaced put it late, it is overwritten.
func (w *Worker) putResult(ctx context.Context, key string, body io.ReadSeeker) (bool, error) {
	if err := w.checkPinned(ctx); err != nil {
		return false, err
	}
	rewind := func() error { _, err := body.Seek(0, io.SeekStart); return err }
	if err := rewind(); err != nil {
		return false, err
	}
	err := w.out.PutNew(ctx, key, body)
	if !errors.Is(err, objstore.ErrExists) {
		return err == nil, err
	}
	same, err := w.hasBytes(ctx, key, body)
	if err != nil || same {
		return false, err
	}
	if late, err := w.isLate(ctx); err != nil {
		return false, err
	} else if late {
		// The second look: a worker whose own job was replaced meanwhile fails here.
		if err := errors.Join(w.checkPinned(ctx), rewind()); err != nil {
			return false, err
		}
		return true, w.out.Put(ctx, key, body)
	}
	return false, fmt.Errorf("%w: %s/%s is there with other bytes\n  hint: remove it, and sweep the job", ErrConflict, w.out.URL(), key)
}

// isLate reports whether a result that differs from this worker's is that of a job which this one replaced. It is not
// where there is a whole result of this job.
func (w *Worker) isLate(ctx context.Context) (bool, error) {
	source, err := readSource(ctx, w.out)
	if err != nil || !source.Replaced {
		return false, ignoreMissing(err)
	}
	_, err = readResult(ctx, w.in, w.out)
	return errors.Is(err, objstore.ErrNotExist), nil
}

// ignoreMissing is err, or nil where an object is not there.
func ignoreMissing(err error) error {
	if errors.Is(err, objstore.ErrNotExist) {
		return nil
	}
	return err
}

// hasBytes reports whether an object of the results has the bytes of body.
func (w *Worker) hasBytes(ctx context.Context, key string, body io.ReadSeeker) (bool, error) {
	own, found := sha256.New(), sha256.New()
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	if _, err := io.Copy(own, body); err != nil {
		return false, err
	}
	_, err := objstore.Fetch(ctx, w.out, key, found)
	return bytes.Equal(own.Sum(nil), found.Sum(nil)), err
}
