package job

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
)

// uploads is how many shards are uploaded at a time; each holds its ids in memory.
const uploads = 4

// maxShard is the largest shard; tests have less.
var maxShard int64 = objstore.MaxPut

// removeTries is how often a job's objects are listed and removed, as long as there are any.
const removeTries = 5

// InitOptions say how a job is made of a folder.
type InitOptions struct {
	Mine   mining.Options // its Memory is what a worker may take: the pairs go in groups that fit it
	Shards int            // how many shards the documents are cut into
	Force  bool           // replace a job of that name, and what came of it

	// Uploaded, where it is not nil, is called for each shard that was uploaded, by several goroutines at once. Shards that are mined are not.
	Uploaded func(shard File)
}

// Init makes a job of a folder: it selects and projects the pairs and uploads them, the projection, the manifest and then the shards. It may be
// called again where it was cut short, with the same inputs: what is there stays.
func Init(ctx context.Context, at *Place, folder *dataset.Dataset, p *projection.Projection, o InitOptions) (m *Manifest, err error) {
	j, err := mining.NewPlan(ctx, folder, p, o.Mine)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, j.Close(ctx)) }()
	if o.Shards < 1 || o.Shards > j.Documents() {
		return nil, fmt.Errorf("%w: %d shards of %d documents; each has one document at least", option.ErrOption, o.Shards, j.Documents())
	}
	m = &Manifest{Format: Format, Result: j.Manifest(), Projection: fileOf(projectionKey, p.File)}
	m.run = m.Result.RunID()
	if err := m.cut(ctx, j, folder, p, o); err != nil {
		return nil, err
	}
	if err := m.checkSizes(); err != nil {
		return nil, err
	}
	groups, err := m.addPairs(ctx, j)
	if err != nil {
		return nil, err
	}
	file, err := m.marshal()
	if err != nil {
		return nil, err
	}
	if m, err = ParseManifest(file); err != nil {
		return nil, err
	}
	if err := at.vacate(ctx, file, o.Force); err != nil {
		return nil, err
	}
	for g, b := range groups {
		if err := at.In.Put(ctx, m.Pairs[g].Name, bytes.NewReader(b)); err != nil {
			return nil, err
		}
	}
	if err := at.In.Put(ctx, projectionKey, bytes.NewReader(p.File)); err != nil {
		return nil, err
	}
	if err := at.putManifest(ctx, file); err != nil {
		return nil, err
	}
	if err := m.upload(ctx, at, j, folder, p, o); err != nil {
		return nil, err
	}
	if err := at.begun(ctx, file); err != nil { // a worker of a job that this one replaced may have put that one's
		return nil, err
	}
	return m, nil
}

// Fitted is the projection of the job that is there, for FitOptions; nil where there is none, or not the one that its manifest names.
func (p *Place) Fitted(ctx context.Context) (*projection.Projection, error) {
	var manifest *Manifest
	b, _, err := objstore.ReadAll(ctx, p.In, ManifestKey, maxManifest)
	if err == nil {
		manifest, err = ParseManifest(b)
		if err != nil {
			return nil, nil // Init says what is there
		}
		b, _, err = objstore.ReadAll(ctx, p.In, projectionKey, manifest.Projection.Size)
	}
	if errors.Is(err, objstore.ErrNotExist) || errors.Is(err, objstore.ErrTooLarge) {
		return nil, nil
	}
	if err != nil || fileOf(projectionKey, b) != manifest.Projection {
		return nil, err
	}
	fitted, _ := projection.Parse(b) // where it is none, Init says what is there
	return fitted, nil
}

// putManifest puts the manifest. One that is there must be the same: another Init may have put its own since vacate looked.
func (p *Place) putManifest(ctx context.Context, manifest []byte) error {
	err := p.In.PutNew(ctx, ManifestKey, bytes.NewReader(manifest))
	if errors.Is(err, objstore.ErrExists) {
		return p.vacate(ctx, manifest, false)
	}
	return err
}

func fileOf(name string, b []byte) File {
	sum := sha256.Sum256(b)
	return File{Name: name, Size: int64(len(b)), SHA256: hex.EncodeToString(sum[:])}
}

// vacate fails where another job has the name, unless it may be replaced. One whose inputs were removed has it by its results.
func (p *Place) vacate(ctx context.Context, manifest []byte, force bool) error {
	if force {
		return p.replace(ctx, manifest)
	}
	if err := p.owns(ctx, p.In, manifest); err != nil {
		return err
	}
	if _, err := p.Out.Head(ctx, cancelledKey); err == nil {
		return fmt.Errorf("%s was cancelled, and what is left of it %w\n  hint: choose another --job, or replace it with --force", p.In.URL(), option.ErrExists)
	} else if !errors.Is(err, objstore.ErrNotExist) {
		return err
	}
	return p.begun(ctx, manifest)
}

// begun fails where the results are another job's.
func (p *Place) begun(ctx context.Context, manifest []byte) error {
	if err := p.owns(ctx, p.Out, manifest); err != nil {
		return err
	}
	_, err := readResult(ctx, p.In, p.Out)
	switch {
	case errors.Is(err, ErrReplaced):
		return fmt.Errorf("the name %w: %w", option.ErrExists, err)
	case errors.Is(err, objstore.ErrNotExist):
		return nil
	}
	return err
}

// owns fails where a store has another job's manifest. That of the results is what workers go by, whatever is in the other.
func (p *Place) owns(ctx context.Context, s objstore.Store, manifest []byte) error {
	there, _, err := objstore.ReadAll(ctx, s, ManifestKey, maxManifest)
	if errors.Is(err, objstore.ErrNotExist) || err == nil && bytes.Equal(there, manifest) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%s is another job's, or was made of other inputs or options, and %w\n  hint: choose another --job, or replace it with --force",
		s.URL(), option.ErrExists)
}

