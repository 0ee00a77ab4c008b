package stack

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Object is an uploaded object, for S3Event and EventBridgeEvent.
type Object struct {
	Bucket, Key string
	Size        int64
	// ETag with or without the quotes of the HTTP header.
	ETag string
	// VersionID is of buckets with versions. Default: none.
	VersionID string
	// Event is "ObjectCreated:Copy", "ObjectRemoved:Delete" and the like. Default: by the ETag, of one put or of a multipart
	// upload.
	Event string
	// Time of the upload. Default: now.
	Time time.Time
}

// defaults returns the object with its defaults, and with an ETag without quotes.
func (o Object) defaults() Object {
	o.ETag = strings.Trim(o.ETag, `"`)
	if o.Event == "" {
		o.Event = "ObjectCreated:Put"
		if strings.Contains(o.ETag, "-") {
			o.Event = "ObjectCreated:CompleteMultipartUpload"
		}
	}
	if o.Time.IsZero() {
		o.Time = time.Now()
	}
	return o
}

type s3Identity struct {
	PrincipalID string `json:"principalId"`
}

// s3Record is a record of version 2.1 of S3's event structure, with the fields in the order S3 sends.
type s3Record struct {
	EventVersion      string     `json:"eventVersion"`
	EventSource       string     `json:"eventSource"`
	AWSRegion         string     `json:"awsRegion"`
	EventTime         string     `json:"eventTime"`
	EventName         string     `json:"eventName"`
	UserIdentity      s3Identity `json:"userIdentity"`
	RequestParameters struct {
		SourceIPAddress string `json:"sourceIPAddress"`
	} `json:"requestParameters"`
	ResponseElements struct {
		RequestID string `json:"x-amz-request-id"`
		ID2       string `json:"x-amz-id-2"`
	} `json:"responseElements"`
	S3 struct {
		SchemaVersion   string `json:"s3SchemaVersion"`
		ConfigurationID string `json:"configurationId"`
		Bucket          struct {
			Name          string     `json:"name"`
			OwnerIdentity s3Identity `json:"ownerIdentity"`
			ARN           string     `json:"arn"`
		} `json:"bucket"`
		Object struct {
			Key       string `json:"key"`
			Size      int64  `json:"size"`
			ETag      string `json:"eTag"`
			VersionID string `json:"versionId,omitempty"`
			Sequencer string `json:"sequencer"`
		} `json:"object"`
	} `json:"s3"`
}

const s3Time = "2006-01-02T15:04:05.000Z"

// sequence makes sequencers that rise, as S3's do for one key.
var sequence atomic.Int64

func sequencer() string { return fmt.Sprintf("00%016X", 0x65A1B2C3D4E5F600+sequence.Add(1)) }

// S3Event is the body of the message that S3 sends of uploads. S3 sends one record a message; more are for tests.
func S3Event(objects ...Object) string {
	records := make([]s3Record, len(objects))
	for i, o := range objects {
		o = o.defaults()
		r := &records[i]
		r.EventVersion = "2.1"
		r.EventSource = "aws:s3"
		r.AWSRegion = Region
		r.EventTime = o.Time.UTC().Format(s3Time)
		r.EventName = o.Event
		r.UserIdentity.PrincipalID = "AWS:AIDAEXAMPLE"
		r.RequestParameters.SourceIPAddress = "192.0.2.1"
		r.ResponseElements.RequestID = strings.ToUpper(randomHex(8))
		r.ResponseElements.ID2 = randomHex(38)
		r.S3.SchemaVersion = "1.0"
		r.S3.ConfigurationID = "quarry"
		r.S3.Bucket.Name = o.Bucket
		r.S3.Bucket.OwnerIdentity.PrincipalID = "A3NL1KOZZKEXAMPLE"
		r.S3.Bucket.ARN = "arn:aws:s3:::" + o.Bucket
		r.S3.Object.Key = eventKey(o.Key)
		r.S3.Object.Size = o.Size
		r.S3.Object.ETag = o.ETag
		r.S3.Object.VersionID = o.VersionID
		r.S3.Object.Sequencer = sequencer()
	}
	return string(mustJSON(map[string]any{"Records": records}))
}

// eventKey writes a key as S3 does in events: form-encoded, but with slashes. A space is +, a plus sign %2B, an equals
// sign %3D, and what is not ASCII the UTF-8 bytes in percent. (Of * and ~ it is not known how S3 writes them; any
// decoder takes both ways.)
func eventKey(key string) string {
	return strings.ReplaceAll(url.QueryEscape(key), "%2F", "/")
}

// S3TestEvent is the body of the message that S3 sends when a notification is configured. It has no Records.
func S3TestEvent(bucket string) string {
	return string(mustJSON(struct{ Service, Event, Time, Bucket, RequestId, HostId string }{
		"Amazon S3", "s3:TestEvent", time.Now().UTC().Format(s3Time), bucket, strings.ToUpper(randomHex(8)), randomHex(38),
	}))
}

// Notifier is a bucket's notification configuration that ends in one queue: of uploads, with a filter.
type Notifier struct {
	Queue *Queue
	// Prefix and Suffix that keys must have. Default: none.
	Prefix, Suffix string
	// Route is the way that the event of a key's upload takes to the queue. DrawRoute is such a function. Calls may
	// overlap. Default: ByS3 for all keys.
	Route func(key string) Route
}

// Configured sends what S3 sends when the configuration is put: its test event, and where uploads take several ways the
// same event by SNS. (S3 sends none to EventBridge.)
func (n *Notifier) Configured(bucket string) error {
	bodies := []string{S3TestEvent(bucket)}
	if n.Route != nil {
		bodies = append(bodies, SNSNotification(s3Subject, S3TestEvent(bucket)))
	}
	for _, body := range bodies {
		if err := n.send(body); err != nil {
			return err
		}
	}
	return nil
}

// Uploaded sends the event of an upload, if the filter takes the key; sent says so.
func (n *Notifier) Uploaded(bucket, key string, size int64, etag string) (sent bool, err error) {
	if !strings.HasPrefix(key, n.Prefix) || !strings.HasSuffix(key, n.Suffix) {
		return false, nil
	}
	route := ByS3
	if n.Route != nil {
		route = n.Route(key)
	}
	if err := n.send(route.Body(Object{Bucket: bucket, Key: key, Size: size, ETag: etag})); err != nil {
		return false, fmt.Errorf("stack: notify of s3://%s/%s: %w", bucket, key, err)
	}
	return true, nil
}

func (n *Notifier) send(body string) error {
	if n.Queue == nil {
		return errors.New("stack: notifier: Queue is needed")
	}
	_, err := n.Queue.Send(body)
	return err
}
