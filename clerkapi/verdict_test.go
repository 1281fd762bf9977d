package clerkapi

import (
	"errors"
	"testing"
	"time"
)

// TestJudge has a row for each kind of error. The statuses that callers get are in
// docs/failures.md, whose table package server checks.
func TestJudge(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want Verdict
	}{
		{"an answer", nil, Verdict{Breaker: Success}},
		{"a parameter", &ParamError{}, Verdict{Concern: ConcernsRequest, Spent: SpentNothing}},
		{"the caller left", &Error{Kind: ErrAbandoned}, Verdict{Spent: SpentLost}},
		{"the caller left before", &Error{Kind: ErrAbandoned, NotSent: true}, Verdict{Spent: SpentNothing}},
		{"no such user", &Error{Kind: ErrNotFound, Status: 404}, Verdict{Concern: ConcernsRequest, Breaker: Success, Split: true}},
		{"422", &Error{Kind: ErrRejected, Status: 422}, Verdict{Concern: ConcernsRequest, Split: true}},
		{"413", &Error{Kind: ErrRejected, Status: 413}, Verdict{Concern: ConcernsRequest, Split: true, Shrink: true}},
		{"431", &Error{Kind: ErrRejected, Status: 431}, Verdict{Concern: ConcernsRequest, Split: true, Shrink: true}},
		{"too long to send", &Error{Kind: ErrRejected, NotSent: true},
			Verdict{Concern: ConcernsRequest, Spent: SpentNothing, Split: true, Shrink: true}},
		{"403", &Error{Kind: ErrRefused, Status: 403}, Verdict{Concern: ConcernsRequest, Split: true}},
		{"402", &Error{Kind: ErrPlanLimit, Status: 402}, Verdict{Concern: ConcernsRequest, Split: true}},
		{"too large", &Error{Kind: ErrTooLarge, Status: 200}, Verdict{Concern: ConcernsRequest, Split: true, Shrink: true}},
		{"401", &Error{Kind: ErrKeyRejected, Status: 401}, Verdict{Concern: ConcernsKey, Split: true}},
		{"429", &Error{Kind: ErrRateLimited, Status: 429}, Verdict{Concern: ConcernsQuota, Spent: SpentLimited, Split: true}},
		{"503", &Error{Kind: ErrUnavailable, Status: 503},
			Verdict{Concern: ConcernsEverybody, Breaker: Failure, Retry: true, Split: true}},
		{"no answer", &Error{Kind: ErrUnavailable},
			Verdict{Concern: ConcernsEverybody, Breaker: Failure, Spent: SpentLost, Retry: true, Split: true}},
		{"not sent", &Error{Kind: ErrUnavailable, NotSent: true},
			Verdict{Concern: ConcernsEverybody, Breaker: Failure, Spent: SpentNothing, Retry: true}},
		{"a dead kept connection", &Error{Kind: ErrUnavailable, Stale: true},
			Verdict{Concern: ConcernsEverybody, Spent: SpentLost, Retry: true, Resend: true, Split: true}},
		{"a bad answer", &Error{Kind: ErrBadAnswer, Status: 200},
			Verdict{Concern: ConcernsEverybody, Breaker: Failure, Retry: true, Split: true}},
		{"a fault of ours", errors.New("x"), Verdict{Concern: ConcernsRequest, Spent: SpentNothing}},
	}
	for _, test := range tests {
		if got := Judge(test.err); got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
	}
}

// TestEveryStatusIsJudged: every status from 100 to 999 has a kind, and only 429, 5xx,
// 408, 421, those below 400, and codes about the key concern more than the request.
func TestEveryStatusIsJudged(t *testing.T) {
	for status := 100; status < 1000; status++ {
		if status == 200 {
			continue
		}
		v := Judge(answerError(status, nil, []byte("<html>"), time.Unix(1_800_000_000, 0)))
		wide := status < 400 || status >= 500 || status == 429 || status == 401 || status == 408 || status == 421
		if (v.Concern > ConcernsRequest) != wide {
			t.Errorf("%d concerns the %s", status, v.Concern)
		}
		if v.Spent == SpentNothing || v.Spent == SpentLost {
			t.Errorf("%d: the permit is settled as %s", status, v.Spent)
		}
	}
}
