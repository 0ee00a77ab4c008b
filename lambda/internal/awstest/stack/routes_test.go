package stack

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// detail is the detail of S3's events in EventBridge, which github.com/aws/aws-lambda-go leaves to its users. The fields
// are those of "EventBridge event message structure" in the Amazon S3 User Guide.
type detail struct {
	Version string
	Bucket  struct{ Name string }
	Object  struct {
		Key, ETag, Sequencer string
		Size                 *int64
		VersionID            string `json:"version-id"`
	}
	RequestID    string `json:"request-id"`
	Requester    string
	SourceIP     string `json:"source-ip-address"`
	Reason       string
	DeletionType string `json:"deletion-type"`
}

// checkEventBridge fails where a text is not an event of EventBridge by AWS's own type.
func checkEventBridge(t *testing.T, text, kind string) (d detail) {
	t.Helper()
	var e events.EventBridgeEvent
	decode(t, text, &e)
	decode(t, string(e.Detail), &d)
	if e.Version != "0" || e.ID == "" || e.DetailType != kind || e.Source != "aws.s3" || e.AccountID != account || e.Region != Region ||
		!e.Time.Equal(time.Unix(7, 0)) || !slices.Equal(e.Resources, []string{"arn:aws:s3:::corpus"}) {
		t.Errorf("%+v", e)
	}
	if d.Version != "0" || d.Bucket.Name != "corpus" || d.Requester != account || d.RequestID == "" || d.SourceIP == "" || d.Object.Sequencer == "" {
		t.Errorf("%+v", d)
	}
	return d
}

// checkSNS fails where a text is not a message of SNS by AWS's own type. It returns what was published.
func checkSNS(t *testing.T, m events.SNSEntity, subject string) (published string) {
	t.Helper()
	if m.Type != "Notification" || m.MessageID == "" || m.TopicArn != topicARN || m.Subject != subject || m.Timestamp.IsZero() ||
		m.SignatureVersion != "1" || m.Signature == "" || m.SigningCertURL != signingCert ||
		!strings.HasPrefix(m.UnsubscribeURL, snsURL+"?Action=Unsubscribe&SubscriptionArn="+topicARN+":") {
		t.Errorf("%+v", m)
	}
	return m.Message
}

func decode(t *testing.T, text string, to any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), to); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

// keysOf returns the names of the fields of a JSON object, sorted.
func keysOf(t *testing.T, text string) []string {
	t.Helper()
	var fields map[string]json.RawMessage
	decode(t, text, &fields)
	return slices.Sorted(maps.Keys(fields))
}

// TestRoutes unwraps the bodies and the events of all routes by AWS's own types, down to the key.
func TestRoutes(t *testing.T) {
	t.Parallel()
	const key = "jobs/a b+c%2F é/shards/0.safetensors"
	o := Object{Bucket: "corpus", Key: key, Size: 5, ETag: `"b1946ac92492d2347c6235b4d2611184"`, Time: time.Unix(7, 0)}
	s3 := func(text string) {
		t.Helper()
		var e events.S3Event
		decode(t, text, &e)
		if len(e.Records) != 1 || e.Records[0].S3.Bucket.Name != "corpus" || e.Records[0].S3.Object.URLDecodedKey != key {
			t.Errorf("%+v", e)
		}
	}
	bridge := func(text string) {
		t.Helper()
		d := checkEventBridge(t, text, "Object Created")
		if d.Object.Key != key || *d.Object.Size != 5 || d.Object.ETag != "b1946ac92492d2347c6235b4d2611184" || d.Reason != "PutObject" || d.DeletionType != "" {
			t.Errorf("%+v", d)
		}
	}
	body := func(text, subject string) string {
		t.Helper()
		var m events.SNSEntity
		decode(t, text, &m)
		return checkSNS(t, m, subject)
	}
	event := func(text, subject string) string {
		t.Helper()
		var e events.SNSEvent
		decode(t, text, &e)
		r := e.Records[0]
		if len(e.Records) != 1 || r.EventSource != "aws:sns" || r.EventVersion != "1.0" || !strings.HasPrefix(r.EventSubscriptionArn, topicARN+":") || r.SNS.MessageAttributes == nil {
			t.Errorf("%+v", e)
		}
		return checkSNS(t, r.SNS, subject)
	}
	const subject = "Amazon S3 Notification"
	unwrap := map[Route]func(bodyOf, eventOf string){
		ByS3:                func(b, e string) { s3(b); s3(e) },
		BySNS:               func(b, e string) { s3(body(b, subject)); s3(event(e, subject)) },
		BySNSRaw:            func(b, e string) { s3(b); s3(event(e, subject)) },
		ByEventBridge:       func(b, e string) { bridge(b); bridge(e) },
		ByEventBridgeAndSNS: func(b, e string) { bridge(body(b, "")); bridge(event(e, "")) },
	}
	for _, r := range Routes() {
		t.Run(r.String(), func(*testing.T) { unwrap[r](r.Body(o), string(r.Event(o))) })
	}
	if len(unwrap) != len(Routes()) {
		t.Errorf("%d routes, of %d", len(unwrap), len(Routes()))
	}
}

