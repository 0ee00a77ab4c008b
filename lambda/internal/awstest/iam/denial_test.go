package iam

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestDenial switches denials on and off, and asks for objects and lists in between.
func TestDenial(t *testing.T) {
	t.Parallel()
	d := NewDenial(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	server := httptest.NewServer(d)
	defer server.Close()
	// ask returns which of these requests are denied.
	ask := func() (denied string) {
		t.Helper()
		for _, call := range []string{
			"GET /in/jobs/a%20b/shards/0", "HEAD /in/jobs/a%20b/shards/0", "GET /in/jobs/c", "PUT /in/jobs/a%20b/shards/0", "GET /out/jobs/a%20b/shards/0",
			"GET /in?list-type=2&prefix=jobs/a%20b/", "GET /out?list-type=2",
		} {
			method, path, _ := strings.Cut(call, " ")
			r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode == http.StatusForbidden {
				denied += method + " " + strings.SplitN(path, "/", 3)[1][:2] + ", "
			}
			_ = response.Body.Close()
		}
		return denied
	}
	for _, c := range []struct {
		rules []Rule
		want  string
	}{
		{nil, ""},
		{[]Rule{{Bucket: "in", Prefix: "jobs/a b/"}}, "GET in, HEAD in, "},
		{[]Rule{{Bucket: "in", Prefix: "jobs/x"}}, ""},
		{[]Rule{{Bucket: "in", Prefix: "jobs/a b/", List: true}}, "GET in, HEAD in, GET in, "},
		{[]Rule{{Bucket: "out"}, {Bucket: "in", Prefix: "jobs/c"}}, "GET in, GET ou, "},
		{nil, ""},
	} {
		before := d.Count()
		d.Set(c.rules...)
		if got := ask(); got != c.want || d.Count()-before != strings.Count(c.want, ",") {
			t.Errorf("with %+v it denies %q, and counts %d", c.rules, got, d.Count()-before)
		}
	}
}
