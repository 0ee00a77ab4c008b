package job

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"strings"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
)

// Folder is the prefix of all jobs' keys, in both buckets.
const Folder = "jobs/"

// ResultsOf is the bucket of the results of a bucket's jobs, by convention: its name is followed by -results. A bucket
// is s3://name/prefix, or a folder's path. A path that does not end in a name, such as . or .., is made absolute first.
func ResultsOf(bucket string) string {
	bucket = strings.TrimRight(bucket, "/")
	if rest, ok := strings.CutPrefix(bucket, "s3://"); ok {
		name, prefix, deeper := strings.Cut(rest, "/")
		if deeper {
			return "s3://" + name + "-results/" + prefix
		}
		return "s3://" + name + "-results"
	}
	if base := filepath.Base(bucket); base == "." || base == ".." {
		if whole, err := filepath.Abs(bucket); err == nil {
			bucket = whole
		}
	}
	return bucket + "-results"
}

// Place is a job's name and its two stores, whose keys are below the job's: In has its inputs, Out its results.
type Place struct {
	Name    string
	In, Out objstore.Store

	results string // the bucket of the results, where a record has to name it; see places.go
}

// OpenError is the error of a bucket that could not be opened. Nothing was asked of it yet.
type OpenError struct{ error }

func (e *OpenError) Unwrap() error { return e.error }

// Locate opens the stores of the job at a URL, such as s3://in/jobs/nightly. results is the bucket of the results; empty
// means the one that Init was given, or ResultsOf the bucket of the inputs. It fails with option.ErrOption where the URL
// is not a job's.
func Locate(ctx context.Context, url, results string) (*Place, error) {
	trimmed := strings.TrimRight(url, "/")
	i := strings.LastIndex(trimmed, "/"+Folder)
	if i < 0 && strings.HasPrefix(trimmed, Folder) {
		trimmed, i = "./"+trimmed, 1
	}
	if i < 0 || !ValidJob(trimmed[i+1+len(Folder):]) {
		return nil, &OpenError{fmt.Errorf("%w: %s is not the place of a job\n  hint: a job is at BUCKET/jobs/NAME, as s3://in/jobs/nightly", option.ErrOption, excerpt.Quote(url))}
	}
	return At(ctx, trimmed[:i], results, trimmed[i+1+len(Folder):])
}

// At opens the stores of the job of that name in a bucket; results are as for Locate. It fails with option.ErrOption
// where the name is not valid.
func At(ctx context.Context, bucket, results, name string) (*Place, error) {
	if !ValidJob(name) {
		return nil, &OpenError{fmt.Errorf("%w: job name %s; it has no slash, at most %d bytes, and is neither empty nor \".\" nor \"..\"", option.ErrOption, excerpt.Quote(name), maxName)}
	}
	in, out, err := OpenBuckets(ctx, bucket, results)
	if err != nil {
		return nil, err
	}
	at := Within(in, out, name)
	if results == "" {
		if strings.HasPrefix(bucket, "s3://") {
			at.results = ResultsOf(bucket)
		}
		return at.Recorded(ctx)
	}
	at.results, err = recordable(results)
	return at, err
}

// recordable is a bucket's URL without a slash at its end, or a folder's absolute path.
func recordable(bucket string) (string, error) {
	if strings.Contains(bucket, "://") {
		return strings.TrimRight(bucket, "/"), nil
	}
	return filepath.Abs(bucket)
}

// Recorded is the place with the results where the record among the inputs says that they are, or the place itself
// where there is no record.
func (p *Place) Recorded(ctx context.Context) (*Place, error) {
	bucket, err := recordedResults(ctx, p.In)
	if bucket = strings.TrimRight(bucket, "/"); err != nil || bucket == "" || bucket == p.results {
		return p, err
	}
	out, err := objstore.Open(ctx, bucket)
	if err != nil {
		return nil, &OpenError{err}
	}
	return &Place{p.Name, p.In, objstore.Sub(out, Folder+p.Name), bucket}, nil
}

// putResults records where the results go.
func (p *Place) putResults(ctx context.Context) error {
	if p.results == "" {
		return nil
	}
	return p.In.Put(ctx, resultsKey, marshalRecord(resultsRecord{resultsFormat, p.results}))
}

// OpenBuckets opens a bucket and that of its results; empty results mean ResultsOf the bucket.
func OpenBuckets(ctx context.Context, bucket, results string) (in, out objstore.Store, err error) {
	if results == "" {
		results = ResultsOf(bucket)
	}
	if in, err = objstore.Open(ctx, bucket); err != nil {
		return nil, nil, &OpenError{err}
	}
	if out, err = objstore.Open(ctx, results); err != nil {
		return nil, nil, &OpenError{err}
	}
	return in, out, nil
}

// Within is the place of the job of that name in two buckets that are open.
func Within(in, out objstore.Store, name string) *Place {
	return &Place{Name: name, In: objstore.Sub(in, Folder+name), Out: objstore.Sub(out, Folder+name)}
}

// Names gives the names of a bucket's jobs, in order. In the bucket of results these are the jobs that have begun.
// bucket is the store of the keys below Folder. An error ends the sequence.
func Names(ctx context.Context, bucket objstore.Store) iter.Seq2[string, error] {
	return bucket.Folders(ctx, "", "") // an object beside the jobs' folders is of no job
}

// maxName is the length of the longest name of a job, in bytes. A file system takes no longer name of a folder, and S3
// takes keys of 1,024 bytes.
const maxName = 255

// ValidJob reports whether a name can be a job's.
func ValidJob(name string) bool {
	return ValidName(name) && !strings.Contains(name, "/") && len(name) <= maxName
}

// ParseKey splits the key of an input in a bucket into its job's name and its key below the job's. ok is false for a
// key that no job's inputs have.
func ParseKey(key string) (name, object string, ok bool) {
	rest, ok := strings.CutPrefix(key, Folder)
	if !ok || !ValidName(rest) {
		return "", "", false
	}
	name, object, ok = strings.Cut(rest, "/")
	ok = ok && len(name) <= maxName && (object == ManifestKey || object == projectionKey || strings.HasPrefix(object, groupsPrefix) || strings.HasPrefix(object, ShardsPrefix))
	return name, object, ok
}
