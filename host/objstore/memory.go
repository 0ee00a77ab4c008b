package objstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// content is an object's bytes, which are never changed, only replaced.
type content struct {
	bytes    []byte
	modified time.Time
}

// memory is objects in the memory of this process, for tests and small jobs.
type memory struct {
	mu      sync.Mutex
	objects map[string]content
}

var _ Store = (*memory)(nil)

// NewMemory makes an empty store in memory.
func NewMemory() Store { return &memory{objects: map[string]content{}} }

func (m *memory) URL() string { return "memory:" }

func (m *memory) name(key string) string { return m.URL() + key }

// find looks an object up. Its ETag is a fingerprint of its bytes.
func (m *memory) find(ctx context.Context, op, key string) ([]byte, Object, error) {
	if err := m.check(ctx, op, key); err != nil {
		return nil, Object{}, err
	}
	m.mu.Lock()
	c, ok := m.objects[key]
	m.mu.Unlock()
	if !ok {
		return nil, Object{}, fmt.Errorf("%s %s: %w", op, m.name(key), ErrNotExist)
	}
	return c.bytes, describe(key, c), nil
}

func describe(key string, c content) Object {
	return Object{key, int64(len(c.bytes)), fmt.Sprintf("%x", sha256.Sum256(c.bytes)), c.modified}
}

func (m *memory) check(ctx context.Context, op, key string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s %s: %w", op, m.name(key), err)
	}
	return checkKey(op, key)
}

func (m *memory) Head(ctx context.Context, key string) (Object, error) {
	_, o, err := m.find(ctx, "head", key)
	return o, err
}

func (m *memory) Get(ctx context.Context, key string, from int64, etag string) (io.ReadCloser, Object, error) {
	if err := checkFrom("get", m.name(key), from); err != nil {
		return nil, Object{}, err
	}
	b, o, err := m.find(ctx, "get", key)
	if err != nil {
		return nil, Object{}, err
	}
	if etag != "" && etag != o.ETag {
		return nil, Object{}, fmt.Errorf("get %s: %w", m.name(key), ErrChanged)
	}
	from = min(from, o.Size)
	return &objectReader{ctx, m.name(key), io.NopCloser(bytes.NewReader(b[from:])), from, o.Size}, o, nil
}

func (m *memory) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	return m.put(ctx, key, body, true)
}

func (m *memory) PutNew(ctx context.Context, key string, body io.ReadSeeker) error {
	return m.put(ctx, key, body, false)
}

func (m *memory) put(ctx context.Context, key string, body io.Reader, replace bool) error {
	if err := m.check(ctx, "put", key); err != nil {
		return err
	}
	b, err := io.ReadAll(contextReader{ctx, body})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", m.name(key), err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, taken := m.objects[key]; taken && !replace {
		return fmt.Errorf("put %s: %w", m.name(key), ErrExists)
	}
	m.objects[key] = content{b, time.Now().Round(0).UTC()} // without the monotonic clock, times compare with ==
	return nil
}

func (m *memory) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		m.mu.Lock()
		objects := maps.Clone(m.objects)
		m.mu.Unlock()
		for _, key := range slices.Sorted(maps.Keys(objects)) {
			if err := ctx.Err(); err != nil {
				yield(Object{}, fmt.Errorf("list %s: %w", m.name(prefix), err))
				return
			}
			if strings.HasPrefix(key, prefix) && key > after && !yield(describe(key, objects[key]), nil) {
				return
			}
		}
	}
}

func (m *memory) Folders(ctx context.Context, prefix, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := checkPrefix(prefix); err != nil {
			yield("", err)
			return
		}
		last := ""
		for o, err := range m.List(ctx, prefix, "") {
			if err != nil {
				yield("", err)
				return
			}
			name, _, inside := strings.Cut(strings.TrimPrefix(o.Key, prefix), "/")
			if !inside || name == last || !isAfter(name, after) {
				continue
			}
			if last = name; !yield(name, nil) {
				return
			}
		}
	}
}

func (m *memory) Delete(ctx context.Context, key string) error {
	if err := m.check(ctx, "delete", key); err != nil {
		return err
	}
	m.mu.Lock()
	delete(m.objects, key)
	m.mu.Unlock()
	return nil
}
