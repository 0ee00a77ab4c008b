package job

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/projection"
)

// inputError is the error of an input that is not what the manifest says, or makes no sense. The worker records it as a
// Refusal.
type inputError struct{ Refusal }

func (e *inputError) Error() string { return e.Name + ": " + e.Problem }

// Hints of inputErrors.
const (
	hintUpload  = "upload the file that the manifest was made of" // for bytes that are not the manifest's
	hintNewJob  = "make the job again"
	hintVectors = "make the vectors and the job again"
	hintPolicy  = "let workers read and list the inputs (role, bucket policy, key of KMS); then send the messages of the dead-letter queue back, or run quarry job sweep"
)

// errTooLong is returned by a checkedWriter for bytes past the size that the manifest says.
var errTooLong = errors.New("more bytes than the manifest says")

// checkedWriter passes bytes on, up to a size, and hashes them.
type checkedWriter struct {
	to         io.Writer
	hash       hash.Hash
	size, most int64 // bytes that came, and that may come
}

func (w *checkedWriter) Write(p []byte) (int, error) {
	if w.size += int64(len(p)); w.size > w.most {
		return 0, errTooLong
	}
	w.hash.Write(p)
	return w.to.Write(p)
}

// fetchInput writes an input to a writer and checks its size and fingerprint. Where they are not the manifest's, it
// fetches the input once more, since the bytes may have changed on their way, or been replaced a moment ago. reset
// empties the writer before that.
func (w *Worker) fetchInput(ctx context.Context, f File, to io.Writer, reset func() error) error {
	for try := 1; ; try++ {
		checked := &checkedWriter{to: to, hash: sha256.New(), most: f.Size}
		_, err := objstore.Fetch(ctx, w.in, f.Name, checked)
		sameSize, sum := err == nil && checked.size == f.Size, hex.EncodeToString(checked.hash.Sum(nil))
		switch {
		case err != nil && !errors.Is(err, errTooLong):
			if absent, e := missing(ctx, w.in, f.Name, err); !absent {
				return deniedInput(f.Name, e)
			}
			return fmt.Errorf("there is no %s yet: %w", f.Name, objstore.ErrNotExist)
		case sameSize && sum == f.SHA256:
			return nil
		case try == 2 && !sameSize:
			return &inputError{Refusal{f.Name, fmt.Sprintf("its size is not the %d bytes that the manifest says", f.Size), hintUpload, kindBytes}}
		case try == 2:
			return &inputError{Refusal{f.Name, fmt.Sprintf("its sha256 is %s; the manifest says %s", sum, f.SHA256), hintUpload, kindBytes}}
		}
		if err := reset(); err != nil {
			return err
		}
	}
}

// readInput fetches an input into memory.
func (w *Worker) readInput(ctx context.Context, f File) ([]byte, error) {
	var b bytes.Buffer
	err := w.fetchInput(ctx, f, &b, func() error { b.Reset(); return nil })
	return b.Bytes(), err
}

// downloadInput fetches an input into a new file of the worker's folder. The caller removes it.
func (w *Worker) downloadInput(ctx context.Context, f File) (_ *os.File, err error) {
	to, err := os.Create(filepath.Join(w.dir, "shard"))
	if err != nil {
		return nil, err
	}
	err = w.fetchInput(ctx, f, to, func() error {
		_, err := to.Seek(0, io.SeekStart)
		return errors.Join(err, to.Truncate(0))
	})
	if err != nil {
		return nil, errors.Join(err, removeFile(to))
	}
	return to, nil
}

// removeFile closes and removes a file.
func removeFile(f *os.File) error { return errors.Join(f.Close(), os.Remove(f.Name())) }

// localShard is a shard on the worker's disk.
type localShard struct {
	*shardFile
	file *os.File
}

func (s *localShard) remove() error { return removeFile(s.file) }

// fetchShard downloads a shard and opens it. Where the disk is full it removes the groups that are kept there, and
// tries again.
func (w *Worker) fetchShard(ctx context.Context, s Shard) (*localShard, error) {
	file, err := w.downloadInput(ctx, s.File)
	if errors.Is(err, syscall.ENOSPC) && w.kept.clear() {
		file, err = w.downloadInput(ctx, s.File)
	}
	if err != nil {
		return nil, err
	}
	opened, err := openShard(file, s.Size, s.Name, w.projection.Models, s.Rows)
	if err != nil {
		return nil, errors.Join(err, removeFile(file))
	}
	return &localShard{opened, file}, nil
}

// loadProjection fetches the projection, unless the worker has it.
func (w *Worker) loadProjection(ctx context.Context) error {
	if w.projection != nil {
		return nil
	}
	f := w.manifest.Projection
	b, err := w.readInput(ctx, f)
	if err != nil {
		return err
	}
	p, err := projection.Parse(b)
	if err != nil {
		return &inputError{Refusal{Name: f.Name, Problem: err.Error(), Hint: "make the job again with the projection's own bytes"}}
	}
	w.projection = p
	return nil
}

// loadGroup reads a group of pairs, from disk where it is kept there. keep says whether it is to be there afterwards.
func (w *Worker) loadGroup(ctx context.Context, group int, keep bool) (*groupFile, error) {
	g := w.manifest.Groups[group]
	b, ok := w.kept.read(g.SHA256)
	if !ok {
		var err error
		if b, err = w.readInput(ctx, g.File); err != nil {
			return nil, err
		}
		if keep {
			w.kept.write(g.SHA256, b)
		}
	}
	if !keep {
		w.kept.remove(g.SHA256)
	}
	parsed, err := parseGroup(b, w.manifest.pairsID(group), g)
	if err != nil {
		return nil, &inputError{Refusal{Name: g.Name, Problem: err.Error(), Hint: hintNewJob}}
	}
	return parsed, nil
}
