package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// api is the Runtime API, version 2018-06-01, for one environment.
func (e *environment) api() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", e.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", e.response)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", e.error)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", e.initError)
	return mux
}

// next gives the process an event. By asking for it the process completes the first of the invocations that it has
// answered.
func (e *environment) next(w http.ResponseWriter, r *http.Request) {
	if !e.ask() {
		refuse(w, http.StatusForbidden, "InvalidStateTransition", "an invocation under way has no answer yet")
		return
	}
	var c *call
	select {
	case c = <-e.work:
	case <-r.Context().Done():
	}
	e.mu.Lock()
	e.open--
	if c != nil {
		e.calls = append(e.calls, c)
	}
	e.mu.Unlock()
	if c == nil {
		return
	}
	e.killAt(c, AtEvent)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Lambda-Runtime-Aws-Request-Id", c.id)
	w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(c.deadline.UnixMilli(), 10))
	w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", e.arn)
	w.Header().Set("Lambda-Runtime-Trace-Id",
		fmt.Sprintf("Root=1-%08x-%s;Parent=%s;Sampled=0", time.Now().Unix(), randomHex(12), randomHex(8)))
	_, _ = w.Write(c.event) // where the process is gone, its end says so
}

// ask counts a request for an event. It returns false where the process has as many events, and requests for one, as it
// may have.
func (e *environment) ask() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if i := slices.IndexFunc(e.calls, func(c *call) bool { return c.answered }); i >= 0 {
		close(e.calls[i].completed)
		e.calls = slices.Delete(e.calls, i, i+1)
	}
	if e.open+len(e.calls) >= e.limit {
		return false
	}
	e.open++
	select {
	case <-e.ready:
	default:
		e.initTime = time.Since(e.started)
		close(e.ready)
	}
	return true
}

// killAt kills the process, and breaks off the request that it waits for, where an invocation is to be killed at a
// moment.
func (e *environment) killAt(c *call, at Moment) {
	if e.kills != nil && e.kills(c.number, at) {
		e.kill()
		panic(http.ErrAbortHandler) // net/http's way to break off a connection; it does not go further
	}
}

func (e *environment) response(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxPayload+100))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		failure := &FunctionError{
			Type:    "Function.ResponseSizeTooLarge",
			Message: fmt.Sprintf("Response payload size exceeded maximum allowed payload size (%d bytes).", tooLarge.Limit),
		}
		if e.answer(w, r, nil, failure) {
			refuse(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", failure.Message)
		}
		return
	}
	if err != nil {
		return // the request broke off: the process is gone, or sends it again
	}
	var failure error
	if kind := r.Trailer.Get("Lambda-Runtime-Function-Error-Type"); kind != "" {
		failure = &FunctionError{Type: kind, Message: "the response broke off"}
		body = nil
	}
	if e.answer(w, r, body, failure) {
		accept(w)
	}
}

func (e *environment) error(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxPayload))
	if err != nil {
		return
	}
	if e.answer(w, r, nil, functionError(body, r.Header.Get("Lambda-Runtime-Function-Error-Type"))) {
		accept(w)
	}
}

// answer stores the answer of the invocation that the path names. It refuses and returns false where that is not under
// way.
func (e *environment) answer(w http.ResponseWriter, r *http.Request, response []byte, failure error) bool {
	e.mu.Lock()
	i := slices.IndexFunc(e.calls, func(c *call) bool { return c.id == r.PathValue("id") })
	var c *call
	if i >= 0 {
		c = e.calls[i]
	}
	e.mu.Unlock()
	if c == nil {
		refuse(w, http.StatusBadRequest, "InvalidRequestID", "no such invocation is under way")
		return false
	}
	e.killAt(c, AtAnswer)
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.answered {
		refuse(w, http.StatusForbidden, "InvalidStateTransition", "the invocation has an answer")
		return false
	}
	c.answered, c.response, c.err = true, response, failure
	close(c.replied)
	return true
}

// initError stores why the process could not start. Invoke returns it once the process has ended.
func (e *environment) initError(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxPayload))
	if err != nil {
		return
	}
	e.mu.Lock()
	e.initErr = functionError(body, r.Header.Get("Lambda-Runtime-Function-Error-Type"))
	e.mu.Unlock()
	accept(w)
}

func accept(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"OK"}`+"\n")
}

func refuse(w http.ResponseWriter, status int, kind, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(&FunctionError{Type: kind, Message: message})
}
