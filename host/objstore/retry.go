package objstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// What is tried again, how often and after which pauses: all of it is in this file. There are three places.
//
//   - A request to S3 is tried again where it is throttled, or fails by a fault of the network or of S3. S3Options may change
//     how often. The pauses are the SDK's: random, each at most twice as long as the one before. An endpoint that has
//     answered nothing so far may have a wrong address: a request that gets no connection to it is given up soon.
//   - Fetch and ReadAll go on with an object whose bytes end early or fail, from the byte where they ended.
//   - Put of a folder's store is tried again where a Delete beside it removed the object's folder.
const (
	requestAttempts = 8                     // of a request to S3, the first included
	firstBackoff    = 50 * time.Millisecond // the longest pause after the first attempt, where MaxBackoff is given

	stallTimeout   = 30 * time.Second // an attempt in which no byte moves for so long is given up
	connectTimeout = 5 * time.Second  // to connect to an address, and for the TLS handshake
	lookupTimeout  = 10 * time.Second // to look a name up: a server that does not answer takes 5 s, then the next one is asked

	unreachableFor          = 3 * time.Second        // then a request that got no connection is not tried again
	longestUnreachablePause = 500 * time.Millisecond // between such attempts

	fetchTries        = 6 // of Fetch, in a row, that bring no byte
	firstFetchPause   = 250 * time.Millisecond
	longestFetchPause = 8 * time.Second

	putTries = 20 // of a Put whose folder is removed under it
)

// stallLimits are how long an attempt waits while nothing moves: without a byte, and for each step to a connection.
type stallLimits struct{ transfer, lookup, connect time.Duration }

// throttles are the answers that ask for fewer requests.
var throttles = retry.IsErrorThrottles(retry.DefaultThrottles)

// retry sets what the SDK tries again.
func (o S3Options) retry(so *s3.Options) {
	limits := stallLimits{stallTimeout, lookupTimeout, connectTimeout}
	if o.StallTimeout > 0 {
		limits = stallLimits{o.StallTimeout, o.StallTimeout, o.StallTimeout}
	}
	so.HTTPClient = &stallClient{next: so.HTTPClient, limits: limits}
	so.Retryer = retryer{retry.NewStandard(func(ro *retry.StandardOptions) {
		ro.MaxAttempts = requestAttempts
		if o.MaxBackoff > 0 {
			ro.MaxBackoff = o.MaxBackoff
			ro.BaseDelay = min(firstBackoff, o.MaxBackoff)
		}
		// The SDK's own limit for all requests together, a bucket of tokens, is empty after some forty retries.
		// Attempts are few and the pauses between them long enough without it.
		ro.RateLimiter = ratelimit.None
		// S3 answers 409 with these codes to writers that come at the same time.
		conflict := map[string]struct{}{"ConditionalRequestConflict": {}, "OperationAborted": {}}
		ro.Retryables = append(ro.Retryables, retry.RetryableErrorCode{Codes: conflict})
		ro.Throttles = append(ro.Throttles, retry.ThrottleErrorCode{Codes: conflict})
		ro.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(notUnreachable)}, ro.Retryables...)
	})}
	if o.Attempts > 0 {
		so.RetryMaxAttempts = o.Attempts
	}
}

// notUnreachable says no to the error of an endpoint that is given up, and nothing to others.
func notUnreachable(err error) aws.Ternary {
	if u := (*unreachable)(nil); errors.As(err, &u) && u.final {
		return aws.FalseTernary
	}
	return aws.UnknownTernary
}

// retryer is the SDK's, with short pauses while an endpoint has answered nothing.
type retryer struct{ *retry.Standard }

func (r retryer) RetryDelay(attempt int, failed error) (time.Duration, error) {
	pause, err := r.Standard.RetryDelay(attempt, failed)
	if neverReached(failed) {
		pause = min(pause, longestUnreachablePause)
	}
	return pause, err
}

// isFinal tells whether another try of Fetch would not mend an error. written is how many bytes of the object are
// written.
func isFinal(err error, written int64) bool {
	for _, e := range []error{ErrNotExist, ErrNoBucket, ErrKey, ErrDenied} {
		if errors.Is(err, e) {
			return true
		}
	}
	return neverReached(err) || errors.As(err, new(*callerError)) || errors.Is(err, ErrChanged) && written > 0
}

// fetchPause waits before the next try. It waits longer after each failure, and a random part of that, so that many who
// failed at once do not come back at once.
func fetchPause(ctx context.Context, failed int) error {
	longest := min(firstFetchPause<<failed, longestFetchPause)
	timer := time.NewTimer(longest/2 + rand.N(longest/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
