package objstore

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"
)

// unreachable is the error of an attempt that got no connection: the endpoint's name was not found, nobody took the
// connection, or no TLS handshake came about.
type unreachable struct {
	endpoint string // https://host:port
	cause    error
	never    bool // the endpoint has answered nothing so far, so its address may be wrong
	final    bool // the request is not tried again
}

func (u *unreachable) Error() string {
	return fmt.Sprintf("%s cannot be reached: %v", u.endpoint, innermost(u.cause))
}

func (u *unreachable) Unwrap() error { return u.cause }

// asUnreachable is the error of an attempt that got no connection.
func (s *stallClient) asUnreachable(r *http.Request, cause error) error {
	u := &unreachable{endpoint: r.URL.Scheme + "://" + r.URL.Host, cause: cause, never: !s.answered.Load()}
	if a, ok := r.Context().Value(attemptsKey{}).(*attempts); ok && u.never {
		u.final = time.Since(a.start) >= unreachableFor
	}
	return u
}

// neverReached tells whether an error is that of an endpoint that has answered nothing so far.
func neverReached(err error) bool {
	u := (*unreachable)(nil)
	return errors.As(err, &u) && u.never
}

// reachHint says what to look at where an endpoint has answered nothing so far. For other errors it is empty.
func (s *s3Store) reachHint(err error) string {
	if !neverReached(err) {
		return ""
	}
	look := "check the network, and AWS_REGION, which is " + s.client.Options().Region
	if s.client.Options().BaseEndpoint != nil {
		look = "check endpoint_url in the AWS configuration file"
		for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"} { // the last counts
			if os.Getenv(name) != "" {
				look = "check " + name
			}
		}
	}
	return "\n  hint: " + look
}
