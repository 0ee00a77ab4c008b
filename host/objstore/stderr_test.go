package objstore_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/objstore/storetest"
)

// TestS3SaysNothingItself checks that the SDK writes nothing to stderr where a request fails: the caller reports
// errors.
func TestS3SaysNothingItself(t *testing.T) {
	server := storetest.S3(t)
	stderr := catchStderr(t)
	s, _, _ := openThrough(t, server, body(func(_ int, _ *http.Request, body io.Reader) io.Reader {
		return &cut{body, 10, func() error { return io.ErrUnexpectedEOF }}
	}))
	for _, err := range s.List(t.Context(), "", "") {
		if err == nil {
			t.Error("a list that is cut short is no error")
		}
	}
	stderr.checkEmpty(t)
}

// TestS3CredentialsSayNothing checks the same where credentials are looked for at the address of an instance's
// metadata, which refuses.
func TestS3CredentialsSayNothing(t *testing.T) {
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer metadata.Close()
	withoutCredentials(t)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.URL)
	t.Setenv("AWS_REGION", "us-east-1")
	stderr := catchStderr(t)
	if _, err := objstore.Open(t.Context(), "s3://bucket"); err == nil || !strings.Contains(err.Error(), "no AWS credentials") {
		t.Error(err)
	}
	stderr.checkEmpty(t)
}

// caught is what goes to stderr during a test.
type caught struct{ *os.File }

func catchStderr(t *testing.T) caught {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stderr
	os.Stderr = file
	t.Cleanup(func() {
		os.Stderr = before
		_ = file.Close()
	})
	return caught{file}
}

func (c caught) checkEmpty(t *testing.T) {
	t.Helper()
	if said, err := os.ReadFile(c.Name()); len(said) > 0 || err != nil {
		t.Errorf("%s, %v", said, err)
	}
}
