package job

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/quarry-hn/quarry/host/objstore"
)

// concurrentRequests is how many small requests are under way at a time: look-ups, removals, reads of the start of an
// object.
const concurrentRequests = 16

// notFound reports whether an error says that an object is not there, as far as the worker can know: S3 answers that an
// object is denied where it is missing and the worker may get objects but not list them.
func notFound(err error) bool {
	return errors.Is(err, objstore.ErrNotExist) || errors.Is(err, objstore.ErrDenied)
}

// exists reports whether an object is there.
func exists(ctx context.Context, s objstore.Store, key string) (bool, error) {
	_, err := s.Head(ctx, key)
	if notFound(err) {
		return false, nil
	}
	return err == nil, err
}

// uploaded reports which of some inputs are there.
func (w *Worker) uploaded(ctx context.Context, files []File) ([]bool, error) {
	there := make([]bool, len(files))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrentRequests)
	for i, f := range files {
		group.Go(func() (err error) {
			there[i], err = exists(ctx, w.in, f.Name)
			return err
		})
	}
	return there, group.Wait()
}

// missingInput looks for the inputs that every shard needs, and says which one is not there. It returns "" where all are.
func (w *Worker) missingInput(ctx context.Context) (problem string, err error) {
	files := []File{w.manifest.Projection}
	for _, g := range w.manifest.Groups {
		files = append(files, g.File)
	}
	there, err := w.uploaded(ctx, files)
	if err != nil {
		return "", err
	}
	if i := slices.Index(there, false); i >= 0 {
		return fmt.Sprintf("there is no %s yet", files[i].Name), nil
	}
	return "", nil
}

// unminedShards returns the names of the shards whose parts are not all among those keys: those that are uploaded, and
// those that are not.
func (w *Worker) unminedShards(ctx context.Context, parts map[string]bool) (uploaded, absent []string, err error) {
	var files []File
	for i, shard := range w.manifest.Shards {
		if !w.manifest.mined(i, parts) {
			files = append(files, shard.File)
		}
	}
	there, err := w.uploaded(ctx, files)
	if err != nil {
		return nil, nil, err
	}
	for i, f := range files {
		if there[i] {
			uploaded = append(uploaded, f.Name)
		} else {
			absent = append(absent, f.Name)
		}
	}
	return uploaded, absent, nil
}
