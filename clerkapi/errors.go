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
	// ErrRejected: Clerk refuses the arguments (400, 413, 414, 422, 431), or they
	// are too long to be sent.
	ErrRejected = errors.New("clerk refused the arguments")
	// ErrRefused: Clerk, or a proxy or CDN before it, refuses this one request for
	// another reason (403 and any other 4xx). It says nothing about other requests.
	ErrRefused = errors.New("clerk refused this request")
	// ErrRateLimited: the quota is spent (429).
	ErrRateLimited = errors.New("clerk's quota is spent")
	// ErrKeyRejected: Clerk says that the secret key is at fault (one of its codes
	// about the key, or a 401 without a code). Only a probe proves it: a rule of a
	// CDN may answer one request so.
	ErrKeyRejected = errors.New("clerk refused the secret key")
	// ErrPlanLimit: a limit of the Clerk plan is reached (402).
	ErrPlanLimit = errors.New("a limit of the clerk plan is reached")
	// ErrUnavailable: Clerk is failing (5xx, 408, 421), can't be reached, or took
	// longer than Config.Timeout.
	ErrUnavailable = errors.New("clerk is unavailable")
	// ErrBadAnswer: an answer came that can't be used: no JSON, cut off, of an
	// unexpected status, or about somebody who was not asked for.
	ErrBadAnswer = errors.New("clerk's answer can't be used")
	// ErrUnreadable: the answer has the user, but in a form that can't be read.
	ErrUnreadable = errors.New("clerk's copy of the user can't be read")
	// ErrTooLarge: an answer came that is larger than Config.MaxBodyBytes, or that
	// had to give way to others (see Config.MaxReadBytes).
	ErrTooLarge = errors.New("clerk's answer is too large")
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
	Stale      bool          // a kept connection ended before any of the answer came: it was probably dead already
	Status     int           // HTTP status, 0 if no answer came
	Codes      []string      // Clerk's error codes, such as "resource_not_found"; at most 10
	Message    string        // Clerk's own words, or the start of a body that is not Clerk's; cut, cleaned and redacted; for the log
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
