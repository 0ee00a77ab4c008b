package stack

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestRuntimeAPIRefuses says what a runtime gets that does not keep to the protocol.
func TestRuntimeAPIRefuses(t *testing.T) {
	t.Parallel()
	e := &environment{work: make(chan *call), ready: make(chan struct{}), limit: 1}
	server := httptest.NewServer(e.api())
	defer server.Close()
	request := func(method, path string) (int, string, http.Header) {
		t.Helper()
		r, err := http.NewRequest(method, server.URL+"/2018-06-01/runtime/"+path, strings.NewReader(`{"errorType":"T","errorMessage":"m"}`))
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body), response.Header
	}
	c := &call{id: "one", event: []byte(`{}`), replied: make(chan struct{}), completed: make(chan struct{})}
	go func() { e.work <- c }()
	for _, step := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"POST", "invocation/one/response", 400, "InvalidRequestID"},
		{"GET", "invocation/next", 200, "{}"},
		{"GET", "invocation/next", 403, "InvalidStateTransition"},
		{"POST", "invocation/two/response", 400, "InvalidRequestID"},
		{"POST", "invocation/one/error", 202, `{"status":"OK"}`},
		{"POST", "invocation/one/response", 403, "InvalidStateTransition"},
		{"POST", "init/error", 202, `{"status":"OK"}`},
		{"GET", "init/error", 405, ""},
		{"GET", "restore/next", 404, ""},
	} {
		status, body, header := request(step.method, step.path)
		if status != step.status || !strings.Contains(body, step.body) {
			t.Errorf("%s %s: %d %s", step.method, step.path, status, body)
		}
		if status == 200 {
			for _, name := range []string{"Aws-Request-Id", "Deadline-Ms", "Trace-Id"} {
				if header.Get("Lambda-Runtime-"+name) == "" {
					t.Errorf("no header Lambda-Runtime-%s: %v", name, header)
				}
			}
		}
	}
	want := FunctionError{Type: "T", Message: "m"}
	if got, ok := c.err.(*FunctionError); !ok || got.Error() != want.Error() || e.initErr.Error() != want.Error() {
		t.Errorf("%v, %v", c.err, e.initErr)
	}
	if got := functionError([]byte("not JSON"), "Kind").Error(); got != "Kind: not JSON" {
		t.Error(got)
	}
}
