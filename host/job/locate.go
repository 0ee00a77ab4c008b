package job

import (
	"context"
	"fmt"
	"strings"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/objstore"
)

// Folder is where jobs are, in both buckets.
const Folder = "jobs/"

// ResultsOf is where the results of a bucket's jobs go by convention: the bucket's name, followed by -results. A bucket is s3://name/prefix, or a
// folder's path.
func ResultsOf(bucket string) string {
	if rest, ok := strings.CutPrefix(bucket, "s3://"); ok {
		name, prefix, deeper := strings.Cut(rest, "/")
		if deeper {
			return "s3://" + name + "-results/" + prefix
		}
		return "s3://" + name + "-results"
	}
	return strings.TrimRight(bucket, "/") + "-results"
}

// Place is a job's two stores.
type Place struct {
	Name    string
	In, Out objstore.Store
}

// Locate opens the stores of the job at a URL, such as s3://in/jobs/nightly. results is the bucket of the results; empty means ResultsOf.
func Locate(ctx context.Context, url, results string) (*Place, error) {
	trimmed := strings.TrimRight(url, "/")
	i := strings.LastIndex(trimmed, "/"+Folder)
	if i < 0 && strings.HasPrefix(trimmed, Folder) {
		trimmed, i = "./"+trimmed, 1
	}
	if i < 0 || !ValidJob(trimmed[i+1+len(Folder):]) {
		return nil, fmt.Errorf("%w: %q is not the place of a job\n  hint: a job is at BUCKET/jobs/NAME, as s3://in/jobs/nightly", host.ErrOption, url)
	}
	return At(ctx, trimmed[:i], results, trimmed[i+1+len(Folder):])
}

// At opens the stores of a bucket's job.
func At(ctx context.Context, bucket, results, name string) (*Place, error) {
	if !ValidJob(name) {
		return nil, fmt.Errorf("%w: job name %q; it has no slash, and is neither ., .. nor empty", host.ErrOption, name)
	}
	if results == "" {
		results = ResultsOf(bucket)
	}
	in, err := objstore.Open(ctx, bucket)
	if err != nil {
		return nil, err
	}
	out, err := objstore.Open(ctx, results)
	if err != nil {
		return nil, err
	}
	return &Place{name, objstore.Sub(in, Folder+name), objstore.Sub(out, Folder+name)}, nil
}

// ValidJob reports whether a name can be a job's.
func ValidJob(name string) bool { return ValidName(name) && !strings.Contains(name, "/") }

// ParseKey splits an object's key into the job that it is of and its name there. A key that is no job's is foreign.
func ParseKey(key string) (name, object string, ok bool) {
	rest, ok := strings.CutPrefix(key, Folder)
	if !ok || !ValidName(rest) {
		return "", "", false
	}
	name, object, ok = strings.Cut(rest, "/")
	ok = ok && (object == ManifestKey || object == projectionKey || strings.HasPrefix(object, pairsPrefix) || strings.HasPrefix(object, ShardsPrefix))
	return name, object, ok
}
