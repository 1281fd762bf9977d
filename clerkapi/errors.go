package clerkapi

import (
	"errors"
	"fmt"
	"time"
)

// Kinds of failures, for errors.Is.
var (
	// ErrNotFound reports that Clerk has no such user: a 404 with the code
	// resource_not_found, or a complete answer without the user.
	ErrNotFound = errors.New("clerk has no such user")
	// ErrRejected reports that Clerk rejected the arguments (400, 413, 414, 422, 431), or
	// that they are too long to be sent.
	ErrRejected = errors.New("clerk refused the arguments")
	// ErrRefused reports that Clerk, or a proxy or CDN in front of it, refused this
	// request for another reason (403 and any other 4xx). It implies nothing about other
	// requests.
	ErrRefused = errors.New("clerk refused this request")
	// ErrRateLimited reports that the quota is spent (429).
	ErrRateLimited = errors.New("clerk's quota is spent")
	// ErrKeyRejected reports that Clerk rejected the secret key (a code about the key, or
	// a 401 without a code). Only a probe proves it: a CDN's rule may cause the same
	// answer to a single request.
	ErrKeyRejected = errors.New("clerk refused the secret key")
	// ErrPlanLimit reports that a limit of the Clerk plan is reached (402).
	ErrPlanLimit = errors.New("a limit of the clerk plan is reached")
	// ErrUnavailable reports that Clerk failed (5xx, 408, 421), could not be reached, or
	// took longer than Config.Timeout.
	ErrUnavailable = errors.New("clerk is unavailable")
	// ErrBadAnswer reports an unusable answer: not JSON, cut off, with an unexpected
	// status, or about a user who was not requested.
	ErrBadAnswer = errors.New("clerk's answer can't be used")
	// ErrUnreadable reports that the answer contains the user in a form that can't be
	// decoded.
	ErrUnreadable = errors.New("clerk's copy of the user can't be read")
	// ErrTooLarge reports an answer larger than Config.MaxBodyBytes, or one that had to
	// give way to others (see Config.MaxReadBytes).
	ErrTooLarge = errors.New("clerk's answer is too large")
	// ErrAbandoned reports that the caller's context ended first. Only errors of this
	// kind wrap context.Canceled or context.DeadlineExceeded. It implies nothing about
	// Clerk.
	ErrAbandoned = errors.New("the caller gave up")
	// ErrNotSent reports that the request was not sent, so it used no quota. It always
	// accompanies another kind.
	ErrNotSent = errors.New("the request was not sent")
)

// Error is the failure of one request to Clerk. errors.Is matches its Kind, and
// ErrNotSent if the request was not sent.
type Error struct {
	Kind       error         // one of the kinds above, except ErrNotSent
	NotSent    bool          // the request was not sent, so it used no quota
	Stale      bool          // a reused connection ended before any of the answer; it was probably dead before
	Status     int           // HTTP status; 0 without an answer
	Codes      []string      // Clerk's error codes, such as "resource_not_found"; at most 10
	Message    string        // Clerk's message, or the start of a body that is not Clerk's; bounded and cleaned, for the log
	RetryAfter time.Duration // from Retry-After, at most 24 h; 0 if missing or invalid
	Meta       Meta
	Err        error // the underlying cause, such as a network error; may be nil
}

// Error returns a description for the log. It contains no key.
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

// Unwrap returns the kind and the cause, for errors.Is and errors.As.
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
