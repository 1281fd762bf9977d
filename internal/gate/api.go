package gate

import (
	"errors"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/fairqueue"
)

// Priority orders wants: interactive ones go first.
type Priority = fairqueue.Priority

// The priorities.
const (
	Interactive = fairqueue.Interactive
	Batch       = fairqueue.Batch
)

var priorities = [...]Priority{Interactive, Batch}

// Party identifies who takes turns: peers take turns with each other, and so do the names
// of one peer.
type Party = fairqueue.Party

// Share is a peer's weight and guarantee.
type Share = fairqueue.Share

// Options describe the caller of a method and how urgent its call is.
type Options struct {
	Caller   string   // name of the caller, for statistics
	Party    Party    // who takes turns; the zero value: the name Caller, of this process
	Priority Priority // Interactive by default
	// Fresh keeps the lookup from joining a request that has left already.
	Fresh bool
	// LeftSince lets the lookup join only requests that left then or later. Zero: any.
	LeftSince time.Time
}

// party returns who takes turns.
func (o Options) party() Party {
	if o.Party == (Party{}) {
		return Party{Name: o.Caller}
	}
	return o.Party
}

// Result is the result of looking up one id: either User or Err is set.
type Result struct {
	User *clerkgatev1.User // shared: must not be changed
	// Err is clerkapi.ErrNotFound, another error of clerkapi's, an *Error of this
	// package, or the error of the caller's context.
	Err       error
	FetchTime time.Time // when the request that brought the answer left; zero if there was none
	Stamp     uint64    // the result of Config.Stamp at that time
	Kept      any       // the result of Config.Keep for the answer
}

// Page is the answer to List.
type Page struct {
	Users      []*clerkgatev1.User   // shared: must not be changed
	Unreadable []clerkapi.Unreadable // other users on the page, which can't be read
	FetchTime  time.Time             // when the request left
	Stamp      uint64                // the result of Config.Stamp at that time
}

// Count is the answer to Count.
type Count struct {
	Users     int64
	FetchTime time.Time // when the request left
}

// The kinds of Error, for errors.Is. Clerk's own errors are *clerkapi.Error.
var (
	// ErrQueueFull means that the queue has as many waiters as it may have.
	ErrQueueFull = errors.New("the queue is full")
	// ErrCallerQueueFull means that the caller has as many waiters as it may have.
	ErrCallerQueueFull = errors.New("the caller has too many wants waiting")
	// ErrDeadlineTooShort means that the estimated wait outlasts the deadline.
	ErrDeadlineTooShort = errors.New("the wait would outlast the deadline")
	// ErrRateLimited means that a 429 pauses the key for longer than the caller can wait.
	ErrRateLimited = errors.New("clerk's rate limit pauses the key")
	// ErrBreakerOpen means that Clerk has failed so often that it is not asked.
	ErrBreakerOpen = errors.New("the circuit breaker is open")
	// ErrShuttingDown means that the gate is stopping.
	ErrShuttingDown = errors.New("shutting down")
)

// Error is a refusal by the gate itself.
type Error struct {
	Kind       error         // one of the errors above
	RetryAfter time.Duration // when to try again; 0 if not known
	Err        error         // the cause, such as Clerk's last error; may be nil
}

// Error describes the refusal.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Kind.Error() + ": " + e.Err.Error()
	}
	return e.Kind.Error()
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err != nil {
		return []error{e.Kind, e.Err}
	}
	return []error{e.Kind}
}
