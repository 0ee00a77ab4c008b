// Package objstore is the few operations on objects that sharded jobs need, with S3, a folder, and memory behind them.
//
// Input: a URL, s3://bucket/prefix or a folder's path; output: a Store, whose keys are below it. Package job calls
// it. Every Store passes the contract suite in package storetest.
package objstore

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

var (
	// ErrNotExist is returned, wrapped, for an object that is not there.
	ErrNotExist = errors.New("there is no such object")
	// ErrExists is returned, wrapped, by PutNew where the object is there already. It may be the one that this caller
	// put just before: the answer to that put was lost, and the store tried again.
	ErrExists = errors.New("the object is there already")
	// ErrChanged is returned, wrapped, by Get where the object has another ETag than the one that was asked for.
	ErrChanged = errors.New("the object has changed")
	// ErrNoBucket is returned, wrapped, where the bucket of an S3 store is missing.
	ErrNoBucket = errors.New("there is no such bucket")
	// ErrKey is returned, wrapped, for a string that is not a valid key: see Object.
	ErrKey = errors.New("not a key")
	// ErrDenied is returned, wrapped, where the store does not allow the operation. S3 also answers so for an object
	// that is not there, if the caller may not list the bucket.
	ErrDenied = errors.New("not allowed")
	// ErrThrottled is returned, wrapped, where S3 asked for fewer requests in its last answer. Where the context ended
	// before the next attempt, the error is the context's too.
	ErrThrottled = errors.New("fewer requests are asked for")
)

// Object is what a store says of an object. A key is UTF-8 without NUL, and slashes separate its parts. No part is
// empty, "." or "..". No key may be the folder of another: where a is an object, a store may refuse a/b.
type Object struct {
	Key  string // below the store's prefix
	Size int64  // bytes
	ETag string // another where the bytes are others. S3 gives it; of a file, it is made of size, time and inode number
	// Modified is when the object was last written, by the store's clock, in UTC. S3 gives whole seconds. It is zero
	// where the store does not say.
	Modified time.Time
}

// Store is objects by key. Its methods may be called by several goroutines at once. An error names the operation and
// the object. It is one of those above, or an error of the network or the disk. The store has then tried again already,
// where that could help at once (see retry.go); to try again later may still help.
type Store interface {
	// URL says where the store is: s3://bucket/prefix, or a folder's path.
	URL() string
	// Head looks an object up.
	Head(ctx context.Context, key string) (Object, error)
	// Get reads an object from byte from on. With an etag that is not empty it fails with ErrChanged where the object
	// has another. The reader fails with io.ErrUnexpectedEOF where the object ends early. From the object's end on, or
	// past it, there is nothing to read, which is no error.
	Get(ctx context.Context, key string, from int64, etag string) (io.ReadCloser, Object, error)
	// Put writes an object, whole or not at all, in place of what is there. It reads body from its current position on;
	// where it tries again, it reads body again.
	Put(ctx context.Context, key string, body io.ReadSeeker) error
	// PutNew is Put for an object that is not there yet. Where it is there already, PutNew fails with ErrExists and
	// changes nothing. Of several processes that put the same object at once, one succeeds.
	PutNew(ctx context.Context, key string, body io.ReadSeeker) error
	// List gives the objects whose keys begin with prefix and come after the key after, in the order of their keys'
	// bytes. It asks for a page at a time. It leaves out what is there under a name that is not a valid key, such as
	// the folder/ that S3's console makes. An error ends it.
	List(ctx context.Context, prefix, after string) iter.Seq2[Object, error]
	// Folders gives the names of the folders directly below prefix that come after the name after, in the order of the
	// keys in them: a-b, a, a0. A name has no slash. prefix is empty or ends in a slash; anything else fails with ErrKey.
	// A folder holds an object, at any depth. S3 also names a folder that holds only what has no valid key. Folders asks
	// for a page of names at a time, however many objects the folders hold. An error ends it.
	Folders(ctx context.Context, prefix, after string) iter.Seq2[string, error]
	// Delete removes an object. It succeeds where the object is not there.
	Delete(ctx context.Context, key string) error
}
