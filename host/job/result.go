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

	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/objstore"
)

var (
	// ErrUnfinished is returned, wrapped, by Fetch where there is no result yet.
	ErrUnfinished = errors.New("the job is not finished")
	// ErrReplaced is returned, wrapped, where the result is not this job's: it is of one that this one replaced, whose worker was about to put it.
	ErrReplaced = errors.New("it is of another job of this name, which was replaced while a worker of it was at work")
)

// initAgain is the hint where an object of a job that was replaced is in the way.
const initAgain = "make the job again with quarry job init --force"

// Fetch writes the negatives to w and returns their manifest. What was written is checked against it.
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
		return nil, fmt.Errorf("%s/%s: its sha256 is %s; its manifest says %s\n  hint: %s", at.Out.URL(), negativesKey, got, m.Negatives, initAgain)
	}
	return m, nil
}

// readResult reads the negatives' manifest, and checks that it is of the job, and that the negatives are there: a worker that had put them may have put
// their manifest after the same job was made anew. Then the job is not finished; the next worker to merge makes it so.
func readResult(ctx context.Context, in, out objstore.Store) (*negatives.Manifest, error) {
	b, _, err := objstore.ReadAll(ctx, out, resultKey, maxManifest)
	if err != nil {
		return nil, err
	}
	result := &negatives.Manifest{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(result); err != nil {
		return nil, fmt.Errorf("%s/%s: %w", out.URL(), resultKey, err)
	}
	for _, s := range []objstore.Store{out, in} {
		b, _, err := objstore.ReadAll(ctx, s, ManifestKey, maxManifest)
		if absent(err) {
			continue
		}
		var of struct {
			Result negatives.Manifest `json:"result"`
		}
		if err == nil {
			err = json.Unmarshal(b, &of)
		}
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", s.URL(), ManifestKey, err)
		}
		if !reflect.DeepEqual(*result.Unmined(), of.Result) {
			return nil, fmt.Errorf("%s/%s: %w\n  hint: %s", out.URL(), resultKey, ErrReplaced, initAgain)
		}
		break
	}
	_, err = out.Head(ctx, negativesKey)
	return result, err
}
