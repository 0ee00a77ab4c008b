package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// The test binary is its own bootstrap: started with this variable, it is the function below.
const bootstrapVariable = "STACK_TEST_BOOTSTRAP"

// patience is how long tests wait for what must come. It is far more than any machine needs, so a wait that ends with
// it is a hang.
const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	switch os.Getenv(bootstrapVariable) {
	case "":
		os.Exit(m.Run())
	case "init-exit":
		os.Exit(9)
	case "init-hang":
		hang()
	default:
		lambda.Start(bootstrap)
	}
}

// hang never returns, while the process lives. (With an empty select, Go's runtime would see a deadlock and end the
// process.)
func hang() {
	for {
		time.Sleep(time.Hour)
	}
}

// order is an event of the test function, and the body of its messages.
type order struct {
	Do string // see obey
	N  int
	S  string
}

type errOdd struct{ n int }

func (e *errOdd) Error() string { return fmt.Sprintf("%d is odd", e.n) }

// bootstrap obeys an order, or the orders in the messages of an SQS event, of which it reports those that failed.
func bootstrap(ctx context.Context, event json.RawMessage) (any, error) {
	var batch events.SQSEvent
	if err := json.Unmarshal(event, &batch); err != nil {
		return nil, err
	}
	if batch.Records == nil {
		var o order
		if err := json.Unmarshal(event, &o); err != nil {
			return nil, err
		}
		return obey(ctx, o, 0)
	}
	var response events.SQSEventResponse
	for _, m := range batch.Records {
		if err := checkRecord(m); err != nil {
			return nil, err
		}
		var o order
		if err := json.Unmarshal([]byte(m.Body), &o); err != nil {
			return nil, err
		}
		receives, err := strconv.Atoi(m.Attributes["ApproximateReceiveCount"])
		if err != nil {
			return nil, err
		}
		if _, err := obey(ctx, o, receives); err != nil {
			fmt.Println("failed:", m.MessageId, err)
			response.BatchItemFailures = append(response.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
		}
	}
	return response, nil
}

func checkRecord(m events.SQSMessage) error {
	if m.EventSource != "aws:sqs" || m.AWSRegion != Region || !strings.HasPrefix(m.EventSourceARN, "arn:aws:sqs:") ||
		m.Md5OfBody != md5Hex(m.Body) || m.ReceiptHandle == "" || m.Attributes["SentTimestamp"] == "" {
		return fmt.Errorf("not an SQS record: %+v", m)
	}
	return nil
}

func obey(ctx context.Context, o order, receives int) (any, error) {
	switch o.Do {
	case "echo":
		return o, nil
	case "about": // what the environment says of itself
		lc, _ := lambdacontext.FromContext(ctx)
		deadline, _ := ctx.Deadline()
		return map[string]any{
			"pid": os.Getpid(), "id": lc.AwsRequestID, "arn": lc.InvokedFunctionArn, "deadline": deadline.UnixMilli(),
			"name": lambdacontext.FunctionName, "memory": lambdacontext.MemoryLimitInMB, "version": lambdacontext.FunctionVersion,
			"region": os.Getenv("AWS_REGION"), "root": os.Getenv("LAMBDA_TASK_ROOT"), "own": os.Getenv("STACK_TEST_OWN"),
			"environment": os.Getenv("STACK_TEST_ENVIRONMENT"), "home": os.Getenv("HOME"), "trace": os.Getenv("_X_AMZN_TRACE_ID"),
			"concurrency": os.Getenv("AWS_LAMBDA_MAX_CONCURRENCY"),
		}, nil
	case "hang": // whatever the deadline
		hang()
	case "call": // the server at S, and wait until it answers
		response, err := http.Get(o.S)
		if err != nil {
			return nil, err
		}
		return o, response.Body.Close()
	case "exit":
		os.Exit(o.N)
	case "panic":
		panic(o.S)
	case "error":
		return nil, &errOdd{o.N}
	case "print":
		for i := range o.N {
			fmt.Println("line", i)
		}
		fmt.Fprint(os.Stderr, o.S)
		return o, nil
	case "large":
		return strings.Repeat("x", o.N), nil
	case "allocate":
		b := make([]byte, o.N)
		for i := 0; i < len(b); i += 1 << 10 {
			b[i] = 1
		}
		runtime.KeepAlive(b)
		return o, nil
	case "leave": // a file in /tmp, and say what was there
		entries, err := os.ReadDir(os.TempDir())
		if err != nil {
			return nil, err
		}
		names := []string{}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if err := os.WriteFile(filepath.Join(os.TempDir(), o.S), nil, 0o600); err != nil {
			return nil, err
		}
		if o.N > 0 {
			os.Exit(o.N)
		}
		return names, nil
	case "fail until": // the Nth receive
		if receives < o.N {
			return nil, errors.New("too early")
		}
		fallthrough
	case "work": // leave a mark
		f, err := os.OpenFile(os.Getenv("STACK_TEST_MARKS"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		if _, err := fmt.Fprintln(f, o.S); err != nil {
			return nil, err
		}
		return o, f.Close()
	case "send": // N messages of work to the queue at S
		c, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return nil, err
		}
		for i := range o.N {
			body := string(mustJSON(order{Do: "work", S: fmt.Sprint("child ", i)}))
			_, err := sqs.NewFromConfig(c).SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: aws.String(o.S), MessageBody: &body})
			if err != nil {
				return nil, err
			}
		}
		return o, nil
	}
	return nil, fmt.Errorf("no such order: %q", o.Do)
}

// function is a Function of the test bootstrap, closed at the end of the test.
func function(t *testing.T, c FunctionConfig) *Function {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c.Path = path
	if c.Env == nil {
		c.Env = []string{bootstrapVariable + "=run"}
	}
	if c.Timeout == 0 {
		c.Timeout = patience
	}
	if c.InitTimeout == 0 {
		c.InitTimeout = patience
	}
	f, err := NewFunction(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func invoke(f *Function, o order) ([]byte, error) {
	return f.Invoke(context.Background(), mustJSON(o))
}
