package stack

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"time"
)

// Route is a way from S3 to a queue or to the function.
type Route int

const (
	// ByS3: S3 notifies the queue or the function itself.
	ByS3 Route = iota
	// BySNS: S3 notifies a topic of SNS.
	BySNS
	// BySNSRaw: as BySNS, and the queue is subscribed with raw message delivery. SNS delivers to functions never so.
	BySNSRaw
	// ByEventBridge: S3 sends to EventBridge, and a rule's target is the queue or the function.
	ByEventBridge
	// ByEventBridgeAndSNS: a rule's target is a topic of SNS.
	ByEventBridgeAndSNS

	routes // how many there are
)

// Routes returns all routes.
func Routes() (all []Route) {
	for r := range routes {
		all = append(all, r)
	}
	return all
}

func (r Route) String() string {
	return [routes]string{"S3", "S3, SNS", "S3, SNS raw", "S3, EventBridge", "S3, EventBridge, SNS"}[r]
}

// DrawRoute returns a function for Notifier.Route. Every key has a route of its own, which depends on the seed and the
// key alone, in whatever order they are uploaded.
func DrawRoute(seed uint64) func(key string) Route {
	return func(key string) Route {
		h := fnv.New64a()
		fmt.Fprint(h, seed, key)
		sum := h.Sum64()
		return Route((sum ^ sum>>32) % uint64(routes)) // the low bits alone would be poorly mixed
	}
}

// Body is the body of the message of SQS that tells of an object by this route.
func (r Route) Body(o Object) string {
	switch r {
	case BySNS:
		return SNSNotification(s3Subject, S3Event(o))
	case ByEventBridge:
		return EventBridgeEvent(o)
	case ByEventBridgeAndSNS:
		return SNSNotification("", EventBridgeEvent(o))
	}
	return S3Event(o)
}

// Event is the event with which a function is invoked, without a queue, that is told of an object by this route.
func (r Route) Event(o Object) []byte {
	switch r {
	case BySNS, BySNSRaw:
		return SNSEvent(s3Subject, S3Event(o))
	case ByEventBridge:
		return []byte(EventBridgeEvent(o))
	case ByEventBridgeAndSNS:
		return SNSEvent("", EventBridgeEvent(o))
	}
	return []byte(S3Event(o))
}

// s3Subject is the subject with which S3 publishes to a topic. EventBridge publishes without a subject.
const s3Subject = "Amazon S3 Notification"

const (
	topicARN    = "arn:aws:sns:" + Region + ":" + account + ":uploads"
	snsURL      = "https://sns." + Region + ".amazonaws.com/"
	signingCert = snsURL + "SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
)

// snsMessage is what SNS delivers to queues, with the fields in the order in which SNS writes them. A notification has
// no Token and no SubscribeURL, a confirmation no Subject and no UnsubscribeURL.
type snsMessage struct {
	Type             string
	MessageID        string `json:"MessageId"`
	Token            string `json:",omitempty"`
	TopicARN         string `json:"TopicArn"`
	Subject          string `json:",omitempty"`
	Message          string
	SubscribeURL     string `json:",omitempty"`
	Timestamp        string
	SignatureVersion string
	Signature        string
	SigningCertURL   string
	UnsubscribeURL   string `json:",omitempty"`
}

func newSNSMessage(kind, message string) snsMessage {
	return snsMessage{
		Type: kind, MessageID: uuid(), TopicARN: topicARN, Message: message, Timestamp: time.Now().UTC().Format(s3Time),
		SignatureVersion: "1", Signature: signature(), SigningCertURL: signingCert,
	}
}

// signature is of the length of one by SHA1withRSA. Nobody could verify it.
func signature() string {
	b := make([]byte, 256)
	_, _ = rand.Read(b) // never fails
	return base64.StdEncoding.EncodeToString(b)
}

// SNSNotification is the body of the message of SQS to which SNS makes what was published to a topic, where the queue is
// subscribed without raw message delivery. An empty subject is none. The body has several lines, as SNS's own.
func SNSNotification(subject, message string) string {
	m := newSNSMessage("Notification", message)
	m.Subject = subject
	m.UnsubscribeURL = unsubscribe(uuid())
	return indented(m)
}

// SNSSubscriptionConfirmation is the body of the message of SQS by which SNS asks the owner of a queue to confirm a
// subscription that somebody else has made.
func SNSSubscriptionConfirmation() string {
	m := newSNSMessage("SubscriptionConfirmation", "You have chosen to subscribe to the topic "+topicARN+
		".\nTo confirm the subscription, visit the SubscribeURL included in this message.")
	m.Token = randomHex(128)
	m.SubscribeURL = snsURL + "?Action=ConfirmSubscription&TopicArn=" + topicARN + "&Token=" + m.Token
	return indented(m)
}

