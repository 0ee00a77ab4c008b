package stack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
)

// endpoint serves queues. The client is AWS's, which checks the MD5 sums of the replies.
func endpoint(t *testing.T, fault func(int) Fault, queues ...*Queue) (*SQSEndpoint, *sqs.Client) {
	t.Helper()
	s, err := ServeSQS(fault, queues...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, sqs.New(sqs.Options{
		BaseEndpoint: aws.String(s.URL()), Region: Region, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
}

func bodies(q *Queue) string {
	var all []string
	for _, m := range q.Left() {
		all = append(all, m.Body)
	}
	sort.Strings(all)
	return strings.Join(all, " ")
}

func entries(bodies ...string) []types.SendMessageBatchRequestEntry {
	var all []types.SendMessageBatchRequestEntry
	for i, body := range bodies {
		all = append(all, types.SendMessageBatchRequestEntry{Id: aws.String(fmt.Sprint("e", i)), MessageBody: aws.String(body)})
	}
	return all
}

func TestSendWithAWSClient(t *testing.T) {
	t.Parallel()
	a, b := queue(t, QueueConfig{Name: "a"}), queue(t, QueueConfig{Name: "b"})
	s, client := endpoint(t, nil, a, b)
	ctx := context.Background()
	one, err := client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: aws.String(s.QueueURL(a)), MessageBody: aws.String("ü<&>\n😀")})
	if err != nil || *one.MD5OfMessageBody != md5Hex("ü<&>\n😀") || *one.MessageId != a.Left()[0].ID || bodies(a) != "ü<&>\n😀" {
		t.Fatalf("%v: %+v", err, one)
	}
	batch, err := client.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{
		QueueUrl: aws.String(s.QueueURL(b)), Entries: entries("x", "y", "\x01", "z"),
	})
	if err != nil || len(batch.Successful) != 3 || len(batch.Failed) != 1 || bodies(b) != "x y z" {
		t.Fatalf("%v: %+v, %q", err, batch, bodies(b))
	}
	if f := batch.Failed[0]; *f.Id != "e2" || *f.Code != "InvalidMessageContents" || !f.SenderFault {
		t.Errorf("%+v", f)
	}
	delayed := entries("later")
	delayed[0].DelaySeconds = 900
	if _, err := client.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: aws.String(s.QueueURL(b)), Entries: delayed}); err != nil {
		t.Fatal(err)
	}
	if n := len(b.Receive(10)); n != 3 {
		t.Errorf("%d visible", n)
	}
}

func TestSQSErrors(t *testing.T) {
	t.Parallel()
	q := queue(t, QueueConfig{})
	s, client := endpoint(t, nil, q)
	ctx := context.Background()
	twice := entries("x", "y")
	twice[1].Id = twice[0].Id
	badID := entries("x")
	badID[0].Id = aws.String("no spaces")
	attributes := entries("x")
	attributes[0].MessageAttributes = map[string]types.MessageAttributeValue{
		"n": {DataType: aws.String("String"), StringValue: aws.String("v")},
	}
	half := strings.Repeat("x", MaxMessage/2+1)
	for _, c := range []struct {
		name    string
		entries []types.SendMessageBatchRequestEntry
		want    any // a pointer for errors.As
	}{
		{"none", []types.SendMessageBatchRequestEntry{}, new(*types.EmptyBatchRequest)},
		{"eleven", entries(strings.Fields("a b c d e f g h i j k")...), new(*types.TooManyEntriesInBatchRequest)},
		{"an id twice", twice, new(*types.BatchEntryIdsNotDistinct)},
		{"a bad id", badID, new(*types.InvalidBatchEntryId)},
		{"too long", entries(half, half), new(*types.BatchRequestTooLong)},
	} {
		_, err := client.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: aws.String(s.QueueURL(q)), Entries: c.entries})
		if err == nil || !errors.As(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	out, err := client.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: aws.String(s.QueueURL(q)), Entries: attributes})
	if err != nil || len(out.Failed) != 1 || *out.Failed[0].Code != "UnsupportedOperation" {
		t.Errorf("attributes: %v %+v", err, out)
	}
	one := func(url, body string) error {
		_, err := client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: aws.String(url), MessageBody: aws.String(body)})
		return err
	}
	if err := one(s.URL()+"/1/no", "x"); !errors.As(err, new(*types.QueueDoesNotExist)) {
		t.Error(err)
	}
	if err := one(s.QueueURL(q), "\x01"); !errors.As(err, new(*types.InvalidMessageContents)) {
		t.Error(err)
	}
	var api smithy.APIError
	if err := one(s.QueueURL(q), half+half); !errors.As(err, &api) || api.ErrorCode() != "InvalidParameterValue" {
		t.Error(err)
	}
	_, err = client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: aws.String(s.QueueURL(q))})
	if !errors.As(err, new(*types.UnsupportedOperation)) {
		t.Error(err)
	}
	response, err := http.Post(s.URL(), "application/x-amz-json-1.0", strings.NewReader("{}"))
	if err != nil || response.StatusCode != http.StatusForbidden {
		t.Errorf("unsigned: %v %v", err, response)
	}
	if q.Counters().Sent != 0 {
		t.Errorf("sent: %q", bodies(q))
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault  Fault
		left   string // after the client's retry
		failed int
		what   string
	}{
		{FaultRefused, "x y z", 0, "sent once"},
		{FaultLost, "x x y y z z", 0, "sent twice"},
		{FaultEntries, "y", 2, "half is sent"},
	} {
		q := queue(t, QueueConfig{})
		s, client := endpoint(t, func(request int) Fault {
			if request == 0 {
				return c.fault
			}
			return NoFault
		}, q)
		out, err := client.SendMessageBatch(context.Background(), &sqs.SendMessageBatchInput{
			QueueUrl: aws.String(s.QueueURL(q)), Entries: entries("x", "y", "z"),
		})
		if err != nil || len(out.Failed) != c.failed || bodies(q) != c.left {
			t.Errorf("%s: %v, %+v, %q", c.what, err, out, bodies(q))
		}
	}
}

// TestFunctionSends has the function put messages in the queue it is fed from.
func TestFunctionSends(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "marks")
	q := queue(t, QueueConfig{Visibility: time.Hour})
	s, _ := endpoint(t, nil, q)
	f := function(t, FunctionConfig{
		Env: []string{bootstrapVariable + "=run", "STACK_TEST_MARKS=" + path, "AWS_ENDPOINT_URL_SQS=" + s.URL()},
	})
	sendOrder(t, q, order{Do: "send", N: 5, S: s.QueueURL(q)})
	drain(t, poller(t, PollerConfig{Queue: q, Invoke: f.Invoke}))
	if _, all := marks(t, path); all != 10 || q.Counters().Deleted != 6 { // "child" and a number each
		t.Errorf("%d words, %+v", all, q.Counters())
	}
}
