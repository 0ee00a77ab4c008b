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
			return false, errors.Join(err, e)
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

// unminedShards returns the names of the shards whose parts are not all among those keys: those that are uploaded, with
// the time of their upload, and those that are not.
func (w *Worker) unminedShards(ctx context.Context, parts map[string]bool) (uploaded []string, at []time.Time, absent []string, err error) {
	var files []File
	for i, shard := range w.manifest.Shards {
		if !w.manifest.mined(i, parts) {
			files = append(files, shard.File)
		}
	}
	found, err := w.lookUp(ctx, files)
	if err != nil {
		return nil, nil, nil, err
	}
	for i, f := range files {
		if found[i].there {
			uploaded, at = append(uploaded, f.Name), append(at, found[i].modified)
		} else {
			absent = append(absent, f.Name)
		}
	}
	return uploaded, at, absent, nil
}
