package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

var (
	// ErrTimeout is wrapped by a *TimeoutError.
	ErrTimeout = errors.New("timed out")
	// ErrExited is wrapped by an *ExitError.
	ErrExited = errors.New("the process ended before it answered")
	// ErrTooLarge says that an event is over MaxPayload bytes.
	ErrTooLarge = errors.New("the event is over the limit of an invocation")
	// ErrClosed says that Close was called.
	ErrClosed = errors.New("the function is closed")
)

// TimeoutError is an invocation whose process was killed at its deadline.
type TimeoutError struct {
	RequestID string
	After     time.Duration
	// Init is true if the process had not asked for its first event when InitTimeout passed.
	Init bool
}

func (e *TimeoutError) Error() string {
	if e.Init {
		return fmt.Sprintf("RequestId: %s Error: init timed out after %.2f seconds", e.RequestID, e.After.Seconds())
	}
	return fmt.Sprintf("%s Task timed out after %.2f seconds", e.RequestID, e.After.Seconds())
}

func (e *TimeoutError) Unwrap() error { return ErrTimeout }

// ExitError is an invocation whose process ended before it answered.
type ExitError struct {
	RequestID string
	// Code is the exit code, -1 if a signal ended the process.
	Code int
	// State is how the process ended: "exit status 3", "signal: killed".
	State string
	// Init is true if the process ended before it asked for its first event.
	Init bool
}

func (e *ExitError) Error() string {
	during := ""
	if e.Init {
		during = " during init"
	}
	return fmt.Sprintf("RequestId: %s Error: Runtime exited%s: %s", e.RequestID, during, e.State)
}

func (e *ExitError) Unwrap() error { return ErrExited }

// FunctionError is the error that the function itself reported.
type FunctionError struct {
	Type       string          `json:"errorType"`
	Message    string          `json:"errorMessage"`
	StackTrace json.RawMessage `json:"stackTrace,omitempty"`
}

func (e *FunctionError) Error() string { return fmt.Sprintf("%s: %s", e.Type, e.Message) }

// functionError reads the body of invocation/{id}/error; what is not of its shape becomes the message.
func functionError(body []byte, header string) *FunctionError {
	e := &FunctionError{}
	if err := json.Unmarshal(body, e); err != nil {
		e = &FunctionError{Message: string(body)}
	}
	if e.Type == "" {
		e.Type = header
	}
	if e.Type == "" {
		e.Type = "Runtime.Unknown"
	}
	return e
}
