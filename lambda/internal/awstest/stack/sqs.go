package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Fault is what goes wrong with a request to an SQS endpoint.
type Fault int

const (
	// NoFault: nothing.
	NoFault Fault = iota
	// FaultRefused: 503, and nothing is sent. SDKs try again.
	FaultRefused
	// FaultLost: the messages are sent, but the connection breaks before the reply. SDKs try again, so the messages come
	// twice.
	FaultLost
	// FaultEntries: every second entry of a SendMessageBatch, from the first, fails with InternalError, in a reply of
	// status 200.
	FaultEntries
)

// SQSEndpoint speaks SQS's protocol (AWS JSON 1.0) for SendMessage and SendMessageBatch. Requests must be signed, but
// the signature is not checked. Message attributes are refused: a Queue does not carry them.
type SQSEndpoint struct {
	queues   map[string]*Queue
	fault    func(request int) Fault
	listener net.Listener
	server   *http.Server
	mu       sync.Mutex
	requests int
}

// ServeSQS listens on a free port of this machine, for these queues. fault may be nil; it is asked for each request,
// which count from 0, and its calls do not overlap. Close ends it.
func ServeSQS(fault func(request int) Fault, queues ...*Queue) (*SQSEndpoint, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("stack: SQS: %w", err)
	}
	s := &SQSEndpoint{queues: map[string]*Queue{}, fault: fault, listener: listener}
	for _, q := range queues {
		s.queues[q.Name()] = q
	}
	s.server = &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: time.Minute}
	go func() { _ = s.server.Serve(listener) }()
	return s, nil
}

// URL is the value for AWS_ENDPOINT_URL_SQS.
func (s *SQSEndpoint) URL() string { return "http://" + s.listener.Addr().String() }

// QueueURL is where to send to a queue.
func (s *SQSEndpoint) QueueURL(q *Queue) string { return s.URL() + "/" + account + "/" + q.Name() }

// Close breaks off what is under way.
func (s *SQSEndpoint) Close() error { return s.server.Close() }

type sqsEntry struct {
	ID                string `json:"Id"`
	MessageBody       string
	DelaySeconds      *int32
	MessageAttributes map[string]json.RawMessage
}

type sqsRequest struct {
	QueueURL string `json:"QueueUrl"`
	sqsEntry
	Entries []sqsEntry
}

type sqsSent struct {
	ID               string `json:"Id,omitempty"`
	MessageID        string `json:"MessageId"`
	MD5OfMessageBody string
}

type sqsFailed struct {
	ID          string `json:"Id"`
	Code        string
	Message     string
	SenderFault bool
}

// sqsError is an error of the service: the shape's name, and the code of the older query protocol, which SDKs report.
type sqsError struct {
	status               int
	shape, code, message string
}

func (e *sqsError) Error() string { return e.shape + ": " + e.message }

// badRequest has a query code that is the shape's with a prefix, as most are.
func badRequest(shape, format string, args ...any) *sqsError {
	return &sqsError{http.StatusBadRequest, shape, "AWS.SimpleQueueService." + shape, fmt.Sprintf(format, args...)}
}

func (s *SQSEndpoint) serve(w http.ResponseWriter, r *http.Request) {
	fault := NoFault
	s.mu.Lock()
	if s.fault != nil {
		fault = s.fault(s.requests)
	}
	s.requests++
	s.mu.Unlock()

	var reply any
	var failure *sqsError
	if fault == FaultRefused {
		failure = &sqsError{http.StatusServiceUnavailable, "ServiceUnavailable", "ServiceUnavailable", "try again"}
	} else {
		reply, failure = s.answer(w, r, fault == FaultEntries)
	}
	if fault == FaultLost {
		panic(http.ErrAbortHandler) // net/http's way to break off a connection; it does not go further
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.Header().Set("X-Amzn-Requestid", uuid())
	if failure == nil {
		_, _ = w.Write(mustJSON(reply))
		return
	}
	by := "Sender"
	if failure.status >= 500 {
		by = "Receiver"
	}
	w.Header().Set("X-Amzn-Query-Error", failure.code+";"+by)
	w.WriteHeader(failure.status)
	_, _ = w.Write(mustJSON(map[string]string{"__type": "com.amazonaws.sqs#" + failure.shape, "message": failure.message}))
}

func (s *SQSEndpoint) answer(w http.ResponseWriter, r *http.Request, failEntries bool) (any, *sqsError) {
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") {
		return nil, &sqsError{http.StatusForbidden, "MissingAuthenticationToken", "MissingAuthenticationToken", "the request is not signed"}
	}
	// JSON may write a byte of a body in six.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 6*MaxMessage+MaxMessage))
	if err != nil {
		return nil, badRequest("BatchRequestTooLong", "%v", err)
	}
	var request sqsRequest
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, &sqsError{http.StatusBadRequest, "SerializationException", "SerializationException", err.Error()}
	}
	q := s.queues[path.Base(request.QueueURL)]
	if q == nil {
		return nil, &sqsError{
			http.StatusBadRequest, "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.",
		}
	}
	switch target := r.Header.Get("X-Amz-Target"); target {
	case "AmazonSQS.SendMessage":
		sent, failure := q.take(request.sqsEntry)
		if failure != nil {
			return nil, failure
		}
		return sent, nil
	case "AmazonSQS.SendMessageBatch":
		return q.takeBatch(request.Entries, failEntries)
	default:
		return nil, badRequest("UnsupportedOperation", "%s is not emulated: only SendMessage and SendMessageBatch are", target)
	}
}