// replace removes all objects of a job, and has workers go by the new manifest, which one of the old job could put its own in place of. Until all of
// that is done the job is cancelled: no worker begins, and where this is cut short no Init takes what is left for its own.
func (p *Place) replace(ctx context.Context, manifest []byte) error {
	if err := p.stop(ctx); err != nil {
		return err
	}
	for _, s := range []objstore.Store{p.In, p.Out} {
		for removed, try := -1, 0; removed != 0 && try < removeTries; try++ { // a worker at work may put more
			var err error
			if removed, err = removeAll(ctx, s, "", cancelledKey); err != nil {
				return err
			}
		}
	}
	err := p.Out.PutNew(ctx, ManifestKey, bytes.NewReader(manifest))
	if errors.Is(err, objstore.ErrExists) {
		err = p.owns(ctx, p.Out, manifest)
	}
	if err != nil {
		return err
	}
	return p.Out.Delete(ctx, cancelledKey)
}

// removeAll removes every object whose key begins with prefix, but one, and counts them.
func removeAll(ctx context.Context, s objstore.Store, prefix, but string) (n int, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(heads)
	for object, err := range s.List(ctx, prefix, "") {
		if err != nil {
			return n, errors.Join(err, group.Wait())
		}
		if object.Key != but {
			n++
			group.Go(func() error { return s.Delete(ctx, object.Key) })
		}
	}
	return n, group.Wait()
}

// addPairs describes the groups of pairs and returns their files.
func (m *Manifest) addPairs(ctx context.Context, j *mining.Plan) (files [][]byte, err error) {
	first := 0
	for number := range j.Groups() {
		g, err := j.Group(ctx, number)
		if err != nil {
			return nil, err
		}
		queries, positives, err := j.GroupIDs(g)
		if err != nil {
			return nil, err
		}
		b, err := marshalPairs(g, queries, positives)
		if err != nil {
			return nil, err
		}
		files = append(files, b)
		name := fmt.Sprintf("%s%05d.safetensors", pairsPrefix, number)
		m.Pairs = append(m.Pairs, Pairs{File: fileOf(name, b), First: first, End: first + g.Pairs(), GroupSize: g.Size()})
		first += g.Pairs()
	}
	return files, nil
}

// files gives the shards' files, in order; each is made as it is read.
func (m *Manifest) files(j *mining.Plan, folder *dataset.Dataset, p *projection.Projection) iter.Seq2[*io.SectionReader, error] {
	return func(yield func(*io.SectionReader, error) bool) {
		var err error
		next, stop := iter.Pull(folder.Documents.All(&err))
		defer stop()
		for _, s := range m.Shards {
			names := make([]string, 0, s.Rows)
			for range s.Rows {
				id, ok := next()
				if !ok {
					yield(nil, errors.Join(err, fmt.Errorf("%s changed while it was read", folder.Documents.Name())))
					return
				}
				names = append(names, id)
			}
			if !yield(newShard(p.Models, j.Matrices(), int(s.First), s.Rows, names)) {
				return
			}
		}
	}
}

// cut describes the shards: as many, as alike in size as can be. Their bytes are made once here, for the fingerprints, and again to be uploaded.
func (m *Manifest) cut(ctx context.Context, j *mining.Plan, folder *dataset.Dataset, p *projection.Projection, o InitOptions) error {
	n := j.Documents()
	for i := range o.Shards {
		first, end := i*n/o.Shards, (i+1)*n/o.Shards
		m.Shards = append(m.Shards, Shard{File: File{Name: fmt.Sprintf("%s%06d.safetensors", ShardsPrefix, i)}, First: int64(first), Rows: end - first})
	}
	i := 0
	for file, err := range m.files(j, folder, p) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		sum := sha256.New()
		if m.Shards[i].Size, err = io.Copy(sum, file); err != nil {
			return err
		}
		m.Shards[i].SHA256 = hex.EncodeToString(sum.Sum(nil))
		i++
		report(o.Mine.Progress, "cut shards", i, o.Shards)
	}
	return nil
}

// checkSizes fails where S3 would not take a shard, before anything is put.
func (m *Manifest) checkSizes() error {
	for _, s := range m.Shards {
		if s.Size > maxShard {
			return fmt.Errorf("%w: %d shards, of which %s has %d bytes; a shard has at most %d\n  hint: about %d shards would do",
				option.ErrOption, len(m.Shards), s.Name, s.Size, maxShard, int64(len(m.Shards))*s.Size/maxShard+1)
		}
	}
	return nil
}

// upload puts the shards that are not mined yet.
func (m *Manifest) upload(ctx context.Context, at *Place, j *mining.Plan, folder *dataset.Dataset, p *projection.Projection, o InitOptions) error {
	mined, err := m.listParts(ctx, at.Out)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(uploads)
	var done atomic.Int64
	i := 0
	for file, err := range m.files(j, folder, p) {
		if err != nil {
			return errors.Join(err, group.Wait())
		}
		number := i
		i++
		if m.mined(number, mined) {
			report(o.Mine.Progress, "upload shards", int(done.Add(1)), o.Shards)
			continue
		}
		group.Go(func() error {
			err := at.In.Put(ctx, m.Shards[number].Name, file)
			if err == nil && o.Uploaded != nil {
				o.Uploaded(m.Shards[number].File)
			}
			report(o.Mine.Progress, "upload shards", int(done.Add(1)), o.Shards)
			return err
		})
	}
	return group.Wait()
}

func report(p option.Progress, stage string, done, total int) {
	if p != nil {
		p(stage, int64(done), int64(total))
	}
}
