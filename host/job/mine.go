package job

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/abi"
)

// heads is how many objects are looked up at a time.
const heads = 16

// lacks says what the manifest names, shards aside, and is not there; nothing where it is all there.
func (w *Worker) lacks(ctx context.Context) (string, error) {
	files := []File{w.manifest.Projection}
	for _, g := range w.manifest.Pairs {
		files = append(files, g.File)
	}
	there, err := w.there(ctx, files)
	if err != nil {
		return "", err
	}
	if i := slices.Index(there, false); i >= 0 {
		return fmt.Sprintf("there is no %s yet", files[i].Name), nil
	}
	return "", nil
}

// missing sorts the shards whose parts are not all among those keys: those that are uploaded, and those that are not.
func (w *Worker) missing(ctx context.Context, parts map[string]bool) (uploaded, absent []string, err error) {
	var files []File
	for i, shard := range w.manifest.Shards {
		if !w.manifest.mined(i, parts) {
			files = append(files, shard.File)
		}
	}
	there, err := w.there(ctx, files)
	if err != nil {
		return nil, nil, err
	}
	for i, f := range files {
		if there[i] {
			uploaded = append(uploaded, f.Name)
		} else {
			absent = append(absent, f.Name)
		}
	}
	return uploaded, absent, nil
}

func (w *Worker) there(ctx context.Context, files []File) ([]bool, error) {
	there := make([]bool, len(files))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(heads)
	for i, f := range files {
		group.Go(func() (err error) {
			there[i], err = w.has(ctx, w.in, f.Name)
			return err
		})
	}
	return there, group.Wait()
}

// errPut marks errors of results: what may not be written is no input that is yet to come.
var errPut = errors.New("put the part")

// unlike is an input that is not what the manifest says.
type unlike struct{ file, problem, hint string }

func (u *unlike) Error() string { return u.file + ": " + u.problem }

// mine mines a shard for those groups of pairs, and puts its parts.
func (w *Worker) mine(ctx context.Context, o *Outcome, shard int, groups []int) (*Outcome, error) {
	began := time.Now()
	s := w.manifest.Shards[shard]
	o.Rows, o.Bytes = s.Rows, s.Size
	limited, cancel := w.limit(ctx)
	defer cancel()
	err := w.mineGroups(limited, ctx, o, shard, groups, began)
	u, d, a := (*unlike)(nil), (*dataset.Error)(nil), (*abi.Error)(nil)
	switch {
	case err == nil:
		o.Action = Mined
		return o, nil
	case late(limited, ctx, err):
		return nil, fmt.Errorf("%s, %d documents, %d bytes: %w: it was given up after %v\n  hint: give workers more time or memory, or make the job with more shards",
			s.Name, s.Rows, s.Size, ErrDeadline, time.Since(began).Round(time.Millisecond))
	case errors.As(err, &u):
		return w.refuse(ctx, o, u.file, u.problem, u.hint)
	case errors.As(err, &d) && (d.Err == nil || errors.As(d.Err, &a)): // with another cause it is of this worker's disk
		problem := *d
		problem.Hint = "" // it has its own place
		return w.refuse(ctx, o, s.Name, problem.Error(), cmp.Or(d.Hint, "make the vectors and the job again"))
	case errors.As(err, &a) && a.Code != abi.Internal && a.Code != abi.Memory:
		return w.refuse(ctx, o, s.Name, a.Error(), "make the job again")
	case absent(err) && !errors.Is(err, errPut):
		o.Action, o.Problem = Waits, err.Error()
		return o, nil
	}
	return nil, fmt.Errorf("%s: %w", s.Name, err)
}

// limit is a context that ends when mining must.
func (w *Worker) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if end, ok := ctx.Deadline(); ok && w.options.Reserve > 0 {
		return context.WithDeadline(ctx, end.Add(-w.options.Reserve))
	}
	return context.WithCancel(ctx)
}

// late reports whether an error is that of limited, and not of ctx itself. Others come late too, and more time does not mend them.
func late(limited, ctx context.Context, err error) bool {
	return ctx.Err() == nil && limited.Err() != nil && errors.Is(err, context.DeadlineExceeded)
}