var batchID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

func (q *Queue) takeBatch(entries []sqsEntry, failEntries bool) (any, *sqsError) {
	if len(entries) == 0 {
		return nil, badRequest("EmptyBatchRequest", "There should be at least one entry in the request.")
	}
	if len(entries) > 10 {
		return nil, badRequest("TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10. You have sent %d.", len(entries))
	}
	seen := map[string]bool{}
	total := 0
	for _, e := range entries {
		if !batchID.MatchString(e.ID) {
			return nil, badRequest("InvalidBatchEntryId", "%q is not 1 to 80 letters, digits, hyphens and underscores", e.ID)
		}
		if seen[e.ID] {
			return nil, badRequest("BatchEntryIdsNotDistinct", "Id %s repeated.", e.ID)
		}
		seen[e.ID] = true
		total += len(e.MessageBody)
	}
	if total > MaxMessage {
		return nil, badRequest("BatchRequestTooLong",
			"Batch requests cannot be longer than %d bytes. You have sent %d bytes.", MaxMessage, total)
	}
	var reply struct {
		Successful []sqsSent   `json:",omitempty"`
		Failed     []sqsFailed `json:",omitempty"`
	}
	for i, e := range entries {
		if failEntries && i%2 == 0 {
			reply.Failed = append(reply.Failed, sqsFailed{ID: e.ID, Code: "InternalError", Message: "try again"})
			continue
		}
		sent, failure := q.take(e)
		if failure != nil {
			reply.Failed = append(reply.Failed, sqsFailed{ID: e.ID, Code: failure.shape, Message: failure.message, SenderFault: true})
			continue
		}
		reply.Successful = append(reply.Successful, sent)
	}
	return reply, nil
}

func (q *Queue) take(e sqsEntry) (sqsSent, *sqsError) {
	if len(e.MessageAttributes) > 0 {
		return sqsSent{}, badRequest("UnsupportedOperation", "message attributes are not emulated")
	}
	delay := q.config.Delay
	if e.DelaySeconds != nil {
		if *e.DelaySeconds < 0 || *e.DelaySeconds > 900 {
			return sqsSent{}, invalidParameter(fmt.Sprintf("DelaySeconds is %d, not 0 to 900", *e.DelaySeconds))
		}
		delay = time.Duration(*e.DelaySeconds) * time.Second
	}
	id, err := q.SendAfter(e.MessageBody, delay)
	switch {
	case errors.Is(err, ErrMessageTooLarge), err != nil && e.MessageBody == "":
		return sqsSent{}, invalidParameter(err.Error())
	case err != nil:
		return sqsSent{}, &sqsError{http.StatusBadRequest, "InvalidMessageContents", "InvalidMessageContents", err.Error()}
	}
	return sqsSent{ID: e.ID, MessageID: id, MD5OfMessageBody: md5Hex(e.MessageBody)}, nil
}

// invalidParameter is an error that SQS's model does not list; SDKs give it as a generic one.
func invalidParameter(message string) *sqsError {
	return &sqsError{http.StatusBadRequest, "InvalidParameterValueException", "InvalidParameterValue", message}
}
