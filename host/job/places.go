package job

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/quarry-hn/quarry/host/objstore"
)

// Each of a job's two places says where the other is. A record among the inputs says where the results go, where that is
// not the usual bucket: a command that is not told would mine the job again, into the usual one. A record among the
// results says where the inputs are. Whoever puts it first decides, before a manifest is copied: of two buckets with a
// job of one name, only one is mined into the same results.
const (
	resultsKey    = "results.json" // among the inputs
	resultsFormat = "quarry.results.v1"
	sourceKey     = "source.json" // among the results
	sourceFormat  = "quarry.source.v1"
	maxRecord     = 1 << 16 // bytes of either
)

// resultsRecord is the record among the inputs.
type resultsRecord struct {
	Format string `json:"format"`
	Bucket string `json:"bucket"` // of the results, as s3://name/prefix or the absolute path of a folder
}

// sourceRecord is the record among the results.
type sourceRecord struct {
	Format   string `json:"format"`
	Inputs   string `json:"inputs"`             // the place of the job's inputs, as s3://bucket/jobs/name
	Run      string `json:"run,omitempty"`      // the run that the result is of, by which it is known without the job's manifest
	Replaced bool   `json:"replaced,omitempty"` // the job replaced another, whose workers may still put objects of its result
}

// ErrPlace is returned, wrapped, where a job's two stores do not belong together: the results are those of a job of this
// name in another bucket, or the job's results go to another bucket.
var ErrPlace = errors.New("the inputs and the results are not of the same job")

// samePlace reports whether two URLs may name the same place. Two folders are not compared, since a folder has many
// paths.
func samePlace(a, b string) bool {
	inS3 := func(url string) bool { return strings.HasPrefix(url, "s3://") }
	return strings.TrimRight(a, "/") == strings.TrimRight(b, "/") || !inS3(a) && !inS3(b)
}

// recordedResults returns the bucket of the results that the record among the inputs names, or "" where there is none.
// Who may get the inputs and not list them is denied a record that is not there, which is most jobs' case.
func recordedResults(ctx context.Context, in objstore.Store) (string, error) {
	b, _, err := read(ctx, in, resultsKey, maxRecord)
	if errors.Is(err, objstore.ErrNotExist) || errors.Is(err, errUnlisted) || errors.Is(err, objstore.ErrNoBucket) {
		return "", nil
	}
	var r resultsRecord
	if err == nil && (json.Unmarshal(b, &r) != nil || r.Format != resultsFormat || r.Bucket == "") {
		err = fmt.Errorf("%s/%s: it does not say where the results are\n  hint: remove it, or make the job again with quarry job init --force --results", in.URL(), resultsKey)
	}
	return r.Bucket, err
}

// readSource reads the record among the results. The error is objstore.ErrNotExist where there is none.
func readSource(ctx context.Context, out objstore.Store) (r sourceRecord, err error) {
	b, _, err := read(ctx, out, sourceKey, maxRecord)
	if err == nil && (json.Unmarshal(b, &r) != nil || r.Format != sourceFormat) {
		err = fmt.Errorf("%s/%s: it does not say where the inputs are\n  hint: remove it; a worker puts it again", out.URL(), sourceKey)
	}
	return r, err
}

// marshalRecord returns a record's bytes.
func marshalRecord(record any) *bytes.Reader {
	b, err := json.Marshal(record)
	if err != nil {
		panic(err) // records hold strings, numbers, times and maps of these
	}
	return bytes.NewReader(append(b, '\n'))
}

// checkSource reads the record among the results. It fails with ErrPlace where they are those of other inputs. The record
// is empty where there is none.
func checkSource(ctx context.Context, in, out objstore.Store) (sourceRecord, error) {
	source, err := readSource(ctx, out)
	if errors.Is(err, objstore.ErrNotExist) {
		return sourceRecord{}, nil
	}
	if err == nil && !samePlace(source.Inputs, in.URL()) {
		err = fmt.Errorf("%s: %w: they are of %s, and not of %s\n  hint: give one of the two jobs another name, or other --results; where a bucket was copied or renamed, remove %s",
			out.URL(), ErrPlace, source.Inputs, in.URL(), sourceKey)
	}
	return source, err
}

// checkPlaces fails with ErrPlace where the worker's stores do not belong together. It returns the record among the
// results.
func (w *Worker) checkPlaces(ctx context.Context) (sourceRecord, error) {
	bucket, err := recordedResults(ctx, w.in)
	if err != nil {
		return sourceRecord{}, err
	}
	if i := strings.LastIndex(w.out.URL(), "/"+Folder); bucket != "" && i >= 0 && !samePlace(bucket, w.out.URL()[:i]) {
		return sourceRecord{}, fmt.Errorf("%s: %w: its results go to %s, and this worker puts them to %s\n  hint: give workers the --results of quarry job init, or make the job for the bucket that they write to",
			w.in.URL(), ErrPlace, bucket, w.out.URL()[:i])
	}
	return checkSource(ctx, w.in, w.out)
}

// putSource records whose results they are, where nobody did. Of two workers with different inputs one fails.
func (w *Worker) putSource(ctx context.Context, run string) error {
	err := w.out.PutNew(ctx, sourceKey, marshalRecord(sourceRecord{Format: sourceFormat, Inputs: w.in.URL(), Run: run}))
	if errors.Is(err, objstore.ErrExists) {
		_, err = checkSource(ctx, w.in, w.out)
	}
	return err
}

// adopt records whose results they are where a worker of an earlier version copied the manifest, and it is the one among
// the inputs.
func (w *Worker) adopt(ctx context.Context) error {
	b, _, err := objstore.ReadAll(ctx, w.in, ManifestKey, maxManifest)
	if err != nil || shaOf(b) != w.manifest.manifestSHA {
		return nil // it goes on without a record, as it did
	}
	return w.putSource(ctx, w.manifest.runID)
}
