package iam

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// startVersitygw serves an empty folder as S3, and gives its URL. Its program is QUARRY_VERSITYGW, or the one in PATH.
func startVersitygw(t *testing.T) *url.URL {
	t.Helper()
	program := os.Getenv("QUARRY_VERSITYGW")
	if program == "" {
		var err error
		if program, err = exec.LookPath("versitygw"); err != nil {
			t.Skip("versitygw is not in PATH, nor named by QUARRY_VERSITYGW")
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--access", "key", "--secret", "secret", "--port", address, "posix", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
			return &url.URL{Scheme: "http", Host: address}
		}
		if time.Now().After(deadline) {
			t.Fatalf("versitygw does not listen: %v", err)
		}
	}
}

func clientOf(address, secret string) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint:     aws.String(address),
		UsePathStyle:     true,
		Region:           "us-east-1",
		Credentials:      credentials.NewStaticCredentialsProvider("key", secret, ""),
		RetryMaxAttempts: 1,
	})
}

// A server that checks signatures, and AWS's own client.
func TestS3GateBeforeVersitygw(t *testing.T) {
	s := loadStack(t)
	server := startVersitygw(t)
	caller := NewCaller(s.Role)
	gate := httptest.NewServer(S3Gate(caller, server))
	defer gate.Close()
	ctx := context.Background()

	owner := clientOf(server.String(), "secret")
	for _, bucket := range []string{s.InputBucket, s.ResultsBucket} {
		if _, err := owner.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"jobs/j/manifest.json", "jobs/j/shards/a b+c%2F ü:=&?.safetensors", "other"} {
		if _, err := owner.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.InputBucket, Key: &key, Body: strings.NewReader(key)}); err != nil {
			t.Fatal(err)
		}
	}

	worker := clientOf(gate.URL, "secret")
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
		{"get what is not there and may not be listed", get(worker, in, "jobs/j/none"), "AccessDenied"},
		{"head what is not there and may not be listed", head(in, "jobs/j/none"), "Forbidden"},
		{"get what is not there", get(worker, out, "jobs/j/none"), "NoSuchKey"},
		{"head what is not there", head(out, "jobs/j/none"), "NotFound"},
		{"put", put(out, "jobs/j/parts/0", "12", nil), ""},
		{"put 4 MiB", put(out, "jobs/j/parts/1 ü", large, nil), ""},
		{"get 4 MiB", get(worker, out, "jobs/j/parts/1 ü"), large[1:]},
		{"put what is new", put(out, "jobs/j/negatives.jsonl", "12", aws.String("*")), ""},
		{"put it again", put(out, "jobs/j/negatives.jsonl", "34", aws.String("*")), "PreconditionFailed"},
		{"it is the first", get(worker, out, "jobs/j/negatives.jsonl"), "2"},
		{"list", list(out, "jobs/j/parts/"), "jobs/j/parts/0 jobs/j/parts/1 ü"},
		{"list all", list(out, ""), "AccessDenied"},
		{"list the input", list(in, "jobs/"), "AccessDenied"},
		{"get outside jobs/", get(worker, in, "other"), "AccessDenied"},
		{"head outside jobs/", head(in, "other"), "Forbidden"},
		{"put to the input", put(in, "jobs/j/manifest.json", large, nil), "AccessDenied"},
		{"it is unchanged", get(worker, in, "jobs/j/manifest.json"), "obs/j/manifest.json"},
		{"delete", remove(out, "jobs/j/negatives.jsonl"), "AccessDenied"},
		{"it is still there", get(worker, out, "jobs/j/negatives.jsonl"), "2"},
		{"with a wrong key", get(clientOf(gate.URL, "other"), in, "jobs/j/manifest.json"), "SignatureDoesNotMatch"},
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
