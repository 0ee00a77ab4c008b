package iam

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// TestRequestsNeed has rows after the table in the S3 User Guide, "Required permissions for Amazon S3 API operations".
func TestRequestsNeed(t *testing.T) {
	for _, row := range []struct {
		request string
		header  string
		needs   string
	}{
		{"GET /b/k", "", "s3:GetObject b/k"},
		{"GET /b/k?x-id=GetObject", "", "s3:GetObject b/k"},
		{"GET /b/k?partNumber=1&response-content-type=a", "", "s3:GetObject b/k"},
		{"GET /b/jobs/a%20b%2Fc", "", "s3:GetObject b/jobs/a b/c"},
		{"HEAD /b/k", "", "s3:GetObject b/k"},
		{"PUT /b/k?x-id=PutObject", "", "s3:PutObject b/k"},
		{"PUT /b/k", "If-None-Match: *", "s3:PutObject b/k"},
		{"POST /b/k?uploads", "", "s3:PutObject b/k"},
		{"PUT /b/k?partNumber=1&uploadId=u", "", "s3:PutObject b/k"},
		{"POST /b/k?uploadId=u", "", "s3:PutObject b/k"},
		{"DELETE /b/k?uploadId=u", "", "s3:AbortMultipartUpload b/k"},
		{"GET /b/k?uploadId=u", "", "s3:ListMultipartUploadParts b/k"},
		{"DELETE /b/k", "", "s3:DeleteObject b/k"},
		{"PUT /b/k", "X-Amz-Copy-Source: /c/jobs/a%20b", "s3:GetObject c/jobs/a b, s3:PutObject b/k"},
		{"PUT /b/k", "X-Amz-Copy-Source: c/k?versionId=1", "s3:GetObject ?, s3:PutObject b/k"},
		{"PUT /b/k", "X-Amz-Acl: public-read", "s3:PutObject b/k, s3:PutObjectAcl b/k"},
		{"PUT /b/k", "X-Amz-Grant-Read: id=1", "s3:PutObject b/k, s3:PutObjectAcl b/k"},
		{"PUT /b/k", "X-Amz-Tagging: a=b", "s3:PutObject b/k, s3:PutObjectTagging b/k"},
		{"PUT /b/k", "X-Amz-Object-Lock-Mode: GOVERNANCE", "s3:PutObject b/k, s3:PutObjectRetention b/k"},
		{"GET /b/k?acl", "", "s3:GET?acl b/k"},
		{"PUT /b/k?acl", "", "s3:PUT?acl b/k"},
		{"GET /b/k?versionId=1", "", "s3:GET?versionId b/k"},
		{"DELETE /b/k?versionId=1", "", "s3:DELETE?versionId b/k"},
		{"POST /b/k?select&select-type=2", "", "s3:POST?select&select-type b/k"},
		{"PATCH /b/k", "", "s3:PATCH b/k"},
		{"GET /b?list-type=2&prefix=jobs%2Fj%2F&delimiter=%2F&max-keys=3", "", "s3:ListBucket b s3:delimiter=/ s3:max-keys=3 s3:prefix=jobs/j/"},
		{"GET /b?list-type=2", "", "s3:ListBucket b"},
		{"GET /b/?prefix=", "", "s3:ListBucket b s3:prefix="},
		{"HEAD /b", "", "s3:ListBucket b"},
		{"GET /b?versions&prefix=jobs/", "", "s3:GET?versions b"},
		{"GET /b?uploads", "", "s3:GET?uploads b"},
		{"GET /b?location", "", "s3:GET?location b"},
		{"PUT /b?policy", "", "s3:PUT?policy b"},
		{"PUT /b", "", "s3:CreateBucket b"},
		{"DELETE /b", "", "s3:DeleteBucket b"},
		{"POST /b?delete", "", "s3:DeleteObject b/*"},
		{"GET /", "", "s3:ListAllMyBuckets *"},
	} {
		method, target, _ := strings.Cut(row.request, " ")
		r := httptest.NewRequest(method, target, nil)
		if name, value, ok := strings.Cut(row.header, ": "); ok {
			r.Header.Set(name, value)
		}
		var needs []string
		for _, a := range accesses(r) {
			need := a.Action + " " + strings.TrimPrefix(a.Resource, "arn:aws:s3:::")
			var keys []string
			for k, v := range a.context {
				keys = append(keys, k+"="+v)
			}
			slices.Sort(keys)
			needs = append(needs, strings.Join(append([]string{need}, keys...), " "))
		}
		slices.Sort(needs)
		if got := strings.Join(needs, ", "); got != row.needs {
			t.Errorf("%s %s: %q, expected %q", row.request, row.header, got, row.needs)
		}
	}
}