// mineGroups reads within limited, which leaves time for putting.
func (w *Worker) mineGroups(limited, ctx context.Context, o *Outcome, shard int, groups []int, began time.Time) (err error) {
	s := w.manifest.Shards[shard]
	if most := w.options.MaxShard; most > 0 && s.Size > most {
		return &unlike{s.Name, fmt.Sprintf("%d bytes; this worker takes at most %d", s.Size, most), "make the job with more shards, or give workers more room"}
	}
	if err := w.start(limited); err != nil {
		return err
	}
	path := filepath.Join(w.dir, "shard")
	defer func() { err = errors.Join(err, os.RemoveAll(path)) }()
	err = w.download(limited, s.File, path)
	if errors.Is(err, syscall.ENOSPC) && w.forgetPairs() {
		err = w.download(limited, s.File, path)
	}
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	file, err := openShard(f, s.Size, s.Name, w.projection.Models, s.Rows)
	if err != nil {
		return err
	}
	// The group that the plugin holds since the last shard comes first.
	if held := slices.IndexFunc(groups, func(g int) bool { return w.miner.Has(w.manifest.pairsID(g)) }); held > 0 {
		groups[0], groups[held] = groups[held], groups[0]
	}
	for i, g := range groups {
		id := w.manifest.pairsID(g)
		if !w.miner.Has(id) {
			pairs, err := w.pairs(limited, g, true)
			if err == nil {
				err = w.miner.Begin(limited, pairs.Group)
			}
			if err != nil {
				return w.brokenPairs(ctx, g, err)
			}
		}
		part, err := w.miner.Mine(limited, file.documents, s.First, w.progress(i, len(groups)))
		if err != nil {
			return errors.Join(err, w.drop(ctx))
		}
		work := Work{Milliseconds: time.Since(began).Milliseconds(), MemoryMiB: w.options.PaidMemoryMiB, Rows: s.Rows, Bytes: s.Size}
		began = time.Now()
		object, err := w.manifest.marshalPart(shard, g, part, file.ids, work)
		if err != nil {
			return err
		}
		if err := w.putPart(ctx, shard, g, object); err != nil {
			return fmt.Errorf("%w: %w", errPut, err)
		}
		o.Pairs += len(part.Found)
		for _, found := range part.Found {
			o.Negatives += len(found)
		}
	}
	return nil
}

// progress reports group i of n of a shard, so that all of them are one stage.
func (w *Worker) progress(i, n int) option.Progress {
	report := w.options.Progress
	if report == nil || n == 1 {
		return report
	}
	return func(stage string, done, total int64) { report(stage, int64(i)*total+done, int64(n)*total) }
}

// brokenPairs is the error of pairs that the plugin refuses.
func (w *Worker) brokenPairs(ctx context.Context, group int, err error) error {
	if a := (*abi.Error)(nil); errors.As(err, &a) && a.Code != abi.Internal && a.Code != abi.Memory {
		err = &unlike{w.manifest.Pairs[group].Name, a.Error(), "make the job again"}
	}
	return errors.Join(err, w.drop(ctx))
}

// start loads the projection and starts the plugin's instances, where that is not done.
func (w *Worker) start(ctx context.Context) error {
	if w.projection == nil {
		f := w.manifest.Projection
		b, err := w.small(ctx, f)
		if err != nil {
			return err
		}
		p, err := projection.Parse(b)
		if err != nil {
			return &unlike{f.Name, err.Error(), "make the job again with the projection's own bytes"}
		}
		w.projection = p
	}
	if w.miner != nil {
		return nil
	}
	var largest mining.GroupSize
	for _, g := range w.manifest.Pairs {
		largest.Pairs, largest.Positives, largest.Excluded = max(largest.Pairs, g.Pairs), max(largest.Positives, g.Positives), max(largest.Excluded, g.Excluded)
	}
	var err error
	w.miner, err = mining.NewMiner(ctx, w.projection, &w.manifest.Result, w.options.Compute, largest)
	return err
}

