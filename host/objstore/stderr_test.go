package objstore_test

import (
	"io"
	"net/http"
	"os"
	"testing"

	"github.com/quarry-hn/quarry/host/objstore/storetest"
)

// TestS3SaysNothingItself checks that the SDK writes nothing to stderr where a request fails: the caller reports
// errors.
func TestS3SaysNothingItself(t *testing.T) {
	server := storetest.S3(t)
	stderr, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	before := os.Stderr
	os.Stderr = stderr
	defer func() { os.Stderr = before }()
	s, _, _ := openThrough(t, server, body(func(_ int, _ *http.Request, body io.Reader) io.Reader {
		return &cut{body, 10, func() error { return io.ErrUnexpectedEOF }}
	}))
	for _, err := range s.List(t.Context(), "", "") {
		if err == nil {
			t.Error("a list that is cut short is no error")
		}
	}
	if _, err := stderr.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(stderr); len(said) > 0 || err != nil {
		t.Errorf("%s, %v", said, err)
	}
}
