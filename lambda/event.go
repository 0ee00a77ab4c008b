package lambda

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-lambda-go/events"
)

// errNotUnderstood is in errors of an event that tells of no upload, in no form that this function knows. It is never
// taken for done: its message comes back, and ends in the dead-letter queue, where somebody can look at it.
var errNotUnderstood = errors.New("not an event of S3, nor one that SNS or EventBridge passes on")

// maxWraps is how many services may pass an event on: S3 to EventBridge, to SNS, to SQS, and one to spare.
const maxWraps = 4

// upload is an object that was uploaded.
type upload struct {
	bucket, key string // the key as the object has it
	event       string // what S3 calls it, as ObjectCreated:Put
}

// envelope has the fields by which the forms of an event differ.
type envelope struct {
	Event      string            `json:"Event"`       // of S3's test: s3:TestEvent
	Records    []json.RawMessage `json:"Records"`     // of S3, and of SNS where it invokes the function
	Type       string            `json:"Type"`        // of SNS, in a message of SQS: Notification
	Message    *string           `json:"Message"`     // of SNS: the event that it passes on
	Source     string            `json:"source"`      // of EventBridge: aws.s3
	DetailType string            `json:"detail-type"` // of EventBridge: Object Created
	Detail     *bridgeDetail     `json:"detail"`      // of EventBridge
}

// bridgeDetail is what EventBridge's event says of an object. Unlike S3's own events, it has the key as it is.
type bridgeDetail struct {
	Bucket struct {
		Name string `json:"name"`
	} `json:"bucket"`
	Object struct {
		Key string `json:"key"`
	} `json:"object"`
	Reason string `json:"reason"` // PutObject, CompleteMultipartUpload, …
}

// record is a record of S3's event. It has the fields that this function reads; whatever else is in a record does not
// matter.
type record struct {
	EventSource string `json:"eventSource"` // of S3: aws:s3
	EventName   string `json:"eventName"`
	S3          entity `json:"s3"`
}

type entity struct {
	Bucket struct {
		Name string `json:"name"`
	} `json:"bucket"`
	Object struct {
		Key string `json:"key"` // form-encoded: a space is a plus sign
	} `json:"object"`
}

// snsRecord is a record of SNS, where it invokes the function.
type snsRecord struct {
	EventSource string           `json:"EventSource"` // aws:sns
	SNS         events.SNSEntity `json:"Sns"`
}

// parseUploads returns the uploads that an event tells of: S3's own, or one that SNS or EventBridge passes on. An event
// that tells of something else in a bucket, such as a deletion or S3's test, gives none. Any other event is
// errNotUnderstood; then there may be uploads too, which other records tell of.
func parseUploads(body []byte) ([]upload, error) { return parseWrapped(body, maxWraps) }

func parseWrapped(body []byte, wraps int) ([]upload, error) {
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, fmt.Errorf("%w: it is no JSON object of a known shape", errNotUnderstood)
	}
	switch {
	case e.Event == "s3:TestEvent":
		return nil, nil
	case e.Source == "aws.s3" && e.Detail != nil && e.DetailType != "":
		return e.Detail.uploads(e.DetailType)
	case e.Type == "Notification" && e.Message != nil && wraps > 0:
		return parseWrapped([]byte(*e.Message), wraps-1)
	case e.Type != "" && e.Message != nil:
		return nil, fmt.Errorf("%w: SNS sends a %s, or too many services passed it on", errNotUnderstood, cut(e.Type))
	case len(e.Records) == 0:
		return nil, fmt.Errorf("%w: it has no records", errNotUnderstood)
	}
	var uploads []upload
	var errs []error
	for _, b := range e.Records {
		u, err := parseRecord(b, wraps)
		uploads, errs = append(uploads, u...), append(errs, err)
	}
	return uploads, errors.Join(errs...)
}

// parseRecord returns the uploads of a record of S3 or SNS.
func parseRecord(b []byte, wraps int) ([]upload, error) {
	var s3 record
	if err := json.Unmarshal(b, &s3); err != nil {
		return nil, fmt.Errorf("%w: a record is no JSON object of a known shape", errNotUnderstood)
	}
	if s3.EventSource == "aws:s3" && s3.EventName != "" && s3.S3.Bucket.Name != "" {
		return s3.uploads()
	}
	var sns snsRecord
	if err := json.Unmarshal(b, &sns); err == nil && sns.EventSource == "aws:sns" && sns.SNS.Message != "" && wraps > 0 {
		return parseWrapped([]byte(sns.SNS.Message), wraps-1)
	}
	return nil, fmt.Errorf("%w: a record is of neither S3 nor SNS", errNotUnderstood)
}

func (r *record) uploads() ([]upload, error) {
	if !strings.HasPrefix(r.EventName, "ObjectCreated:") {
		return nil, nil
	}
	key, err := url.QueryUnescape(r.S3.Object.Key)
	if err != nil || key == "" {
		return nil, fmt.Errorf("%w: the key %q is empty or not form-encoded", errNotUnderstood, cut(r.S3.Object.Key))
	}
	return []upload{{r.S3.Bucket.Name, key, r.EventName}}, nil
}

func (d *bridgeDetail) uploads(kind string) ([]upload, error) {
	if d.Bucket.Name == "" || d.Object.Key == "" {
		return nil, fmt.Errorf("%w: EventBridge names no object", errNotUnderstood)
	}
	if kind != "Object Created" {
		return nil, nil
	}
	return []upload{{d.Bucket.Name, d.Object.Key, "ObjectCreated:" + d.Reason}}, nil
}

// cut shortens what an event says, for an error.
func cut(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// uploadEvent returns the event that S3 would send of an upload, as far as this function reads it.
func uploadEvent(bucket, key string) map[string][]record {
	r := record{EventSource: "aws:s3", EventName: "ObjectCreated:Again"}
	r.S3.Bucket.Name, r.S3.Object.Key = bucket, url.QueryEscape(key)
	return map[string][]record{"Records": {r}}
}