func unsubscribe(subscription string) string {
	return snsURL + "?Action=Unsubscribe&SubscriptionArn=" + topicARN + ":" + subscription
}

func indented(m snsMessage) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(m) // it has strings only
	return strings.TrimSuffix(b.String(), "\n")
}

// SNSEvent is the event by which SNS invokes a function that is subscribed to a topic. An empty subject is none, which
// SNS writes as null.
func SNSEvent(subject, message string) []byte {
	type sns struct {
		Type              string
		MessageID         string `json:"MessageId"`
		TopicARN          string `json:"TopicArn"`
		Subject           *string
		Message           string
		Timestamp         string
		SignatureVersion  string
		Signature         string
		SigningCertURL    string `json:"SigningCertUrl"`
		UnsubscribeURL    string `json:"UnsubscribeUrl"`
		MessageAttributes struct{}
	}
	type record struct {
		EventSource          string
		EventVersion         string
		EventSubscriptionARN string `json:"EventSubscriptionArn"`
		SNS                  sns    `json:"Sns"`
	}
	subscription := uuid()
	m := newSNSMessage("Notification", message)
	r := record{EventSource: "aws:sns", EventVersion: "1.0", EventSubscriptionARN: topicARN + ":" + subscription}
	r.SNS = sns{
		Type: m.Type, MessageID: m.MessageID, TopicARN: m.TopicARN, Message: m.Message, Timestamp: m.Timestamp,
		SignatureVersion: m.SignatureVersion, Signature: m.Signature, SigningCertURL: m.SigningCertURL, UnsubscribeURL: unsubscribe(subscription),
	}
	if subject != "" {
		r.SNS.Subject = &subject
	}
	return mustJSON(map[string]any{"Records": []record{r}})
}

// EventBridgeEvent is S3's event of an object in EventBridge: "Object Created", or "Object Deleted" where the object's
// Event is "ObjectRemoved:...". It is the body of a message of SQS and the event of a function alike. The key is as it
// is, and not form-encoded as in S3Event.
func EventBridgeEvent(o Object) string {
	o = o.defaults()
	type object struct {
		Key       string `json:"key"`
		Size      *int64 `json:"size,omitempty"`
		ETag      string `json:"etag"`
		VersionID string `json:"version-id,omitempty"`
		Sequencer string `json:"sequencer"`
	}
	type detail struct {
		Version      string            `json:"version"`
		EventVersion string            `json:"event-version"`
		Bucket       map[string]string `json:"bucket"`
		Object       object            `json:"object"`
		RequestID    string            `json:"request-id"`
		Requester    string            `json:"requester"`
		Source       string            `json:"source-ip-address"`
		Reason       string            `json:"reason"`
		DeletionType string            `json:"deletion-type,omitempty"`
	}
	d := detail{
		Version: "0", EventVersion: "1.0", Bucket: map[string]string{"name": o.Bucket},
		Object:    object{Key: o.Key, Size: &o.Size, ETag: o.ETag, VersionID: o.VersionID, Sequencer: sequencer()},
		RequestID: strings.ToUpper(randomHex(8)), Requester: account, Source: "192.0.2.1", Reason: reasons[o.Event],
	}
	kind := "Object Created"
	if strings.HasPrefix(o.Event, "ObjectRemoved:") {
		kind, d.Object.Size, d.Reason, d.DeletionType = "Object Deleted", nil, "DeleteObject", "Permanently Deleted"
		if o.Event == "ObjectRemoved:DeleteMarkerCreated" {
			d.DeletionType = "Delete Marker Created"
		}
	}
	return string(mustJSON(struct {
		Version    string   `json:"version"`
		ID         string   `json:"id"`
		DetailType string   `json:"detail-type"`
		Source     string   `json:"source"`
		Account    string   `json:"account"`
		Time       string   `json:"time"`
		Region     string   `json:"region"`
		Resources  []string `json:"resources"`
		Detail     detail   `json:"detail"`
	}{"0", uuid(), kind, "aws.s3", account, o.Time.UTC().Format(time.RFC3339), Region, []string{"arn:aws:s3:::" + o.Bucket}, d}))
}

// reasons has what EventBridge calls the request by which an object came, by the event's name in S3's notification.
var reasons = map[string]string{
	"ObjectCreated:Put":                     "PutObject",
	"ObjectCreated:Post":                    "POST Object",
	"ObjectCreated:Copy":                    "CopyObject",
	"ObjectCreated:CompleteMultipartUpload": "CompleteMultipartUpload",
}
