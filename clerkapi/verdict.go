package clerkapi

import (
	"context"
	"errors"
	"net/http"
)

// Concern is the set of those whom a failure concerns. Nobody else may be refused because
// of it.
type Concern int

// The concerns, from the narrowest to the widest.
const (
	ConcernsNobody    Concern = iota // no failure, or the caller left
	ConcernsRequest                  // the callers of the request: an id of a lookup, a list, a count
	ConcernsKey                      // possibly the key; a probe decides
	ConcernsQuota                    // possibly the quota; a probe, or 429s to different callers, decide
	ConcernsEverybody                // possibly Clerk as a whole; a probe, or failures of different callers, decide
)

// String returns the concern in words.
func (c Concern) String() string {
	return [...]string{"nobody", "request", "key", "quota", "everybody"}[c]
}

// Effect is the effect of a request's end on the circuit breaker.
type Effect int

// The effects.
const (
	Neutral Effect = iota // none
	Success               // Clerk works
	Failure               // Clerk may be failing; counted once per query
)

// String returns the effect in words.
func (e Effect) String() string { return [...]string{"neutral", "success", "failure"}[e] }

// Spent is the fate of the permit of a request.
type Spent int

// The fates of a permit.
const (
	SpentAnswered Spent = iota // held for a window from the answer
	SpentLimited               // answered by a 429
	SpentLost                  // outcome unknown: held until it can't arrive any more, and a window
	SpentNothing               // returned: the request was not sent
)

// String returns the value in words.
func (s Spent) String() string { return [...]string{"answered", "limited", "lost", "nothing"}[s] }

// Verdict is the meaning of the end of one request, for its own waiters and for everybody
// else.
type Verdict struct {
	Concern Concern
	Breaker Effect
	Spent   Spent
	Retry   bool // a retry may succeed; uses the retry budget
	Resend  bool // resend at once on a fresh connection; does not use the retry budget
	Split   bool // split a batch: the cause may be one id
	Shrink  bool // shrink batches: the cause may be the size
}

// Judge returns what the end of a request means. err is nil or an error of a Client's
// method. No other function decides this; docs/failures.md has a table of its results.
func Judge(err error) Verdict {
	if err == nil {
		return Verdict{Breaker: Success}
	}
	var e *Error
	if !errors.As(err, &e) && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return Verdict{Spent: SpentLost}
	}
	if e == nil { // a *ParamError or an internal error: nothing was sent
		return Verdict{Concern: ConcernsRequest, Spent: SpentNothing}
	}
	v := Verdict{Concern: ConcernsRequest, Spent: spent(e)}
	switch e.Kind {
	case ErrAbandoned: //nolint:errorlint // a kind is never wrapped
		v.Concern = ConcernsNobody
	case ErrNotFound, ErrUnreadable:
		v.Breaker = Success
		v.Split = true // a 404 implies nothing about each id of a batch
	case ErrRejected:
		v.Split = true
		v.Shrink = tooLong(e.Status) || e.NotSent
	case ErrRefused, ErrPlanLimit:
		v.Split = true
	case ErrTooLarge:
		v.Split, v.Shrink = true, true
		v.Retry = errors.Is(err, errGaveWay) // there may be more room by then
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

// spent returns what happens to the permit of a request that failed with e.
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
