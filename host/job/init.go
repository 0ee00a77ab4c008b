package job

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
)

// concurrentUploads is how many shards are uploaded at a time. Each holds its ids in memory.
const concurrentUploads = 4

// maxShard is the size of the largest shard, in bytes. Tests set a smaller one.
var maxShard int64 = objstore.MaxPut

// InitOptions say how a job is made of a folder.
type InitOptions struct {
	Mine   mining.Options // its Memory is a worker's: the pairs are cut into groups that fit it
	Shards int            // how many shards the documents are cut into
	Force  bool           // replace a job of that name, and its results

	// Uploaded is called for each shard that was uploaded, by several goroutines at once; nil means nobody asks. A
	// shard that is mined already is not uploaded.
	Uploaded func(shard File)
}

// initial is a job on its way from a folder to its place.
type initial struct {
	place      *Place
	folder     *dataset.Dataset
	projection *projection.Projection
	options    InitOptions
	plan       *mining.Plan
	manifest   *Manifest
}

// Init makes a job of a folder. It selects and projects the pairs, and uploads them, the projection, the manifest and
// then the shards. Where it was cut short it may be called again with the same inputs; it leaves what is there.
//
// Errors: option.ErrOption for a number of shards that does not do; option.ErrExists where the name is another job's and
// Force is not set.
func Init(ctx context.Context, at *Place, folder *dataset.Dataset, p *projection.Projection, o InitOptions) (m *Manifest, err error) {
	plan, err := mining.NewPlan(ctx, folder, p, o.Mine)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plan.Close(ctx)) }()
	if o.Shards < 1 || o.Shards > plan.Documents() {
		return nil, fmt.Errorf("%w: %d shards of %d documents; each has one document at least", option.ErrOption, o.Shards, plan.Documents())
	}
	i := &initial{at, folder, p, o, plan, &Manifest{Format: Format, Result: plan.Manifest(), Projection: fileOf(projectionKey, p.File)}}
	i.manifest.runID = i.manifest.Result.RunID()
	groups, manifest, err := i.describe(ctx)
	if err != nil {
		return nil, err
	}
	if err := at.claim(ctx, manifest, o.Force); err != nil {
		return nil, err
	}
	if err := i.putInputs(ctx, groups, manifest); err != nil {
		return nil, err
	}
	if err := i.uploadShards(ctx); err != nil {
		return nil, err
	}
	// A worker of a job that this one replaces may have put that job's manifest or result meanwhile.
	if err := at.checkResults(ctx, manifest); err != nil {
		return nil, err
	}
	return i.manifest, nil
}

// describe completes the manifest, and returns the groups' files and the manifest's bytes. Nothing is put yet.
func (i *initial) describe(ctx context.Context) (groups [][]byte, manifest []byte, err error) {
	if err := i.describeShards(ctx); err != nil {
		return nil, nil, err
	}
	if groups, err = i.describeGroups(ctx); err != nil {
		return nil, nil, err
	}
	if manifest, err = i.manifest.marshal(); err != nil {
		return nil, nil, err
	}
	i.manifest, err = ParseManifest(manifest)
	return groups, manifest, err
}

// describeGroups describes the groups of pairs in the manifest, and returns their files.
func (i *initial) describeGroups(ctx context.Context) (files [][]byte, err error) {
	first := 0
	for number := range i.plan.Groups() {
		g, err := i.plan.ProjectGroup(ctx, number)
		if err != nil {
			return nil, err
		}
		queries, positives, err := i.plan.GroupIDs(g)
		if err != nil {
			return nil, err
		}
		b, err := marshalGroup(g, queries, positives)
		if err != nil {
			return nil, err
		}
		files = append(files, b)
		file := fileOf(fmt.Sprintf("%s%05d.safetensors", groupsPrefix, number), b)
		i.manifest.Groups = append(i.manifest.Groups, Group{File: file, First: first, End: first + g.Pairs(), GroupSize: g.Size()})
		first += g.Pairs()
	}
	return files, nil
}

// putInputs puts all but the shards. The manifest comes last: where it is, a worker may look for the others.
func (i *initial) putInputs(ctx context.Context, groups [][]byte, manifest []byte) error {
	in := i.place.In
	for g, b := range groups {
		if err := in.Put(ctx, i.manifest.Groups[g].Name, bytes.NewReader(b)); err != nil {
			return err
		}
	}
	if err := in.Put(ctx, projectionKey, bytes.NewReader(i.projection.File)); err != nil {
		return err
	}
	if err := i.place.putResults(ctx); err != nil {
		return err
	}
	return i.place.putManifest(ctx, manifest)
}

// uploadShards puts the shards that are not mined yet.
func (i *initial) uploadShards(ctx context.Context) error {
	m := i.manifest
	parts, err := m.listParts(ctx, i.place.Out)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrentUploads)
	var done atomic.Int64
	number := -1
	for file, err := range i.shardFiles() {
		if err != nil {
			return errors.Join(err, group.Wait())
		}
		number++
		if m.mined(number, parts) {
			i.report("upload shards", int(done.Add(1)))
			continue
		}
		shard := m.Shards[number].File
		group.Go(func() error {
			err := i.place.In.Put(ctx, shard.Name, file)
			if err == nil && i.options.Uploaded != nil {
				i.options.Uploaded(shard)
			}
			i.report("upload shards", int(done.Add(1)))
			return err
		})
	}
	return group.Wait()
}

// report tells whoever asked how many shards are done.
func (i *initial) report(stage string, shards int) {
	if progress := i.options.Mine.Progress; progress != nil {
		progress(stage, int64(shards), int64(i.options.Shards))
	}
}

// Fitted returns the projection of the job that is there, for projection.FitOptions. It returns nil where there is no
// job, or its projection is not the one that its manifest names.
func (p *Place) Fitted(ctx context.Context) (*projection.Projection, error) {
	var manifest *Manifest
	b, _, err := objstore.ReadAll(ctx, p.In, ManifestKey, maxManifest)
	if err == nil {
		if manifest, err = ParseManifest(b); err != nil {
			return nil, nil // Init says what is wrong with it
		}
		b, _, err = objstore.ReadAll(ctx, p.In, projectionKey, manifest.Projection.Size)
	}
	if errors.Is(err, objstore.ErrNotExist) || errors.Is(err, objstore.ErrTooLarge) {
		return nil, nil
	}
	if err != nil || fileOf(projectionKey, b) != manifest.Projection {
		return nil, err
	}
	fitted, _ := projection.Parse(b) // it has the manifest's bytes; where these are no projection, Init says so
	return fitted, nil
}
