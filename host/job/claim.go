package job

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
)

// removePasses is how often a job's objects are listed and removed: until a list is empty, and at most so often.
const removePasses = 5

// claim makes sure that the name is this manifest's: either no other job has it, or with force what the other left is
// removed. A job whose inputs were removed still has its name as long as it has results.
func (p *Place) claim(ctx context.Context, manifest []byte, force bool) error {
	if force {
		return p.replace(ctx, manifest)
	}
	if err := p.checkManifest(ctx, p.In, manifest); err != nil {
		return err
	}
	if recorded, err := recordedResults(ctx, p.In); err != nil {
		return err
	} else if recorded != "" && p.results != "" && strings.TrimRight(recorded, "/") != p.results {
		return fmt.Errorf("%s is there with its results in %s, and the name %w\n  hint: give it the same --results, choose another --job, or replace it with --force",
			p.In.URL(), recorded, option.ErrExists)
	}
	if _, err := checkSource(ctx, p.In, p.Out); errors.Is(err, ErrPlace) {
		return fmt.Errorf("the name %w: %w", option.ErrExists, err)
	} else if err != nil {
		return err
	}
	if _, err := p.Out.Head(ctx, cancelledKey); err == nil {
		return fmt.Errorf("%s was cancelled, and what is left of it %w\n  hint: choose another --job, or replace it with --force", p.In.URL(), option.ErrExists)
	} else if !errors.Is(err, objstore.ErrNotExist) {
		return err
	}
	return p.checkResults(ctx, manifest)
}

// putManifest puts the manifest among the inputs. Another Init may have put its own since claim looked; then claim decides.
func (p *Place) putManifest(ctx context.Context, manifest []byte) error {
	err := p.In.PutNew(ctx, ManifestKey, bytes.NewReader(manifest))
	if errors.Is(err, objstore.ErrExists) {
		return p.claim(ctx, manifest, false)
	}
	return err
}

// checkResults fails where the manifest among the results, or the result itself, is another job's.
func (p *Place) checkResults(ctx context.Context, manifest []byte) error {
	if err := p.checkManifest(ctx, p.Out, manifest); err != nil {
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

// checkManifest fails where a store has a manifest of other bytes. Workers go by the one among the results.
func (p *Place) checkManifest(ctx context.Context, s objstore.Store, manifest []byte) error {
	found, _, err := objstore.ReadAll(ctx, s, ManifestKey, maxManifest)
	if errors.Is(err, objstore.ErrNotExist) || err == nil && bytes.Equal(found, manifest) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%s is another job's, or was made of other inputs or options, and %w\n  hint: choose another --job, or replace it with --force",
		s.URL(), option.ErrExists)
}

// replace removes all objects of the job that has the name, and puts the new manifest among the results, before a
// worker of the old job can put the old one there. Until that is done the name is cancelled. So no worker begins, and
// where replace is cut short, no Init without force takes what is left for its own. A record says that the job replaced
// another: what a worker of that one puts late is then overwritten.
func (p *Place) replace(ctx context.Context, manifest []byte) error {
	m, err := ParseManifest(manifest)
	if err != nil {
		return err
	}
	if err := p.putCancelled(ctx); err != nil {
		return err
	}
	old, err := p.manifests(ctx)
	if err != nil {
		return err
	}
	for _, s := range []objstore.Store{p.In, p.Out} {
		for removed, pass := -1, 0; removed != 0 && pass < removePasses; pass++ { // a worker at work may put more
			if removed, err = removeAll(ctx, s, "", cancelledKey); err != nil {
				return err
			}
		}
	}
	if err := p.pinNew(ctx, manifest, old); err != nil {
		return err
	}
	record := marshalRecord(sourceRecord{Format: sourceFormat, Inputs: p.In.URL(), Run: m.runID, Replaced: true})
	if err := p.Out.Put(ctx, sourceKey, record); err != nil {
		return err
	}
	return p.Out.Delete(ctx, cancelledKey)
}

// manifests returns the manifests that are there.
func (p *Place) manifests(ctx context.Context) (all [][]byte, err error) {
	for _, s := range []objstore.Store{p.In, p.Out} {
		b, _, err := objstore.ReadAll(ctx, s, ManifestKey, maxManifest)
		if err == nil {
			all = append(all, b)
		} else if !errors.Is(err, objstore.ErrNotExist) && !errors.Is(err, objstore.ErrTooLarge) {
			return nil, err
		}
	}
	return all, nil
}

// pinNew puts the manifest among the results. Where a worker of the old job has put an old one there meanwhile, it is
// overwritten. Any other is of another Init, which replaces the job at the same time.
func (p *Place) pinNew(ctx context.Context, manifest []byte, old [][]byte) error {
	err := p.Out.PutNew(ctx, ManifestKey, bytes.NewReader(manifest))
	if !errors.Is(err, objstore.ErrExists) {
		return err
	}
	found, _, err := objstore.ReadAll(ctx, p.Out, ManifestKey, maxManifest)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(old, func(b []byte) bool { return bytes.Equal(b, found) }) {
		return p.Out.Put(ctx, ManifestKey, bytes.NewReader(manifest))
	}
	return p.checkManifest(ctx, p.Out, manifest)
}

// removeAll removes every object whose key begins with prefix, except one, and returns how many it removed.
func removeAll(ctx context.Context, s objstore.Store, prefix, except string) (n int, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrentRequests)
	for object, err := range s.List(ctx, prefix, "") {
		if err != nil {
			return n, errors.Join(err, group.Wait())
		}
		if object.Key != except {
			n++
			group.Go(func() error { return s.Delete(ctx, object.Key) })
		}
	}
	return n, group.Wait()
}
