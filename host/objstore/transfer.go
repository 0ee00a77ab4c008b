package objstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// ErrTooLarge is returned, wrapped, by ReadAll where an object is larger than its limit.
var ErrTooLarge = errors.New("the object is too large")

// Fetch writes an object to w, whole. Where a read fails or ends early, it goes on from there, as long as bytes come
// (see retry.go). Where the object has changed meanwhile, and some of it is written already, it fails with ErrChanged.
// An error of w comes back as it is. After an error w may have a part of the object.
func Fetch(ctx context.Context, s Store, key string, w io.Writer) (Object, error) {
	return fetch(ctx, s, key, w, func(Object) error { return nil })
}

// fetch is Fetch, and calls check before it writes an object.
func fetch(ctx context.Context, s Store, key string, w io.Writer, check func(Object) error) (Object, error) {
	to := &countingWriter{w: w}
	var o Object
	var last error // of the try before
	for failed := 0; ; {
		before := to.n
		err := fetchOnce(ctx, s, key, to, &o, check)
		if err == nil {
			return o, nil
		}
		if ctx.Err() != nil {
			return Object{}, cutShort(err, last)
		}
		if errors.Is(err, ErrChanged) && to.n == 0 {
			o = Object{} // nothing of the old object is written, so the new one will do
		}
		if failed++; to.n > before {
			failed = 1
		}
		// Without an ETag nothing tells whether the rest would be the same object's.
		if failed == fetchTries || isFinal(err, to.n) || to.n > 0 && o.ETag == "" {
			return Object{}, err
		}
		if last = err; fetchPause(ctx, failed) != nil {
			return Object{}, cutShort(fmt.Errorf("get %s/%s: %w", s.URL(), key, ctx.Err()), last)
		}
	}
}

// cutShort is the error of a Fetch that the context's end cut off. It says what the try before came to, if there was one.
func cutShort(err, last error) error {
	if last == nil {
		return err
	}
	return fmt.Errorf("%w; before that: %w", err, last)
}

// fetchOnce reads an object on, from the byte that to needs next.
func fetchOnce(ctx context.Context, s Store, key string, to *countingWriter, o *Object, check func(Object) error) error {
	r, now, err := s.Get(ctx, key, to.n, o.ETag)
	if err != nil {
		return err
	}
	*o = now
	if err := check(now); err != nil {
		_ = r.Close()
		return &callerError{err}
	}
	_, err = io.Copy(to, r)
	if e := r.Close(); err == nil && e != nil && to.n < now.Size {
		err = e
	}
	if err != nil && to.n >= now.Size && !errors.As(err, new(*callerError)) {
		return &callerError{err} // every byte came, and one of them is wrong: to read on would not help
	}
	return err
}

// callerError is an error that to read again cannot mend, since it is not of the store: of the writer, or of a check.
type callerError struct{ error }

func (c *callerError) Unwrap() error { return c.error }

// countingWriter counts the bytes that w took.
type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	if err != nil {
		err = &callerError{err}
	}
	return n, err
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
