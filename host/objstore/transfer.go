package objstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

const (
	fetchTries = 6 // in a row that bring no byte
	fetchPause = 250 * time.Millisecond
	fetchLong  = 8 * time.Second
)

// ErrTooLarge is returned, wrapped, by ReadAll where an object is larger than its limit.
var ErrTooLarge = errors.New("the object is too large")

// Fetch writes an object to w, whole. Where a read fails or ends early it goes on from there, as long as bytes come. Where the object has
// changed meanwhile, and some of it is written, it fails with ErrChanged. An error of w comes back as it is. After an error w may have been
// given a part.
func Fetch(ctx context.Context, s Store, key string, w io.Writer) (Object, error) {
	return fetch(ctx, s, key, w, func(Object) error { return nil })
}

// fetch calls check on what is to be written before it is.
func fetch(ctx context.Context, s Store, key string, w io.Writer, check func(Object) error) (Object, error) {
	to := &counted{w: w}
	var o Object
	for failed := 0; ; {
		before := to.n
		err := fetchOnce(ctx, s, key, to, &o, check)
		if err == nil {
			return o, nil
		}
		if errors.Is(err, ErrChanged) && to.n == 0 {
			o = Object{} // nothing of the old one is written
		}
		if failed++; to.n > before {
			failed = 1
		}
		if failed == fetchTries || final(ctx, err, to.n) || to.n > 0 && o.Identity == "" { // without one it may be another's rest
			return Object{}, err
		}
		if err := pause(ctx, failed); err != nil {
			return Object{}, fmt.Errorf("get %s/%s: %w", s.URL(), key, err)
		}
	}
}

// fetchOnce reads on from where to is.
func fetchOnce(ctx context.Context, s Store, key string, to *counted, o *Object, check func(Object) error) error {
	r, now, err := s.Get(ctx, key, to.n, o.Identity)
	if err != nil {
		return err
	}
	*o = now
	if err := check(now); err != nil {
		_ = r.Close()
		return &givenUp{err}
	}
	_, err = io.Copy(to, r)
	if e := r.Close(); err == nil && e != nil && to.n < now.Size {
		err = e
	}
	if err != nil && to.n >= now.Size && !errors.As(err, new(*givenUp)) {
		return &givenUp{err} // every byte came, and they are the wrong ones
	}
	return err
}

// final tells errors that another try would not mend.
func final(ctx context.Context, err error, written int64) bool {
	for _, e := range []error{ErrNotExist, ErrNoBucket, ErrKey, ErrDenied} {
		if errors.Is(err, e) {
			return true
		}
	}
	return ctx.Err() != nil || errors.As(err, new(*givenUp)) || errors.Is(err, ErrChanged) && written > 0
}

// givenUp is an error that is no failure of the store's.
type givenUp struct{ error }

func (g *givenUp) Unwrap() error { return g.error }

// counted counts what w took.
type counted struct {
	w io.Writer
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	if err != nil {
		err = &givenUp{err}
	}
	return n, err
}

// pause waits longer after each failure, and not for the same time as others do.
func pause(ctx context.Context, failed int) error {
	longest := min(fetchPause<<failed, fetchLong)
	timer := time.NewTimer(longest/2 + rand.N(longest/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// ReadAll fetches an object of at most limit bytes.
func ReadAll(ctx context.Context, s Store, key string, limit int64) ([]byte, Object, error) {
	var b bytes.Buffer
	o, err := fetch(ctx, s, key, &b, func(o Object) error {
		if o.Size > limit {
			return fmt.Errorf("get %s/%s: %w: %d bytes, expected at most %d", s.URL(), key, ErrTooLarge, o.Size, limit)
		}
		b.Grow(int(o.Size) - b.Len())
		return nil
	})
	if err != nil {
		return nil, Object{}, err
	}
	return b.Bytes(), o, nil
}
