package iam

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/quarry-hn/quarry/host/objstore/s3server"
)

func startServer(t *testing.T) *s3server.Server {
	t.Helper()
	server, err := s3server.Start(context.Background(), t.TempDir())
	if errors.Is(err, s3server.ErrNoProgram) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

func clientOf(server *s3server.Server, endpoint, secret string) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint:     &endpoint,
		UsePathStyle:     true,
		Region:           server.Region,
		Credentials:      credentials.NewStaticCredentialsProvider(server.AccessKey, secret, ""),
		RetryMaxAttempts: 1,
	})
}

// TestS3GateBeforeVersitygw has the gate between AWS's own client and a server that checks signatures.
func TestS3GateBeforeVersitygw(t *testing.T) {
	t.Parallel()
	s := loadTemplate(t)
	server := startServer(t)
	u, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	caller := NewCaller(s.Role)
	gate := httptest.NewServer(S3Gate(caller, u))
	defer gate.Close()
	ctx := context.Background()

	owner := clientOf(server, server.Endpoint, server.SecretKey)
	for _, bucket := range []string{s.InputBucket, s.ResultsBucket} {
		if err := server.CreateBucket(ctx, bucket); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"jobs/j/manifest.json", "jobs/j/shards/a b+c%2F ü:=&?.safetensors", "other"} {
		if _, err := owner.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.InputBucket, Key: &key, Body: strings.NewReader(key)}); err != nil {
			t.Fatal(err)
		}
	}

	worker := clientOf(server, gate.URL, server.SecretKey)
	get := func(c *s3.Client, bucket, key string) func() (string, error) {
		return func() (string, error) {
			out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key, Range: aws.String("bytes=1-")})
			if err != nil {
				return "", err
			}
			body, err := io.ReadAll(out.Body)
			return string(body), errors.Join(err, out.Body.Close())
		}
	}
	head := func(bucket, key string) func() (string, error) {
		return func() (string, error) {
			out, err := worker.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
			if err != nil {
				return "", err
			}
			return fmt.Sprint(*out.ContentLength), nil
		}
	}
	put := func(bucket, key, body string, match *string) func() (string, error) {
		return func() (string, error) {
			_, err := worker.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body), IfNoneMatch: match})
			return "", err
		}
	}
	list := func(bucket, prefix string) func() (string, error) {
		return func() (string, error) {
			out, err := worker.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
			if err != nil {
				return "", err
			}
			var keys []string
			for _, o := range out.Contents {
				keys = append(keys, *o.Key)
			}
			return strings.Join(keys, " "), nil
		}
	}
	remove := func(bucket, key string) func() (string, error) {
		return func() (string, error) {
			_, err := worker.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
			return "", err
		}
	}
	in, out, large := s.InputBucket, s.ResultsBucket, strings.Repeat("0123456789abcdef", 1<<18)
	for _, row := range []struct {
		what string
		call func() (string, error)
		want string // the answer, or the error's code
	}{
		{"get", get(worker, in, "jobs/j/manifest.json"), "obs/j/manifest.json"},
		{"get a strange key", get(worker, in, "jobs/j/shards/a b+c%2F ü:=&?.safetensors"), "obs/j/shards/a b+c%2F ü:=&?.safetensors"},
		{"head", head(in, "jobs/j/manifest.json"), "20"},
		{"get what is not there", get(worker, in, "jobs/j/none"), "NoSuchKey"},
		{"head what is not there", head(in, "jobs/j/none"), "NotFound"},
		{"get a result that is not there", get(worker, out, "jobs/j/none"), "NoSuchKey"},
		{"head a result that is not there", head(out, "jobs/j/none"), "NotFound"},
		{"put", put(out, "jobs/j/parts/0", "12", nil), ""},
		{"put 4 MiB", put(out, "jobs/j/parts/1 ü", large, nil), ""},
		{"get 4 MiB", get(worker, out, "jobs/j/parts/1 ü"), large[1:]},
		{"put what is new", put(out, "jobs/j/negatives.jsonl", "12", aws.String("*")), ""},
		{"put it again", put(out, "jobs/j/negatives.jsonl", "34", aws.String("*")), "PreconditionFailed"},
		{"it is the first", get(worker, out, "jobs/j/negatives.jsonl"), "2"},
		{"list", list(out, "jobs/j/parts/"), "jobs/j/parts/0 jobs/j/parts/1 ü"},
		{"list the input", list(in, "jobs/j/m"), "jobs/j/manifest.json"},
		{"list another bucket", list("other", "jobs/"), "AccessDenied"},
		{"get outside jobs/", get(worker, in, "other"), "AccessDenied"},
		{"head outside jobs/", head(in, "other"), "Forbidden"},
		{"put to the input", put(in, "jobs/j/manifest.json", large, nil), "AccessDenied"},
		{"it is unchanged", get(worker, in, "jobs/j/manifest.json"), "obs/j/manifest.json"},
		{"delete", remove(out, "jobs/j/negatives.jsonl"), "AccessDenied"},
		{"it is still there", get(worker, out, "jobs/j/negatives.jsonl"), "2"},
		{"with a wrong key", get(clientOf(server, gate.URL, "other"), in, "jobs/j/manifest.json"), "SignatureDoesNotMatch"},
	} {
		got, err := row.call()
		if err != nil {
			var of smithy.APIError
			if !errors.As(err, &of) {
				t.Errorf("%s: %v", row.what, err)
				continue
			}
			got = of.ErrorCode()
		}
		if got != row.want {
			t.Errorf("%s: %.100q (%v), expected %.100q", row.what, got, err, row.want)
		}
	}
	for _, g := range caller.Unused() {
		if strings.HasPrefix(g.Action, "s3:") {
			t.Errorf("%v is not used", g)
		}
	}
}