// TestNamesOfFields compares names of fields in the letters that AWS documents, which decoding does not look at.
func TestNamesOfFields(t *testing.T) {
	t.Parallel()
	want := strings.Fields("Message MessageId Signature SignatureVersion SigningCertURL Subject Timestamp TopicArn Type UnsubscribeURL")
	if got := keysOf(t, SNSNotification("s", "m")); !slices.Equal(got, want) {
		t.Error(got)
	}
	want = slices.DeleteFunc(want, func(name string) bool { return name == "Subject" })
	if got := keysOf(t, SNSNotification("", "m")); !slices.Equal(got, want) {
		t.Error(got)
	}
	want = strings.Fields("Message MessageId Signature SignatureVersion SigningCertURL SubscribeURL Timestamp Token TopicArn Type")
	if got := keysOf(t, SNSSubscriptionConfirmation()); !slices.Equal(got, want) {
		t.Error(got)
	}
	var e struct {
		Records []struct{ Sns json.RawMessage }
	}
	decode(t, string(SNSEvent("", "m")), &e)
	want = strings.Fields("Message MessageAttributes MessageId Signature SignatureVersion SigningCertUrl Subject Timestamp TopicArn Type UnsubscribeUrl")
	if got := keysOf(t, string(e.Records[0].Sns)); !slices.Equal(got, want) {
		t.Error(got)
	}
}

// TestEventBridgeKinds has objects that came and went in other ways.
func TestEventBridgeKinds(t *testing.T) {
	t.Parallel()
	for event, want := range map[string][3]string{
		"ObjectCreated:Post":                    {"Object Created", "POST Object", ""},
		"ObjectCreated:Copy":                    {"Object Created", "CopyObject", ""},
		"ObjectCreated:CompleteMultipartUpload": {"Object Created", "CompleteMultipartUpload", ""},
		"ObjectRemoved:Delete":                  {"Object Deleted", "DeleteObject", "Permanently Deleted"},
		"ObjectRemoved:DeleteMarkerCreated":     {"Object Deleted", "DeleteObject", "Delete Marker Created"},
	} {
		d := checkEventBridge(t, EventBridgeEvent(Object{Bucket: "corpus", Key: "k", VersionID: "v", Event: event, Time: time.Unix(7, 0)}), want[0])
		if d.Reason != want[1] || d.DeletionType != want[2] || (d.Object.Size == nil) != (want[2] != "") || d.Object.VersionID != "v" {
			t.Errorf("%s: %+v", event, d)
		}
	}
}

// TestDrawRoute has keys take all routes, each by its own name and the seed, whenever it is asked for.
func TestDrawRoute(t *testing.T) {
	t.Parallel()
	seen := map[Route]int{}
	other := 0
	for i := range 1000 {
		key := fmt.Sprintf("jobs/a/shards/%06d.safetensors", i)
		r := DrawRoute(1)(key)
		seen[r]++
		if r != DrawRoute(1)(key) {
			t.Errorf("%s takes two routes", key)
		}
		if r != DrawRoute(2)(key) {
			other++
		}
	}
	for _, r := range Routes() {
		if seen[r] < 100 || seen[r] > 300 {
			t.Errorf("%d of 1000 keys go by %v", seen[r], r)
		}
	}
	if other < 600 {
		t.Errorf("with another seed %d of 1000 keys take another route", other)
	}
}

// TestNotifierRoutes has a notifier send by the routes that it is given.
func TestNotifierRoutes(t *testing.T) {
	t.Parallel()
	q := queue(t, QueueConfig{})
	n := Notifier{Queue: q, Route: func(key string) Route {
		if key == "b" {
			return ByEventBridge
		}
		return BySNS
	}}
	if err := n.Configured("corpus"); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"b", "s"} {
		if sent, err := n.Uploaded("corpus", key, 3, "e"); !sent || err != nil {
			t.Fatalf("%v, %v", sent, err)
		}
	}
	var kinds []string
	for _, m := range q.Left() {
		var e struct {
			Event, Subject string
			Type           string `json:"detail-type"`
		}
		decode(t, m.Body, &e)
		kinds = append(kinds, e.Event+e.Subject+e.Type)
	}
	if want := []string{"s3:TestEvent", "Amazon S3 Notification", "Object Created", "Amazon S3 Notification"}; !slices.Equal(kinds, want) {
		t.Errorf("%q", kinds)
	}
}
