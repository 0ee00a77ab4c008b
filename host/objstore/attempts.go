package objstore

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
)

// attempts is what came of the attempts of one request. The SDK gives only the last error of all, and where the time
// ends in a pause between two attempts, that is the context's.
type attempts struct {
	start time.Time
	n     int   // attempts that were begun
	last  error // of the last attempt that failed before the time ended, or nil
}

// attemptsError is the error of a request, with what came of its attempts.
type attemptsError struct {
	*attempts
	error
}

func (e *attemptsError) Unwrap() error { return e.error }

type attemptsKey struct{}

// noteAttempts has each failed request return an attemptsError: one step around the SDK's retries counts anew, and one
// inside them notes each attempt.
func noteAttempts(so *s3.Options) {
	around := middleware.FinalizeMiddlewareFunc("QuarryRequest", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		a := &attempts{start: time.Now()}
		out, metadata, err := next.HandleFinalize(context.WithValue(ctx, attemptsKey{}, a), in)
		if err != nil {
			err = &attemptsError{a, err}
		}
		return out, metadata, err
	})
	inside := middleware.FinalizeMiddlewareFunc("QuarryAttempt", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		a := ctx.Value(attemptsKey{}).(*attempts)
		a.n++
		out, metadata, err := next.HandleFinalize(ctx, in)
		if err != nil && (ctx.Err() == nil || !errors.Is(err, ctx.Err())) {
			a.last = err
		}
		return out, metadata, err
	})
	so.APIOptions = append(so.APIOptions, func(stack *middleware.Stack) error {
		return errors.Join(stack.Finalize.Insert(around, "Retry", middleware.Before), stack.Finalize.Insert(inside, "Retry", middleware.After))
	})
}