const ofTwoBuckets = `[
	{"Sid": "In", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::in/jobs/*"},
	{"Sid": "Out", "Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::out/*"},
	{"Sid": "List", "Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::out", "Condition": {"StringLike": {"s3:prefix": "jobs/*"}}}]`

// TestS3Gate has a server of its own behind the gate: its objects are all keys that end in "there", and it records the
// requests that reach it.
func TestS3Gate(t *testing.T) {
	t.Parallel()
	var reached []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if got := r.Header.Get("Accept-Encoding"); got != "" {
			t.Errorf("Accept-Encoding: %s, which the client did not send", got)
		}
		reached = append(reached, fmt.Sprint(r.Method, " ", r.Host, " ", r.RequestURI, " ", string(body)))
		switch {
		case r.Method == http.MethodGet && r.URL.Query().Has("list-type"), r.Method == http.MethodPut, strings.HasSuffix(r.URL.Path, "there"):
			_, _ = io.WriteString(w, "ok")
		default:
			w.WriteHeader(http.StatusNotFound)
			if r.Method != http.MethodHead {
				_, _ = io.WriteString(w, "<Error><Code>NoSuchKey</Code></Error>")
			}
		}
	}))
	defer server.Close()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	caller := NewCaller(parse(t, ofTwoBuckets))
	gate := httptest.NewServer(S3Gate(caller, u))
	defer gate.Close()
	host := strings.TrimPrefix(gate.URL, "http://")
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()

	for _, row := range []struct {
		method, target, body string
		status               int
		answer               string // part of it
		through              bool
	}{
		{"GET", "/in/jobs/there", "", 200, "ok", true},
		{"HEAD", "/in/jobs/there", "", 200, "", true},
		{"GET", "/in/jobs/a%20b%2F%2E/there?x-id=b;c&response-content-type=a%2fb", "", 200, "ok", true},
		{"GET", "/in/jobs/gone", "", 403, "<Code>AccessDenied</Code>", true},
		{"HEAD", "/in/jobs/gone", "", 403, "", true},
		{"GET", "/out/jobs/gone", "", 404, "NoSuchKey", true},
		{"HEAD", "/out/jobs/gone", "", 404, "", true},
		{"GET", "/out/other/gone", "", 403, "AccessDenied", true},
		{"PUT", "/out/jobs/new", "some bytes", 200, "ok", true},
		{"GET", "/out?list-type=2&prefix=jobs%2F", "", 200, "ok", true},
		{"GET", "/in/other/there", "", 403, "s3:GetObject on resource: &#34;arn:aws:s3:::in/other/there&#34;", false},
		{"HEAD", "/in/other/there", "", 403, "", false},
		{"PUT", "/in/jobs/new", strings.Repeat("x", 1<<25), 403, "s3:PutObject", false},
		{"DELETE", "/out/jobs/there", "", 403, "s3:DeleteObject", false},
		{"GET", "/in?list-type=2&prefix=jobs%2F", "", 403, "s3:ListBucket", false},
		{"GET", "/out?list-type=2", "", 403, "s3:ListBucket", false},
		{"GET", "/out?list-type=2&prefix=jobs", "", 403, "s3:ListBucket", false},
		{"GET", "/out/jobs/there?acl", "", 403, "s3:GET?acl", false},
		{"PUT", "/out?policy", "{}", 403, "s3:PUT?policy", false},
		{"GET", "/", "", 403, "s3:ListAllMyBuckets", false},
	} {
		reached = nil
		r, err := http.NewRequest(row.method, gate.URL+row.target, strings.NewReader(row.body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Errorf("%s %s: %v", row.method, row.target, err)
			continue
		}
		body, err := io.ReadAll(answer.Body)
		if err := errors.Join(err, answer.Body.Close()); err != nil {
			t.Error(err)
		}
		if answer.StatusCode != row.status || !strings.Contains(string(body), row.answer) || (row.method == "HEAD" && len(body) > 0) {
			t.Errorf("%s %s: %d %s, expected %d %s", row.method, row.target, answer.StatusCode, body, row.status, row.answer)
		}
		var want []string
		if row.through {
			want = []string{row.method + " " + host + " " + row.target + " " + row.body}
		}
		if !slices.Equal(reached, want) {
			t.Errorf("%s %s: %q reached the server, expected %q", row.method, row.target, reached, want)
		}
	}
	if unused := caller.Unused(); len(unused) > 0 {
		t.Errorf("unused: %v", unused)
	}
	if n := caller.Denied()[Request{"s3:ListBucket", "arn:aws:s3:::out"}]; n != 2 {
		t.Errorf("%d denied lists of out, expected 2", n)
	}
}
