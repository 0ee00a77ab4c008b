package stack

import (
	"encoding/json"
	"regexp"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

func TestS3Event(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ key, want string }{
		{"documents/red flower.jsonl", "documents/red+flower.jsonl"},
		{"a+b", "a%2Bb"},
		{"dt=2024/é", "dt%3D2024/%C3%A9"},
		{"100%25", "100%2525"},
		{"日本/😀", "%E6%97%A5%E6%9C%AC/%F0%9F%98%80"},
		{"a&b:c,d@e$f?g#h", "a%26b%3Ac%2Cd%40e%24f%3Fg%23h"},
	} {
		body := S3Event(Object{Bucket: "corpus", Key: c.key, Size: 7, ETag: `"d41d8cd98f00b204e9800998ecf8427e"`, Time: time.UnixMilli(1)})
		var event events.S3Event
		if err := json.Unmarshal([]byte(body), &event); err != nil || len(event.Records) != 1 {
			t.Fatalf("%v: %s", err, body)
		}
		r := event.Records[0]
		if o := r.S3.Object; o.Key != c.want || o.URLDecodedKey != c.key || o.Size != 7 || o.ETag != "d41d8cd98f00b204e9800998ecf8427e" {
			t.Errorf("%+v", o)
		}
		if r.EventVersion != "2.1" || r.EventSource != "aws:s3" || r.EventName != "ObjectCreated:Put" || !r.EventTime.Equal(time.UnixMilli(1)) ||
			r.S3.SchemaVersion != "1.0" || r.S3.Bucket.Name != "corpus" || r.S3.Bucket.Arn != "arn:aws:s3:::corpus" ||
			!regexp.MustCompile(`^00[0-9A-F]{16}$`).MatchString(r.S3.Object.Sequencer) || len(r.ResponseElements) != 2 {
			t.Errorf("%+v", r)
		}
	}
	var raw struct{ Records []map[string]json.RawMessage }
	if err := json.Unmarshal([]byte(S3Event(Object{Key: "k"}, Object{Key: "l", ETag: "a-2"})), &raw); err != nil || len(raw.Records) != 2 {
		t.Fatal(err)
	}
	if got := string(raw.Records[1]["eventName"]); got != `"ObjectCreated:CompleteMultipartUpload"` {
		t.Error(got)
	}
	for _, name := range []string{
		"eventVersion", "eventSource", "awsRegion", "eventTime", "eventName", "userIdentity", "requestParameters", "responseElements", "s3",
	} {
		if raw.Records[0][name] == nil {
			t.Errorf("no %s", name)
		}
	}
}

func TestNotifier(t *testing.T) {
	t.Parallel()
	q := queue(t, QueueConfig{})
	n := Notifier{Queue: q, Prefix: "in/", Suffix: ".jsonl"}
	if err := n.Configured("corpus"); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{"in/a b.jsonl": true, "in/a.txt": false, "out/a.jsonl": false, "In/a.jsonl": false} {
		if sent, err := n.Uploaded("corpus", key, 3, "e"); err != nil || sent != want {
			t.Errorf("%s: %v, %v", key, sent, err)
		}
	}
	left := q.Left()
	if len(left) != 2 {
		t.Fatalf("%v", left)
	}
	var test events.S3TestEvent
	if err := json.Unmarshal([]byte(left[0].Body), &test); err != nil || test.Event != "s3:TestEvent" || test.Service != "Amazon S3" ||
		test.Bucket != "corpus" || test.Time.IsZero() || test.RequestID == "" || test.HostID == "" {
		t.Errorf("%v: %+v", err, test)
	}
	var first, second events.S3Event
	if err := json.Unmarshal([]byte(left[1].Body), &first); err != nil || first.Records[0].S3.Object.URLDecodedKey != "in/a b.jsonl" {
		t.Errorf("%v: %s", err, left[1].Body)
	}
	if err := json.Unmarshal([]byte(S3Event(Object{})), &second); err != nil ||
		second.Records[0].S3.Object.Sequencer <= first.Records[0].S3.Object.Sequencer {
		t.Errorf("%v: the sequencer does not rise", err)
	}
	if _, err := (&Notifier{}).Uploaded("b", "k", 0, ""); err == nil {
		t.Error("no queue, no error")
	}
}
