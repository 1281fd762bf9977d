package clerkapi

import (
	"errors"
	"fmt"
	"time"
)

// What went wrong with a request, as errors.Is finds it in an *Error.
var (
	// ErrNotFound: Clerk says, in its own words, that there is no such user
	// (404 with the code resource_not_found, or a whole answer without the user).
	ErrNotFound = errors.New("clerk has no such user")
	// ErrRejected: Clerk refuses the arguments (400, 413, 414, 422).
	ErrRejected = errors.New("clerk refused the arguments")
	// ErrRateLimited: the quota is spent (429).
	ErrRateLimited = errors.New("clerk's quota is spent")
	// ErrKeyRejected: Clerk refuses the secret key (401, 403).
	ErrKeyRejected = errors.New("clerk refused the secret key")
	// ErrPlanLimit: a limit of the Clerk plan is reached (402).
	ErrPlanLimit = errors.New("a limit of the clerk plan is reached")
	// ErrUnavailable: Clerk is failing (5xx, 408), can't be reached, or took
	// longer than Config.Timeout.
	ErrUnavailable = errors.New("clerk is unavailable")
	// ErrBadAnswer: an answer came that can't be used: no JSON, too large, cut
	// off, of an unexpected status, or about somebody who was not asked for.
	ErrBadAnswer = errors.New("clerk's answer can't be used")
	// ErrAbandoned: the context of the caller ended first; context.Canceled or
	// context.DeadlineExceeded is found beside it, and beside no other kind.
	// Says nothing about Clerk.
	ErrAbandoned = errors.New("the caller gave up")
	// ErrNotSent: the request has not left, so it cannot have cost any quota.
	// Always beside another of these.
	ErrNotSent = errors.New("the request was not sent")
)

// Error is the failure of one request to Clerk. errors.Is finds its Kind, and
// ErrNotSent where the request has not left.
//
// The texts in it are bounded, cleaned of control characters, and free of keys.
type Error struct {
	Kind       error         // one of the sentinels above, but ErrNotSent
	NotSent    bool          // the request has not left, so it cost no quota
	Status     int           // HTTP status, 0 if no answer came
	Codes      []string      // Clerk's error codes, such as "resource_not_found"; at most 10
	Message    string        // Clerk's own words, cut, cleaned and redacted; for the log
	RetryAfter time.Duration // from Retry-After, up to 24 h; 0 if missing or unreadable
	Meta       Meta
	Err        error // the cause underneath, such as a network error; may be nil
}

// Error describes the failure for a log. It holds no key.
func (e *Error) Error() string {
	s := e.Kind.Error()
	if e.Status != 0 {
		s = fmt.Sprintf("%s (status %d)", s, e.Status)
	}
	if len(e.Codes) > 0 {
		s = fmt.Sprintf("%s %v", s, e.Codes)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap lets errors.Is and errors.As find the kind and the cause.
func (e *Error) Unwrap() []error {
	errs := []error{e.Kind}
	if e.NotSent {
		errs = append(errs, ErrNotSent)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}
