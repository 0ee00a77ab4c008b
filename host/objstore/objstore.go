// Package objstore is the few operations on objects that sharded jobs need, with S3, a folder, and memory behind them.
//
// In goes a URL, s3://bucket/prefix or a folder's path; out comes a Store, whose keys are below it. Package job calls it. Every Store passes
// the contract suite in package storetest.
package objstore

import (
	"context"
	"errors"
	"io"
	"iter"
)

var (
	// ErrNotExist is returned, wrapped, where there is no such object.
	ErrNotExist = errors.New("there is no such object")
	// ErrExists is returned, wrapped, by PutNew where the object is there already. It may be the caller's own, whose answer was lost.
	ErrExists = errors.New("the object is there already")
	// ErrChanged is returned, wrapped, by Get where the object is not the one that was asked for any more.
	ErrChanged = errors.New("the object has changed")
	// ErrNoBucket is returned, wrapped, where the bucket of an S3 store is missing.
	ErrNoBucket = errors.New("there is no such bucket")
	// ErrKey is returned, wrapped, where a key is none: see Object.
	ErrKey = errors.New("not a key")
	// ErrDenied is returned, wrapped, where the store does not allow the operation. S3 answers so for an object that is not there where the
	// caller may not list the bucket.
	ErrDenied = errors.New("not allowed")
)

// Object is what a store says of an object. A key is UTF-8 without NUL; none of its parts is empty, . or .. . Of two keys neither is the
// other's folder: where a is an object, a/b may be refused.
type Object struct {
	Key      string // below the store's prefix; slashes separate its parts
	Size     int64  // bytes
	Identity string // differs where the bytes differ: S3's ETag; of a file, its size, time and number
}

// Store is objects by key. Its methods may be called by several goroutines at once. Errors name the operation and the object, and are one of
// those above, or of the network or the disk, where trying again may help; what is worth trying at once has been tried.
type Store interface {
	// URL says where the store is: s3://bucket/prefix, or a folder's path.
	URL() string
	// Head looks an object up.
	Head(ctx context.Context, key string) (Object, error)
	// Get reads an object from a byte on. With an identity it fails with ErrChanged where the object has another. The reader fails with
	// io.ErrUnexpectedEOF where the object ends early. An offset at or past the end gives a reader of nothing.
	Get(ctx context.Context, key string, from int64, identity string) (io.ReadCloser, Object, error)
	// Put writes an object, whole or not at all, in place of what is there. It reads body from its current position, more than once where it
	// tries again.
	Put(ctx context.Context, key string, body io.ReadSeeker) error
	// PutNew is Put, but where the object is there already, even if it came this moment from another process, it fails with ErrExists and
	// changes nothing.
	PutNew(ctx context.Context, key string, body io.ReadSeeker) error
	// List gives the objects whose keys begin with prefix and come after the key after, in the order of their keys' bytes, a page at a time.
	// What is there under a name that is no key, such as a folder/ made in S3's console, is left out. An error ends it.
	List(ctx context.Context, prefix, after string) iter.Seq2[Object, error]
	// Delete removes an object. One that is not there is no error.
	Delete(ctx context.Context, key string) error
}
