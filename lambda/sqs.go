package lambda

import (
	"context"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go/logging"
)

type sqsQueue struct {
	client *sqs.Client
	url    string
}

var _ Queue = (*sqsQueue)(nil)

// OpenQueue returns the queue of SQS that has this URL. Region and credentials come from where AWS's own programs have
// them.
func OpenQueue(ctx context.Context, url string) (Queue, error) {
	c, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("open queue %s: %w", url, err)
	}
	quiet := func(o *sqs.Options) { o.Logger = logging.Nop{} } // the SDK would write lines to stderr that are no JSON
	return &sqsQueue{sqs.NewFromConfig(c, quiet), url}, nil
}

// Send sends messages, ten in a request, which is what SQS takes. After an error some of them may have been sent.
func (q *sqsQueue) Send(ctx context.Context, bodies []string) error {
	const batch = 10
	for len(bodies) > 0 {
		n := min(batch, len(bodies))
		var entries []types.SendMessageBatchRequestEntry
		for i, body := range bodies[:n] {
			entries = append(entries, types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: aws.String(body)})
		}
		out, err := q.client.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &q.url, Entries: entries})
		if err != nil {
			return fmt.Errorf("send to queue %s: %w", q.url, err)
		}
		if len(out.Failed) > 0 {
			f := out.Failed[0]
			return fmt.Errorf("send to queue %s: %d of %d messages failed, the first with %s: %s", q.url, len(out.Failed), n, aws.ToString(f.Code), aws.ToString(f.Message))
		}
		bodies = bodies[n:]
	}
	return nil
}
