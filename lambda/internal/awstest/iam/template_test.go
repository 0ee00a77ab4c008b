package iam

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
)

func loadTemplate(t *testing.T) *Template {
	t.Helper()
	path, err := TemplateFile()
	if err != nil {
		t.Fatal(err)
	}
	s, err := LoadTemplate(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRole has a row for every call that the job protocol makes, which the role must allow, and rows for calls that it
// must not.
func TestRole(t *testing.T) {
	s := loadTemplate(t)
	in, out := "arn:aws:s3:::"+s.InputBucket, "arn:aws:s3:::"+s.ResultsBucket
	group := "arn:aws:logs:us-east-1:123456789012:log-group:" + s.LogGroupName
	prefix := func(p string) map[string]string { return map[string]string{"s3:prefix": p} }

	c := NewCaller(s.Role)
	for _, row := range []struct {
		what, action, resource string
		context                map[string]string
		statement              string
	}{
		{"the manifest", "s3:GetObject", in + "/jobs/j/manifest.json", nil, "ReadInput"},
		{"the projection", "s3:GetObject", in + "/jobs/j/projection.safetensors", nil, "ReadInput"},
		{"the pairs", "s3:GetObject", in + "/jobs/j/pairs/0.safetensors", nil, "ReadInput"},
		{"a shard", "s3:GetObject", in + "/jobs/j/shards/0.safetensors", nil, "ReadInput"},
		{"a shard with a strange name", "s3:GetObject", in + "/jobs/j/shards/a b:*.safetensors", nil, "ReadInput"},
		{"the pinned manifest", "s3:GetObject", out + "/jobs/j/manifest.json", nil, "ReadAndWriteResults"},
		{"pin the manifest", "s3:PutObject", out + "/jobs/j/manifest.json", nil, "ReadAndWriteResults"},
		{"a part", "s3:GetObject", out + "/jobs/j/parts/0", nil, "ReadAndWriteResults"},
		{"put a part", "s3:PutObject", out + "/jobs/j/parts/0", nil, "ReadAndWriteResults"},
		{"refuse a shard", "s3:PutObject", out + "/jobs/j/refused/0", nil, "ReadAndWriteResults"},
		{"the result", "s3:PutObject", out + "/jobs/j/negatives.jsonl", nil, "ReadAndWriteResults"},
		{"its manifest", "s3:PutObject", out + "/jobs/j/negatives.manifest.json", nil, "ReadAndWriteResults"},
		{"is it cancelled", "s3:GetObject", out + "/jobs/j/cancelled.json", nil, "ReadAndWriteResults"},
		{"list the parts", "s3:ListBucket", out, prefix("jobs/j/parts/"), "List"},
		{"list the refused", "s3:ListBucket", out, prefix("jobs/j/refused/"), "List"},
		{"list the jobs", "s3:ListBucket", out, map[string]string{"s3:prefix": "jobs/", "s3:delimiter": "/", "s3:max-keys": "1000"}, "List"},
		{"list a job's shards", "s3:ListBucket", in, prefix("jobs/j/shards/"), "List"},
		{"is a bucket there", "s3:ListBucket", out, nil, "List"}, // by HEAD; and S3 asks so before it answers 404 for an object
		{"take a message", "sqs:ReceiveMessage", s.QueueARN, nil, "UseQueue"},
		{"delete a message", "sqs:DeleteMessage", s.QueueARN, nil, "UseQueue"},
		{"how long is the queue", "sqs:GetQueueAttributes", s.QueueARN, nil, "UseQueue"},
		{"send a message", "sqs:SendMessage", s.QueueARN, nil, "UseQueue"},
		{"a log stream", "logs:CreateLogStream", group + ":log-stream:2026/11/24/[$LATEST]0", nil, "WriteLog"},
		{"a line", "logs:PutLogEvents", group + ":log-stream:2026/11/24/[$LATEST]0", nil, "WriteLog"},
	} {
		got, ok := s.Role.Allowed(row.action, row.resource, row.context)
		if !ok || got != row.statement {
			t.Errorf("%s: %s on %s: %t by %q, expected %q", row.what, row.action, row.resource, ok, got, row.statement)
		}
		c.Allowed(row.action, row.resource, row.context)
	}
	if unused := c.Unused(); len(unused) > 0 {
		t.Errorf("no row needs %v", unused)
	}

	queue := s.QueueARN
	for _, row := range []struct {
		what, action, resource string
		context                map[string]string
	}{
		{"put a shard", "s3:PutObject", in + "/jobs/j/shards/0.safetensors", nil},
		{"change a manifest", "s3:PutObject", in + "/jobs/j/manifest.json", nil},
		{"delete a shard", "s3:DeleteObject", in + "/jobs/j/shards/0.safetensors", nil},
		{"input outside jobs/", "s3:GetObject", in + "/other", nil},
		{"input beside jobs/", "s3:GetObject", in + "/jobs2/j/manifest.json", nil},
		{"the name jobs", "s3:GetObject", in + "/jobs", nil},
		{"jobs/ further down", "s3:GetObject", in + "/x/jobs/j/manifest.json", nil},
		{"an old version", "s3:GetObjectVersion", in + "/jobs/j/manifest.json", nil},
		{"an input's ACL", "s3:GetObjectAcl", in + "/jobs/j/manifest.json", nil},
		{"an input's tags", "s3:GetObjectTagging", in + "/jobs/j/manifest.json", nil},
		{"delete a part", "s3:DeleteObject", out + "/jobs/j/parts/0", nil},
		{"delete a result", "s3:DeleteObject", out + "/jobs/j/negatives.jsonl", nil},
		{"delete a version", "s3:DeleteObjectVersion", out + "/jobs/j/negatives.jsonl", nil},
		{"results outside jobs/", "s3:GetObject", out + "/other", nil},
		{"write outside jobs/", "s3:PutObject", out + "/other", nil},
		{"write beside jobs/", "s3:PutObject", out + "/jobs2/x", nil},
		{"publish a result", "s3:PutObjectAcl", out + "/jobs/j/negatives.jsonl", nil},
		{"tag a result", "s3:PutObjectTagging", out + "/jobs/j/negatives.jsonl", nil},
		{"lock a result", "s3:PutObjectRetention", out + "/jobs/j/negatives.jsonl", nil},
		{"end an upload in pieces", "s3:AbortMultipartUpload", out + "/jobs/j/negatives.jsonl", nil},
		{"list versions", "s3:ListBucketVersions", out, prefix("jobs/")},
		{"list uploads", "s3:ListBucketMultipartUploads", out, prefix("jobs/")},
		{"list buckets", "s3:ListAllMyBuckets", "arn:aws:s3:::*", nil},
		{"a bucket that begins like the input", "s3:GetObject", in + "-2/jobs/j/manifest.json", nil},
		{"a bucket that begins like the results", "s3:PutObject", out + "-2/jobs/j/manifest.json", nil},
		{"list a bucket that begins like the results", "s3:ListBucket", out + "-2", prefix("jobs/")},
		{"list a bucket that begins like the input", "s3:ListBucket", in + "-2", prefix("jobs/")},
		{"another bucket", "s3:GetObject", "arn:aws:s3:::other/jobs/j/manifest.json", nil},
		{"write to another bucket", "s3:PutObject", "arn:aws:s3:::other/jobs/j/manifest.json", nil},
		{"list another bucket", "s3:ListBucket", "arn:aws:s3:::other", prefix("jobs/")},
		{"make a bucket", "s3:CreateBucket", "arn:aws:s3:::other", nil},
		{"delete the results", "s3:DeleteBucket", out, nil},
		{"the bucket's policy", "s3:PutBucketPolicy", out, nil},
		{"drop the bucket's policy", "s3:DeleteBucketPolicy", in, nil},
		{"notifications", "s3:PutBucketNotification", in, nil},
		{"encryption", "s3:PutEncryptionConfiguration", out, nil},
		{"lifecycle", "s3:PutLifecycleConfiguration", out, nil},
		{"public access", "s3:PutBucketPublicAccessBlock", out, nil},
		{"send to another queue", "sqs:SendMessage", "arn:aws:sqs:us-east-1:123456789012:other", nil},
		{"send to a queue that begins so", "sqs:SendMessage", queue + "-2", nil},
		{"send to that queue elsewhere", "sqs:SendMessage", "arn:aws:sqs:eu-west-1:123456789012:quarry-shards", nil},
		{"send to that queue of another account", "sqs:SendMessage", "arn:aws:sqs:us-east-1:210987654321:quarry-shards", nil},
		{"send to the dead-letter queue", "sqs:SendMessage", s.DeadLetterQueueARN, nil},
		{"take dead letters", "sqs:ReceiveMessage", s.DeadLetterQueueARN, nil},
		{"redrive", "sqs:StartMessageMoveTask", s.DeadLetterQueueARN, nil},
		{"empty the queue", "sqs:PurgeQueue", queue, nil},
		{"delete the queue", "sqs:DeleteQueue", queue, nil},
		{"change the queue", "sqs:SetQueueAttributes", queue, nil},
		{"the queue's policy", "sqs:AddPermission", queue, nil},
		{"hold a message", "sqs:ChangeMessageVisibility", queue, nil},
		{"another log", "logs:PutLogEvents", "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/other:log-stream:0", nil},
		{"a log that begins so", "logs:PutLogEvents", group + "-2:log-stream:0", nil},
		{"that log elsewhere", "logs:PutLogEvents", "arn:aws:logs:eu-west-1:123456789012:log-group:" + s.LogGroupName + ":log-stream:0", nil},
		{"make a log", "logs:CreateLogGroup", group, nil},
		{"delete the log", "logs:DeleteLogGroup", group + ":*", nil},
		{"keep the log for ever", "logs:DeleteRetentionPolicy", group + ":*", nil},
		{"read the log", "logs:GetLogEvents", group + ":log-stream:0", nil},
		{"call itself", "lambda:InvokeFunction", "arn:aws:lambda:us-east-1:123456789012:function:quarry-worker", nil},
		{"another role", "sts:AssumeRole", "arn:aws:iam::123456789012:role/WorkerRole", nil},
		{"its own policy", "iam:PutRolePolicy", "arn:aws:iam::123456789012:role/WorkerRole", nil},
		{"a key", "kms:Decrypt", "arn:aws:kms:us-east-1:123456789012:key/k", nil},
	} {
		if got, ok := s.Role.Allowed(row.action, row.resource, row.context); ok {
			t.Errorf("%s: %s on %s is allowed by %s", row.what, row.action, row.resource, got)
		}
	}
}

func TestQueueTakesFromTheInputBucketOnly(t *testing.T) {
	s := loadTemplate(t)
	in := "arn:aws:s3:::" + s.InputBucket
	for _, row := range []struct {
		service, source, account, action, queue string
		want                                    bool
	}{
		{"s3.amazonaws.com", in, "123456789012", "sqs:SendMessage", s.QueueARN, true},
		{"sns.amazonaws.com", in, "123456789012", "sqs:SendMessage", s.QueueARN, false},
		{"", in, "123456789012", "sqs:SendMessage", s.QueueARN, false},
		{"s3.amazonaws.com", "arn:aws:s3:::" + s.ResultsBucket, "123456789012", "sqs:SendMessage", s.QueueARN, false},
		{"s3.amazonaws.com", in, "210987654321", "sqs:SendMessage", s.QueueARN, false},
		{"s3.amazonaws.com", in, "123456789012", "sqs:ReceiveMessage", s.QueueARN, false},
		{"s3.amazonaws.com", in, "123456789012", "sqs:SendMessage", s.DeadLetterQueueARN, false},
	} {
		context := map[string]string{"aws:PrincipalServiceName": row.service, "aws:SourceArn": row.source, "aws:SourceAccount": row.account}
		if _, ok := s.Queue.Allowed(row.action, row.queue, context); ok != row.want {
			t.Errorf("%+v: %t", row, ok)
		}
	}
}

func TestBucketsTakeNothingWithoutTLS(t *testing.T) {
	s := loadTemplate(t)
	for bucket, policy := range map[string]*Policy{s.InputBucket: s.Input, s.ResultsBucket: s.Results} {
		for _, resource := range []string{"arn:aws:s3:::" + bucket, "arn:aws:s3:::" + bucket + "/jobs/j/manifest.json"} {
			if by, ok := policy.Allowed("s3:GetObject", resource, map[string]string{"aws:SecureTransport": "false"}); ok || by != "DenyWithoutTLS" {
				t.Errorf("%s: %t by %q, expected a denial by DenyWithoutTLS", resource, ok, by)
			}
			// With TLS, the bucket's policy allows nothing either.
			if by, ok := policy.Allowed("s3:GetObject", resource, map[string]string{"aws:SecureTransport": "true"}); ok || by != "" {
				t.Errorf("%s: %t by %q, expected nothing", resource, ok, by)
			}
		}
	}
}

// TestRoleIsNoWiderThanTheTables lists all grants of the role. A new one must be added here, and to the tables of
// TestRole.
func TestRoleIsNoWiderThanTheTables(t *testing.T) {
	s := loadTemplate(t)
	want := []Grant{
		{"ReadInput", "s3:GetObject"},
		{"ReadAndWriteResults", "s3:GetObject"},
		{"ReadAndWriteResults", "s3:PutObject"},
		{"List", "s3:ListBucket"},
		{"UseQueue", "sqs:ReceiveMessage"},
		{"UseQueue", "sqs:DeleteMessage"},
		{"UseQueue", "sqs:GetQueueAttributes"},
		{"UseQueue", "sqs:SendMessage"},
		{"WriteLog", "logs:CreateLogStream"},
		{"WriteLog", "logs:PutLogEvents"},
	}
	if got := s.Role.Grants(); !slices.Equal(got, want) {
		t.Errorf("%v, expected %v", got, want)
	}
}

func TestLoadTemplateSaysWhatIsMissing(t *testing.T) {
	if _, err := LoadTemplate(t.TempDir() + "/none.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, expected fs.ErrNotExist", err)
	}
}
