package job_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// lane takes requests out of a test's bubble (package testing/synctest). The clock of a bubble goes on where all its
// goroutines wait for each other or for the clock. One that waits for a lane waits for something outside, so the clock
// stands still however slow the server is, and time-outs come where the test wants them alone. A request and its answer
// cross whole, without the bubble's contexts.
type lane struct {
	requests chan *http.Request
	answers  chan laneAnswer
}

type laneAnswer struct {
	response *http.Response
	err      error
}

// lanes are all lanes that are free.
type lanes chan *lane

// newLanes starts n lanes, which end with the test. It is called outside of bubbles.
func newLanes(t *testing.T, n int) lanes {
	free := make(lanes, n)
	connections := &http.Transport{MaxIdleConnsPerHost: n}
	t.Cleanup(connections.CloseIdleConnections)
	for range n {
		l := &lane{make(chan *http.Request), make(chan laneAnswer)}
		t.Cleanup(func() { close(l.requests) })
		go func() {
			for r := range l.requests {
				response, err := whole(connections.RoundTrip(r))
				l.answers <- laneAnswer{response, err}
			}
		}()
		free <- l
	}
	return free
}

// whole reads an answer's body to its end.
func whole(a *http.Response, err error) (*http.Response, error) {
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	a.Body = io.NopCloser(bytes.NewReader(b))
	return a, err
}

// RoundTrip sends a request, whatever becomes of its context, and waits for the whole answer.
func (free lanes) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
	}
	// Nothing of the bubble's may cross but the bytes.
	out := &http.Request{Method: r.Method, URL: r.URL, Host: r.Host, Header: r.Header.Clone(), ContentLength: r.ContentLength,
		Proto: r.Proto, ProtoMajor: r.ProtoMajor, ProtoMinor: r.ProtoMinor, Body: http.NoBody}
	if len(body) > 0 {
		out.Body = io.NopCloser(bytes.NewReader(body))
	}
	l := <-free
	l.requests <- out
	a := <-l.answers
	free <- l
	if a.err != nil {
		return nil, a.err
	}
	a.response.Request = r
	return a.response, nil
}

// inServersTime runs a test in a bubble whose clock, which begins in the year 2000, is first set to the time outside: a
// server takes no signatures of another time.
func inServersTime(t *testing.T, run func(t *testing.T)) {
	now := time.Now().Round(0) // without the clock that bubbles have another one of
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now))
		run(t)
	})
}
