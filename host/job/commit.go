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
		return false, fmt.Errorf("merge of %d parts: %w\n  hint: give workers more time, or run quarry job sweep where there is no deadline", w.manifest.Parts(), ErrDeadline)
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
// is there already it must have the same bytes: another worker has put it.
func (w *Worker) putResult(ctx context.Context, key string, body io.ReadSeeker) (bool, error) {
	if err := w.checkPinned(ctx); err != nil {
		return false, err
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	err := w.out.PutNew(ctx, key, body)
	if !errors.Is(err, objstore.ErrExists) {
		return err == nil, err
	}
	own, found := sha256.New(), sha256.New()
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	if _, err := io.Copy(own, body); err != nil {
		return false, err
	}
	if _, err := objstore.Fetch(ctx, w.out, key, found); err != nil {
		return false, err
	}
	if !bytes.Equal(own.Sum(nil), found.Sum(nil)) {
		return false, fmt.Errorf("%w: %s/%s is there with other bytes, as a worker leaves it of a job that was replaced\n  hint: remove it, and sweep the job",
			ErrConflict, w.out.URL(), key)
	}
	return false, nil
}