// pairs reads a group of pairs, from disk where it was kept before, and keeps it there or not.
func (w *Worker) pairs(ctx context.Context, group int, keep bool) (*pairsFile, error) {
	of := w.manifest.Pairs[group]
	path := filepath.Join(w.dir, of.SHA256)
	b, err := os.ReadFile(path)
	kept := err == nil
	if !kept {
		if b, err = w.small(ctx, of.File); err != nil {
			return nil, err
		}
		kept = keep && os.WriteFile(path, b, 0o600) == nil
	}
	if !kept || !keep {
		_ = os.Remove(path) // it may have a part of them; without it the next time takes longer
	}
	p, err := parsePairs(b, w.manifest.pairsID(group), of)
	if err != nil {
		return nil, &unlike{of.Name, err.Error(), "make the job again"}
	}
	return p, nil
}

// forgetPairs removes the pairs that are kept on disk, and reports whether there were any.
func (w *Worker) forgetPairs() (some bool) {
	for _, g := range w.manifest.Pairs {
		some = os.Remove(filepath.Join(w.dir, g.SHA256)) == nil || some
	}
	return some
}

// small reads an input into memory and checks its fingerprint.
func (w *Worker) small(ctx context.Context, f File) ([]byte, error) {
	var b bytes.Buffer
	err := w.fetch(ctx, f, &b, b.Reset)
	return b.Bytes(), err
}

// download writes an input to a file and checks its fingerprint.
func (w *Worker) download(ctx context.Context, f File, path string) error {
	to, err := os.Create(path)
	if err != nil {
		return err
	}
	err = w.fetch(ctx, f, to, func() {
		_, _ = to.Seek(0, io.SeekStart)
		_ = to.Truncate(0)
	})
	return errors.Join(err, to.Close())
}

// fetch reads an input, a second time where its bytes are not those of the manifest: it may have been the way here, or a moment before.
func (w *Worker) fetch(ctx context.Context, f File, to io.Writer, again func()) error {
	for try := 1; ; try++ {
		sum := &measured{to: to, sum: sha256.New(), most: f.Size}
		_, err := objstore.Fetch(ctx, w.in, f.Name, sum)
		got := hex.EncodeToString(sum.sum.Sum(nil))
		switch {
		case err != nil && !errors.Is(err, errTooMuch):
			return err
		case err == nil && got == f.SHA256 && sum.n == f.Size:
			return nil
		case try == 2 && (err != nil || sum.n != f.Size):
			return &unlike{f.Name, fmt.Sprintf("its size is not the %d bytes that the manifest says", f.Size), uploadAgain}
		case try == 2:
			return &unlike{f.Name, fmt.Sprintf("its sha256 is %s; the manifest says %s", got, f.SHA256), uploadAgain}
		}
		again()
	}
}

// uploadAgain is the hint where an input's bytes are not those of the manifest.
const uploadAgain = "upload the file that the manifest was made of"

var errTooMuch = errors.New("more bytes than the manifest says")

// measured hashes what it passes on, which is at most most bytes.
type measured struct {
	to      io.Writer
	sum     hash.Hash
	n, most int64
}

func (m *measured) Write(p []byte) (int, error) {
	if m.n += int64(len(p)); m.n > m.most {
		return 0, errTooMuch
	}
	m.sum.Write(p)
	return m.to.Write(p)
}

// putPart puts a part's object. One that is there must say the same: it is another worker's, or this one's, whose answer was lost.
func (w *Worker) putPart(ctx context.Context, shard, group int, object []byte) error {
	key := w.manifest.partKey(shard, group)
	err := w.out.PutNew(ctx, key, bytes.NewReader(object))
	if !errors.Is(err, objstore.ErrExists) {
		return err
	}
	there, _, err := objstore.ReadAll(ctx, w.out, key, int64(len(object))+1<<16)
	if err != nil {
		return err
	}
	own, err := w.manifest.parsePart(object, shard, group)
	if err != nil {
		return err
	}
	other, err := w.manifest.parsePart(there, shard, group)
	if err == nil && !own.same(other) {
		err = errors.New("its negatives differ from this worker's")
	}
	if err != nil {
		return fmt.Errorf("%w: %s/%s: %v\n  hint: %s", ErrConflict, w.out.URL(), key, err, removePart)
	}
	return nil
}
