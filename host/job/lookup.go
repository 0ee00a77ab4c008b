package job

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quarry-hn/quarry/host/objstore"
)

// concurrentRequests is how many small requests are under way at a time: look-ups, removals, reads of the start of an
// object.
const concurrentRequests = 16

// errUnlisted is in errors of an object that is denied, or missing: the list may not be read either.
var errUnlisted = errors.New("and it may not be listed, which would tell whether it is there")

// missing finds out what the error of a look-up means: true where the object is not there, otherwise an error, which is
// nil for a nil error. S3 says that a missing object is denied to whoever may not list it, and its documentation does
// not say what it answers where a policy allows to list below a prefix. So where an object is denied, the list decides;
// where that may not be read either, the object stays denied.
func missing(ctx context.Context, s objstore.Store, key string, err error) (bool, error) {
	if errors.Is(err, objstore.ErrNotExist) {
		return true, nil
	}
	if !errors.Is(err, objstore.ErrDenied) {
		return false, err
	}
	for object, e := range s.List(ctx, key, "") {
		if e != nil {
			return false, fmt.Errorf("%w (%w: %w)", err, errUnlisted, e)
		}
		if object.Key == key {
			return false, err
		}
		break // the key would be the first of the list
	}
	return true, nil
}

// exists reports whether an object is there.
func exists(ctx context.Context, s objstore.Store, key string) (bool, error) {
	_, err := s.Head(ctx, key)
	absent, err := missing(ctx, s, key, err)
	return err == nil && !absent, err
}

// read reads an object of at most limit bytes. The error is objstore.ErrNotExist where it is not there.
func read(ctx context.Context, s objstore.Store, key string, limit int64) ([]byte, objstore.Object, error) {
	b, object, err := objstore.ReadAll(ctx, s, key, limit)
	if absent, e := missing(ctx, s, key, err); e != nil || !absent {
		return b, object, e
	}
	return nil, object, fmt.Errorf("get %s/%s: %w", s.URL(), key, objstore.ErrNotExist)
}

// lookedUp is what a look-up told of an input.
type lookedUp struct {
	there    bool
	modified time.Time // when it was uploaded; zero where that is not known
}

// lookUp looks for some inputs. One that is denied counts as there: to mine it fails, and says so.
func (w *Worker) lookUp(ctx context.Context, files []File) ([]lookedUp, error) {
	found := make([]lookedUp, len(files))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrentRequests)
	for i, f := range files {
		group.Go(func() error {
			object, err := w.in.Head(ctx, f.Name)
			absent, err := missing(ctx, w.in, f.Name, err)
			if err != nil && !errors.Is(err, objstore.ErrDenied) {
				return err
			}
			found[i] = lookedUp{!absent, object.Modified}
			return nil
		})
	}
	return found, group.Wait()
}

// missingInput looks for the inputs that every shard needs, and says which one is not there. It returns "" where all are.
func (w *Worker) missingInput(ctx context.Context) (problem string, err error) {
	files := []File{w.manifest.Projection}
	for _, g := range w.manifest.Groups {
		files = append(files, g.File)
	}
	found, err := w.lookUp(ctx, files)
	if err != nil {
		return "", err
	}
	if i := slices.IndexFunc(found, func(f lookedUp) bool { return !f.there }); i >= 0 {
		return fmt.Sprintf("there is no %s yet", files[i].Name), nil
	}
	return "", nil
}

// unmined are the shards that have no part yet: those that are uploaded, with the time of their upload, which is zero
// where it is not known, and those that are not.
type unmined struct {
	uploaded []string
	at       []time.Time
	absent   []string
}

// unminedShards returns the shards whose parts are not all among those keys.
func (w *Worker) unminedShards(ctx context.Context, parts map[string]bool) (u unmined, err error) {
	var files []File
	for i, shard := range w.manifest.Shards {
		if !w.manifest.mined(i, parts) {
			files = append(files, shard.File)
		}
	}
	find := w.lookUp
	if len(files) > concurrentRequests {
		find = w.findListed
	}
	found, err := find(ctx, files)
	for i, f := range found {
		if f.there {
			u.uploaded, u.at = append(u.uploaded, files[i].Name), append(u.at, f.modified)
		} else {
			u.absent = append(u.absent, files[i].Name)
		}
	}
	return u, err
}

// findListed is lookUp of shards by a list, which takes a request for each thousand of them. Who may not list looks each
// up.
func (w *Worker) findListed(ctx context.Context, files []File) ([]lookedUp, error) {
	listed := map[string]time.Time{}
	for object, err := range w.in.List(ctx, ShardsPrefix, "") {
		if errors.Is(err, objstore.ErrDenied) {
			return w.lookUp(ctx, files)
		}
		if err != nil {
			return nil, err
		}
		listed[object.Key] = object.Modified
	}
	found := make([]lookedUp, len(files))
	for i, f := range files {
		found[i].modified, found[i].there = listed[f.Name]
	}
	return found, nil
}
