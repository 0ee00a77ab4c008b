package objstore

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// MaxPut is what S3 takes in one request, 5 GiB.
const MaxPut = 5 << 30

// S3Options are what does not come from the environment. Zero means the default. What is tried again is in retry.go.
type S3Options struct {
	HTTPClient   *http.Client  // instead of the SDK's; for tests
	Attempts     int           // of a request, the first included: AWS_MAX_ATTEMPTS, or 8
	MaxBackoff   time.Duration // the longest pause between two attempts: 20 s
	StallTimeout time.Duration // an attempt in which nothing moves for so long is given up: 30 s, and less for a connection to come about
}

// s3Store is a bucket. Its prefix is a Sub's.
type s3Store struct {
	client *s3.Client
	bucket string
	exists atomic.Bool // an answer has shown that the bucket is there
}

var _ Store = (*s3Store)(nil)

// OpenS3 opens a bucket's keys below prefix. Region, credentials and endpoint come from where AWS's own programs have
// them: AWS_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL_S3, ~/.aws, a role. With an endpoint the bucket
// goes into the path, not the host name.
func OpenS3(ctx context.Context, bucket, prefix string, o S3Options) (Store, error) {
	at := "s3://" + bucket
	if bucket == "" {
		return nil, fmt.Errorf("open %s: no bucket is named: write s3://bucket/prefix", at)
	}
	// The SDK would write to stderr itself: about credentials, and about connections that it cannot use again.
	cfg, err := config.LoadDefaultConfig(ctx, config.WithLogger(logging.Nop{}))
	if err != nil {
		return nil, fmt.Errorf("open %s: the AWS configuration: %w", at, err)
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil { // they are kept
		return nil, fmt.Errorf("open %s: no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: %w", at, innermost(err))
	}
	s := &s3Store{client: s3.NewFromConfig(cfg, o.apply), bucket: bucket}
	if s.client.Options().Region == "" {
		return nil, fmt.Errorf("open %s: no AWS region: set AWS_REGION to the bucket's", at)
	}
	return Sub(s, prefix), nil
}

func (o S3Options) apply(so *s3.Options) {
	if so.BaseEndpoint != nil {
		so.UsePathStyle = true
		if so.Region == "" {
			so.Region = "us-east-1" // a signature takes one
		}
	}
	if o.HTTPClient != nil {
		c := *o.HTTPClient
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		so.HTTPClient = &c
	}
	o.retry(so)
	noteAttempts(so)
	so.DisableLogOutputChecksumValidationSkipped = true // S3 has no checksum of a range, nor of an old object
}

func (s *s3Store) URL() string { return "s3://" + s.bucket }

func (s *s3Store) name(key string) string { return s.URL() + "/" + key }

// unquoted is an ETag without its quotes, which not every server gives in lists.
func unquoted(etag *string) string { return strings.Trim(aws.ToString(etag), `"`) }

// modified is a time to the second, as HEAD and GET give it. Lists of some servers are finer.
func modified(at *time.Time) time.Time { return aws.ToTime(at).UTC().Truncate(time.Second) }

func (s *s3Store) Head(ctx context.Context, key string) (Object, error) {
	if err := checkKey("head", key); err != nil {
		return Object{}, err
	}
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: &key})
	if err != nil {
		return Object{}, s.fail(ctx, "head", key, err)
	}
	s.exists.Store(true)
	if out.ContentLength == nil {
		return Object{}, s.noSize("head", key)
	}
	return Object{key, *out.ContentLength, unquoted(out.ETag), modified(out.LastModified)}, nil
}

// noSize is the error of an answer that does not say how large the object is. Such an object must not pass for an empty
// one, nor for a whole one where it is cut off.
func (s *s3Store) noSize(op, key string) error {
	return fmt.Errorf("%s %s: the answer has no Content-Length", op, s.name(key))
}

func (s *s3Store) Get(ctx context.Context, key string, from int64, etag string) (io.ReadCloser, Object, error) {
	err := checkKey("get", key)
	if err == nil {
		err = checkFrom("get", s.name(key), from)
	}
	if err != nil {
		return nil, Object{}, err
	}
	in := &s3.GetObjectInput{Bucket: &s.bucket, Key: &key}
	if from > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", from))
	}
	if etag != "" {
		in.IfMatch = aws.String(`"` + etag + `"`)
	}
	out, err := s.client.GetObject(ctx, in)
	if status(err) == http.StatusRequestedRangeNotSatisfiable {
		return s.getAtEnd(ctx, key, from, etag)
	}
	if err != nil {
		return nil, Object{}, s.fail(ctx, "get", key, err)
	}
	s.exists.Store(true)
	if out.ContentLength == nil {
		_ = out.Body.Close()
		return nil, Object{}, s.noSize("get", key)
	}
	o := Object{key, from + *out.ContentLength, unquoted(out.ETag), modified(out.LastModified)}
	if from > 0 && !strings.HasPrefix(aws.ToString(out.ContentRange), fmt.Sprintf("bytes %d-", from)) {
		_ = out.Body.Close()
		return nil, Object{}, fmt.Errorf("get %s: asked for bytes from %d on, the store gave %s", s.name(key), from, excerpt.Quote(aws.ToString(out.ContentRange)))
	}
	return &objectReader{ctx, s.name(key), out.Body, from, o.Size}, o, nil
}

// getAtEnd is Get from the object's end on, or past it. S3 refuses it, in an answer that says nothing of the object.
func (s *s3Store) getAtEnd(ctx context.Context, key string, from int64, etag string) (io.ReadCloser, Object, error) {
	o, err := s.Head(ctx, key)
	if err == nil && (etag != "" && etag != o.ETag || o.Size > from) { // it is larger now: it was replaced just now
		err = fmt.Errorf("get %s: %w", s.name(key), ErrChanged)
	}
	if err != nil {
		return nil, Object{}, err
	}
	return http.NoBody, o, nil
}

func (s *s3Store) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	return s.put(ctx, key, body, nil)
}

func (s *s3Store) PutNew(ctx context.Context, key string, body io.ReadSeeker) error {
	return s.put(ctx, key, body, aws.String("*"))
}

func (s *s3Store) put(ctx context.Context, key string, body io.ReadSeeker, ifNoneMatch *string) error {
	if err := checkKey("put", key); err != nil {
		return err
	}
	size, err := remaining(body)
	if err != nil {
		return fmt.Errorf("put %s: the size of what is to be put: %w", s.name(key), err)
	}
	if size > MaxPut {
		return fmt.Errorf("put %s: %d bytes, and S3 takes at most %d in one object of one request: make it in parts", s.name(key), size, int64(MaxPut))
	}
	_, err = s.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: &key, Body: body, ContentLength: &size, IfNoneMatch: ifNoneMatch})
	if err != nil {
		return s.fail(ctx, "put", key, err)
	}
	s.exists.Store(true)
	return nil
}

// remaining is how many bytes come after the current position, which stays.
func remaining(body io.Seeker) (int64, error) {
	at, err := body.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	end, err := body.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	_, err = body.Seek(at, io.SeekStart)
	return end - at, err
}

func (s *s3Store) Delete(ctx context.Context, key string) error {
	if err := checkKey("delete", key); err != nil {
		return err
	}
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: &key})
	if status(err) == http.StatusNotFound && code(err) == "NoSuchKey" { // some servers say so
		return nil
	}
	if err != nil {
		return s.fail(ctx, "delete", key, err)
	}
	s.exists.Store(true)
	return nil
}
