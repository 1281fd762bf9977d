package clerkapi

import (
	"context"
	"errors"
	"net/http"
)

// Concern is whom a failure concerns. Nobody else may be refused because of it.
type Concern int

// The concerns, from the narrowest to the widest.
const (
	ConcernsNobody    Concern = iota // it says nothing: there was no failure, or the caller left
	ConcernsRequest                  // who asked: an id of a lookup, a list call, a count call
	ConcernsKey                      // perhaps the key: a probe decides
	ConcernsQuota                    // perhaps the quota: a probe, or 429s to different callers, decide
	ConcernsEverybody                // perhaps Clerk as a whole: a probe, or failures of different callers, decide
)

// String returns the concern in words.
func (c Concern) String() string {
	return [...]string{"nobody", "request", "key", "quota", "everybody"}[c]
}

// Effect is what the end of a request means to the circuit breaker.
type Effect int

// The effects.
const (
	Neutral Effect = iota // it says nothing about Clerk
	Success               // Clerk works
	Failure               // Clerk may be failing; counts once for each query
)

// String returns the effect in words.
func (e Effect) String() string { return [...]string{"neutral", "success", "failure"}[e] }

// Spent is what became of the permit of a request.
type Spent int

// What becomes of a permit.
const (
	SpentAnswered Spent = iota // held for a window from the answer
	SpentLimited               // answered by a 429
	SpentLost                  // may still arrive: held for the time that takes, and a window
	SpentNothing               // goes back: the request has not left
)

// String returns what became of the permit in words.
func (s Spent) String() string { return [...]string{"answered", "limited", "lost", "nothing"}[s] }

// Verdict is what the end of one request means, for its own waiters and for
// everybody else.
type Verdict struct {
	Concern Concern
	Breaker Effect
	Spent   Spent
	Retry   bool // the same request may do better; costs the retry budget
	Resend  bool // once more at once, on a fresh connection; costs no retry budget
	Split   bool // a batch is to be split: the fault may be that of one id
	Shrink  bool // ... or of the batch's size
}

// Judge returns what the end of a request means. err is nil or an error of a
// Client's method. It is the only place that decides so; docs/failures.md shows
// its results as a table.
func Judge(err error) Verdict {
	if err == nil {
		return Verdict{Breaker: Success}
	}
	var e *Error
	if !errors.As(err, &e) && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return Verdict{Spent: SpentLost}
	}
	if e == nil { // a *ParamError, or a fault of our own: nothing has left
		return Verdict{Concern: ConcernsRequest, Spent: SpentNothing}
	}
	v := Verdict{Concern: ConcernsRequest, Spent: spent(e)}
	switch e.Kind {
	case ErrAbandoned: //nolint:errorlint // a kind is never wrapped
		v.Concern = ConcernsNobody
	case ErrNotFound, ErrUnreadable:
		v.Breaker = Success
		v.Split = true // a 404 says nothing about each id of a batch
	case ErrRejected:
		v.Split = true
		v.Shrink = tooLong(e.Status) || e.NotSent
	case ErrRefused, ErrPlanLimit:
		v.Split = true
	case ErrTooLarge:
		v.Split, v.Shrink = true, true
		v.Retry = errors.Is(err, errGaveWay) // others may be smaller by then
	case ErrKeyRejected:
		v.Concern, v.Split = ConcernsKey, true
	case ErrRateLimited:
		v.Concern, v.Split = ConcernsQuota, true
	default: // ErrUnavailable, ErrBadAnswer
		v.Concern, v.Breaker = ConcernsEverybody, Failure
		v.Retry, v.Split = true, !e.NotSent
		if v.Resend = e.Stale; e.Stale {
			v.Breaker = Neutral
		}
	}
	return v
}

// spent returns what became of the permit of a request that failed with e.
func spent(e *Error) Spent {
	switch {
	case e.NotSent:
		return SpentNothing
	case e.Status == http.StatusTooManyRequests:
		return SpentLimited
	case e.Status != 0:
		return SpentAnswered
	}
	return SpentLost
}
