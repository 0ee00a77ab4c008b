package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/lambda/internal/awstest/stack"
)

// asFunction makes this test's program the function: with that variable it is main, or, with the value panic, a function
// whose handler panics.
const asFunction = "BOOTSTRAP_TEST_FUNCTION"

func TestMain(m *testing.M) {
	switch os.Getenv(asFunction) {
	case "":
		os.Exit(m.Run())
	case "panic":
		serve(context.Background(), newLog(os.Stdout), panics{})
	default:
		main()
	}
}

// panics is a handler that panics.
type panics struct{}

func (panics) Invoke(context.Context, []byte) ([]byte, error) { panic("one\ntwo") }

// logged invokes a new process of the function with events, and returns its log and the invocations' errors.
func logged(t *testing.T, root, s3 string, env []string, events ...[]byte) (lines []string, failed []error) {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := stack.NewFunction(stack.FunctionConfig{
		Path: path, MemoryMB: 1769, Timeout: 10 * time.Minute, InitTimeout: 10 * time.Minute,
		Log: func(_ int, line string) { lines = append(lines, line) },
		Env: append([]string{
			asFunction + "=1", "LAMBDA_TASK_ROOT=" + root, "AWS_ENDPOINT_URL_S3=" + s3, "AWS_MAX_ATTEMPTS=1", "QUARRY_INPUTS=s3://jobs", "QUARRY_RESULTS=s3://jobs-results",
		}, env...),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range events {
		_, err := f.Invoke(t.Context(), event)
		failed = append(failed, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return lines, failed
}

// checkLine fails where a line is not one JSON object with what every line has. It returns the line's level.
func checkLine(t *testing.T, line string) (level string) {
	t.Helper()
	var l struct {
		Timestamp  time.Time
		Level, Msg string
	}
	if err := json.Unmarshal([]byte(line), &l); err != nil || l.Timestamp.IsZero() || l.Msg == "" || !slices.Contains([]string{"INFO", "WARN", "ERROR"}, l.Level) {
		t.Errorf("%v: %s", err, line)
	}
	return l.Level
}

// s3 serves answers of this status and body to all that the function asks S3 for.
func s3(t *testing.T, status int, body string) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if status == 0 {
			panic(http.ErrAbortHandler) // net/http's way to break off a connection; it does not go further
		}
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// s3Error is the body of an error of S3.
func s3Error(code, message string) string {
	return "<Error><Code>" + code + "</Code><Message>" + message + "</Message></Error>"
}

// sqsEvent is an event of SQS with one message.
func sqsEvent(t *testing.T, body string) []byte {
	t.Helper()
	q, err := stack.NewQueue(stack.QueueConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return stack.SQSEvent(q, []stack.Message{{ID: "m", Receipt: "r", Body: body, Receives: 1}})
}

// TestEveryLineIsJSON has the function fail in every way that it can be made to from outside. Each line that it writes is
// an object of JSON, and one of level ERROR says what has failed.
func TestEveryLineIsJSON(t *testing.T) {
	root := t.TempDir()
	if err := bake(t.Context(), filepath.Join(root, "cache")); err != nil {
		t.Fatal(err)
	}
	sweep := []byte(`{"quarry":"sweep","bucket":"jobs"}`)
	told := []byte(stack.S3Event(stack.Object{Bucket: "jobs", Key: job.Folder + "a/shards/0.safetensors"}))
	every := [][]byte{sweep, told, sqsEvent(t, string(told))}
	absent := s3(t, http.StatusNotFound, s3Error("NoSuchBucket", "The specified bucket does not exist"))
	for _, c := range []struct {
		name   string
		s3     string
		env    []string
		events [][]byte
		want   string // is in a line of level ERROR
	}{
		{"several variables are wrong", absent, []string{"QUARRY_INPUTS=jobs", "QUARRY_RESULTS=", "QUARRY_QUEUE_URL=x\ny"}, every[:1], `QUARRY_INPUTS is \"jobs\"`},
		{"no folder for temporary files", absent, []string{"TMPDIR=" + root + "/none"}, every[:1], "no such file"},
		{"events that are no JSON, or of no shape that is known", absent, nil, [][]byte{[]byte("no JSON"), []byte("[1]"), []byte(`{"Records":[7]}`)}, "not an event of S3"},
		{"a sweep of another bucket", absent, nil, [][]byte{[]byte(`{"quarry":"sweep","bucket":"foreign"}`)}, ""},
		{"no bucket", absent, nil, every, "NoSuchBucket"},
		{"a denial", s3(t, http.StatusForbidden, s3Error("AccessDenied", "Access Denied")), nil, every, ""},
		{"a failure that is told in several lines", s3(t, http.StatusInternalServerError, s3Error("InternalError", "one\ntwo")), nil, every, "InternalError"},
		{"throttling", s3(t, http.StatusServiceUnavailable, s3Error("SlowDown", "Please reduce your request rate")), nil, every, "SlowDown"},
		{"a connection that breaks", s3(t, 0, ""), nil, every, ""},
		{"no server", "http://127.0.0.1:1", nil, every, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines, failed := logged(t, root, c.s3, c.env, c.events...)
			found := false
			for _, line := range lines {
				level := checkLine(t, line)
				found = found || level == "ERROR" && strings.Contains(line, c.want)
			}
			if !found {
				t.Errorf("no line of level ERROR has %q:\n%s", c.want, strings.Join(lines, "\n"))
			}
			starts := c.env == nil
			if exited := errors.Is(failed[0], stack.ErrExited); exited == starts || exited && len(lines) != 1 {
				t.Errorf("%v; %d lines:\n%s", failed, len(lines), strings.Join(lines, "\n"))
			}
		})
	}
}

// TestPanicIsOneLine has a handler panic, with a text of several lines.
func TestPanicIsOneLine(t *testing.T) {
	lines, failed := logged(t, t.TempDir(), "", []string{asFunction + "=panic"}, []byte("{}"))
	if failure := (*stack.FunctionError)(nil); !errors.As(failed[0], &failure) || failure.Message != "one\ntwo" {
		t.Error(failed)
	}
	for _, line := range lines {
		if level := checkLine(t, line); level != "ERROR" {
			t.Errorf("%s: %s", level, line)
		}
	}
	if all := strings.Join(lines, " "); len(lines) != 2 || !strings.Contains(all, "stackTrace") || !strings.Contains(all, "resulted in a panic") {
		t.Errorf("%q", lines)
	}
}
