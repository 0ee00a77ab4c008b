package job

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/objstore"
)

var (
	// ErrUnfinished is returned, wrapped, by Fetch where there is no result yet.
	ErrUnfinished = errors.New("the job is not finished")
	// ErrReplaced is returned, wrapped, where the result is of a job that this one replaced. A worker of that job put
	// it afterwards.
	ErrReplaced = errors.New("it is of another job of this name, which was replaced while a worker of it was at work")
)

// hintInitAgain is the hint where a replaced job's object is in the way.
const hintInitAgain = "make the job again with quarry job init --force"

// Fetch writes the negatives to w and returns their manifest. After an error w may have been given some of them:
// ErrUnfinished, ErrReplaced, negatives that are not the manifest's, or an error of a store.
func Fetch(ctx context.Context, at *Place, w io.Writer) (*negatives.Manifest, error) {
	m, err := readResult(ctx, at.In, at.Out)
	if errors.Is(err, objstore.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w\n  hint: see quarry job status", at.Out.URL(), ErrUnfinished)
	}
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	if _, err := objstore.Fetch(ctx, at.Out, negativesKey, io.MultiWriter(w, sum)); err != nil {
		return nil, err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != m.Negatives {
		return nil, fmt.Errorf("%s/%s: its sha256 is %s; its manifest says %s\n  hint: remove %s, and run quarry job sweep: a job of this name that was replaced may have left it", at.Out.URL(), negativesKey, got, m.Negatives, negativesKey)
	}
	return m, nil
}

// readResult reads the manifest of the negatives, and checks that it is the job's and that the negatives are there.
// They are not where a worker put the negatives, the job was made anew, and the worker then put their manifest. Such a
// job is not finished: the next worker to merge finishes it. The error is objstore.ErrNotExist where there is no result,
// also where a worker of a job that this one replaced put one late: the job's own workers overwrite it.
func readResult(ctx context.Context, in, out objstore.Store) (*negatives.Manifest, error) {
	b, _, err := read(ctx, out, resultKey, maxManifest)
	if err != nil {
		return nil, err
	}
	source, err := checkSource(ctx, in, out)
	if err != nil {
		return nil, err
	}
	result := &negatives.Manifest{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(result); err != nil {
		return nil, fmt.Errorf("%s/%s: %w", out.URL(), resultKey, excerpt.Error(err))
	}
	if source.Run != result.RunID() {
		err := checkResult(ctx, in, out, result)
		if errors.Is(err, ErrReplaced) && source.Replaced {
			return nil, fmt.Errorf("%s/%s: %w of this job: %v", out.URL(), resultKey, objstore.ErrNotExist, ErrReplaced)
		}
		if err != nil {
			return nil, err
		}
	}
	there, err := exists(ctx, out, negativesKey)
	if err == nil && !there {
		err = fmt.Errorf("%s/%s: %w", out.URL(), negativesKey, objstore.ErrNotExist)
	}
	return result, err
}

// checkResult compares a result with the manifest among the results, or with that of the inputs where there is none.
func checkResult(ctx context.Context, in, out objstore.Store, result *negatives.Manifest) error {
	for _, s := range []objstore.Store{out, in} {
		b, _, err := read(ctx, s, ManifestKey, maxManifest)
		if errors.Is(err, objstore.ErrNotExist) {
			continue
		}
		var job struct { // the manifest may be one that this program does not take, but it says whose the result is
			Result negatives.Manifest `json:"result"`
		}
		if err == nil {
			err = json.Unmarshal(b, &job)
		}
		if err != nil {
			return fmt.Errorf("%s/%s: %w", s.URL(), ManifestKey, excerpt.Error(err))
		}
		if !reflect.DeepEqual(*result.Unmined(), job.Result) {
			return fmt.Errorf("%s/%s: %w\n  hint: %s", out.URL(), resultKey, ErrReplaced, hintInitAgain)
		}
		return nil
	}
	return nil
}
