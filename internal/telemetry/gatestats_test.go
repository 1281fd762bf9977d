package telemetry

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/gate"
)

func TestHowRequestsEnd(t *testing.T) {
	for err, want := range map[error]string{
		nil: "ok",
		&clerkapi.Error{Kind: clerkapi.ErrNotFound, Status: 404}: "not_found",
		refused: "rejected",
		limited: "rate_limited",
		badKey:  "key_rejected",
		&clerkapi.Error{Kind: clerkapi.ErrPlanLimit, Status: 402}: "plan_limit",
		down: "server_error",
		&clerkapi.Error{Kind: clerkapi.ErrUnavailable, Status: 408}:         "server_error",
		&clerkapi.Error{Kind: clerkapi.ErrUnavailable, Status: 200}:         "no_answer", // it broke off at the timeout
		&clerkapi.Error{Kind: clerkapi.ErrUnavailable}:                      "no_answer",
		&clerkapi.Error{Kind: clerkapi.ErrUnavailable, NotSent: true}:       "not_sent",
		&clerkapi.Error{Kind: clerkapi.ErrKeyRejected, NotSent: true}:       "not_sent",
		&clerkapi.Error{Kind: clerkapi.ErrBadAnswer, Status: 200}:           "bad_answer",
		&clerkapi.Error{Kind: clerkapi.ErrAbandoned, Err: context.Canceled}: "cancelled",
	} {
		if got := outcomeOf(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

// TestRequestsAreCounted reports requests of each kind.
func TestRequestsAreCounted(t *testing.T) {
	o := NewGateObserver(nil)
	took := 500 * time.Millisecond // the sixth bound
	for _, r := range []gate.AnsweredRequest{
		{Endpoint: "lookup", Wants: 1, Ids: 1, Missing: true},
		{Endpoint: "lookup", Wants: 3, Ids: 2},
		{Endpoint: "count", Wants: 1},
		{Endpoint: "list", Wants: 1},
		{Endpoint: "list", Wants: 1, Err: refused},
		{Endpoint: "list", Wants: 1, Err: &clerkapi.Error{Kind: clerkapi.ErrUnavailable, NotSent: true}},
		{Endpoint: "lookup", Wants: 2, Err: &clerkapi.Error{Kind: clerkapi.ErrUnavailable, NotSent: true}},
		{Endpoint: "list", Wants: 1, Err: limited},
		{Endpoint: "probe"},
	} {
		r.Took = took
		o.Answered(r)
	}
	o.Retried(down)
	o.Retried(&clerkapi.Error{Kind: clerkapi.ErrUnavailable, NotSent: true})
	o.Refused(gate.ErrQueueFull, 2)
	o.Refused(clerkapi.ErrKeyRejected, 1)
	o.QuotaLow()
	o.Dequeued(gate.Batch, 70*time.Second)

	s := o.Stats()
	requests := maps.Clone(s.Requests)
	maps.DeleteFunc(requests, func(_ Ended, n int64) bool { return n == 0 })
	want := map[Ended]int64{
		{"lookup", "not_found"}: 1, {"lookup", "ok"}: 1, {"count", "ok"}: 1, {"probe", "ok"}: 1,
		{"list", "ok"}: 1, {"list", "rejected"}: 1, {"list", "rate_limited"}: 1,
	}
	if diff := cmp.Diff(want, requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if n := len(s.Requests); n != 4*12 {
		t.Errorf("%d pairs from the start", n)
	}
	if diff := cmp.Diff(map[string]int64{"not_sent": 1, "server_error": 1, "no_answer": 0, "bad_answer": 0}, s.Retries); diff != "" {
		t.Errorf("retries (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int64{
		"queue_full": 2, "key_rejected": 1, "caller_queue_full": 0, "deadline_too_short": 0, "rate_limited": 0, "breaker_open": 0, "shutting_down": 0,
	}, s.Refused); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
	if got, want := s.Totals(), (Totals{Requests: 7, RateLimited: 1, Retries: 2, UsersPerRequest: 2}); got != want {
		t.Errorf("totals %+v, want %+v", got, want)
	}
	if s.Unsent != 2 || s.Lookups != 3 || s.Low != 1 {
		t.Errorf("%d unsent, %d ids answered, %d times low", s.Unsent, s.Lookups, s.Low)
	}
	counts := []uint64{0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0}
	if h := s.Durations["list"]; !slices.Equal(h.Counts, counts) || h.Bounds[5] != 0.5 || h.Sum != 3*0.5 {
		t.Errorf("the lists took %+v", h)
	}
	if h := s.Waits[gate.Batch]; h.Count() != 1 || h.Counts[len(h.Counts)-1] != 1 || h.Sum != 70 {
		t.Errorf("the waits are %+v", h)
	}
	o.Dequeued(gate.Batch, time.Second)
	o.Answered(gate.AnsweredRequest{Endpoint: "list", Took: took})
	if s.Waits[gate.Batch].Count() != 1 || s.Durations["list"].Count() != 3 || s.Requests[Ended{"list", "ok"}] != 1 {
		t.Error("what Stats has returned has changed")
	}
}
