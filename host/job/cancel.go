package job

import (
	"context"
	"errors"
	"strings"

	"github.com/quarry-hn/quarry/host/objstore"
)

// Cancel makes workers do nothing from now on, and removes the parts. A result that is there stays; Cancel reports
// whether there is one. A worker that is at work may still put a part, which another Cancel removes.
func Cancel(ctx context.Context, at *Place) (finished bool, err error) {
	if _, err := checkSource(ctx, at.In, at.Out); err != nil {
		return false, err
	}
	if err := at.putCancelled(ctx); err != nil {
		return false, err
	}
	for _, prefix := range []string{partsPrefix, idsPrefix} {
		if _, err := removeAll(ctx, at.Out, prefix, ""); err != nil {
			return false, err
		}
	}
	_, err = readResult(ctx, at.In, at.Out)
	if errors.Is(err, objstore.ErrNotExist) || errors.Is(err, ErrReplaced) {
		return false, nil
	}
	return err == nil, err
}

// putCancelled puts the object that makes workers do nothing from now on.
func (p *Place) putCancelled(ctx context.Context) error {
	return p.Out.Put(ctx, cancelledKey, strings.NewReader("{\"format\":\"quarry.cancelled.v1\"}\n"))
}
