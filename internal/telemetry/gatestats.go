package telemetry

import (
	"context"
	"errors"
	"maps"
	"net/http"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// GateStats are counts since the start. None of them ever falls, and every key that a map
// can have is there from the start.
type GateStats struct {
	Requests    map[Ended]int64      // requests that were sent and have ended
	Durations   map[string]Histogram // of these, in seconds, by endpoint
	LookupSizes Histogram            // ids in each of these that is a lookup
	Unsent      int64                // requests that turned out not to have left
	Retries     map[string]int64     // requests whose wants were delayed to be tried again, by outcome
	Refused     map[string]int64     // wants refused, by reason
	Waits       [2]Histogram         // of wants in the queue until their turn came, in seconds, by gate.Priority
	Lookups     int64                // ids answered by Clerk
	Low         int64                // times that less than a tenth of the quota was left
}

// Ended is the endpoint and the outcome of requests to Clerk, which are counted by both.
type Ended struct {
	Endpoint string // "lookup" (users by their ids), "list", "count" or "probe"
	Outcome  string // "ok", "server_error", "no_answer" and so on; see outcomes
}

// endpoints are those of gate.SentRequest.
var endpoints = []string{lookupEndpoint, "list", "count", "probe"}

const lookupEndpoint = "lookup"

// The outcomes that this package names.
const (
	endedOK     = "ok"
	notFound    = "not_found" // a single id, or the user after whom a list should start
	rateLimited = "rate_limited"
	serverError = "server_error" // Clerk failed: 5xx or 408
	noAnswer    = "no_answer"    // no complete answer came in time, or the connection broke
	badAnswer   = "bad_answer"   // the answer can't be used
	notSent     = "not_sent"     // the request has not left, and counts as none
)

// outcomes are the outcomes of requests that were sent, with their errors.
var outcomes = []struct {
	name string
	is   error
}{
	{endedOK, nil},
	{notFound, clerkapi.ErrNotFound},
	{"rejected", clerkapi.ErrRejected},
	{rateLimited, clerkapi.ErrRateLimited},
	{"key_rejected", clerkapi.ErrKeyRejected},
	{"plan_limit", clerkapi.ErrPlanLimit},
	{"refused", clerkapi.ErrRefused},
	{"too_large", clerkapi.ErrTooLarge},
	{badAnswer, clerkapi.ErrBadAnswer},
	{"cancelled", context.Canceled}, // the server stopped first
	{serverError, nil},
	{noAnswer, nil},
}

// refusals are the errors by which wants are refused, with their reasons in
// GateStats.Refused.
var refusals = map[error]string{
	gate.ErrQueueFull:        "queue_full",
	gate.ErrCallerQueueFull:  "caller_queue_full",
	gate.ErrDeadlineTooShort: "deadline_too_short",
	gate.ErrRateLimited:      "rate_limited",
	gate.ErrBreakerOpen:      "breaker_open",
	gate.ErrShuttingDown:     "shutting_down",
	clerkapi.ErrKeyRejected:  "key_rejected",
}

func newGateStats() GateStats {
	s := GateStats{
		Requests:    make(map[Ended]int64),
		Durations:   make(map[string]Histogram),
		LookupSizes: newHistogram(1, 2, 5, 10, 25, 50, 75, clerkapi.MaxLookup-1), // full lookups are above these
		Retries:     map[string]int64{serverError: 0, noAnswer: 0, badAnswer: 0, notSent: 0},
		Refused:     make(map[string]int64),
	}
	for _, endpoint := range endpoints {
		s.Durations[endpoint] = newHistogram(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
		for _, o := range outcomes {
			s.Requests[Ended{endpoint, o.name}] = 0
		}
	}
	for _, reason := range refusals {
		s.Refused[reason] = 0
	}
	for p := range s.Waits {
		s.Waits[p] = newHistogram(0.001, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60)
	}
	return s
}

func (s GateStats) clone() GateStats {
	s.Requests = maps.Clone(s.Requests)
	s.Durations = maps.Clone(s.Durations)
	for endpoint, h := range s.Durations {
		s.Durations[endpoint] = h.clone()
	}
	s.LookupSizes = s.LookupSizes.clone()
	s.Retries = maps.Clone(s.Retries)
	s.Refused = maps.Clone(s.Refused)
	for p := range s.Waits {
		s.Waits[p] = s.Waits[p].clone()
	}
	return s
}

// Totals are sums of GateStats.
type Totals struct {
	Requests        int64   // requests that were sent and have ended
	RateLimited     int64   // answers of 429
	Retries         int64   // requests that failed and were to be tried again
	UsersPerRequest float64 // mean number of ids per lookup
}

// Totals returns the sums.
func (s GateStats) Totals() Totals {
	var t Totals
	for r, n := range s.Requests {
		t.Requests += n
		if r.Outcome == rateLimited {
			t.RateLimited += n
		}
	}
	for _, n := range s.Retries {
		t.Retries += n
	}
	if n := s.LookupSizes.Count(); n > 0 {
		t.UsersPerRequest = s.LookupSizes.Sum / float64(n)
	}
	return t
}

// outcomeOf returns the outcome of a request that ended with err.
func outcomeOf(err error) string {
	if err == nil {
		return endedOK
	}
	e, ok := errors.AsType[*clerkapi.Error](err)
	switch {
	case errors.Is(err, clerkapi.ErrNotSent):
		return notSent
	case ok && errors.Is(err, clerkapi.ErrUnavailable) && e.Status >= http.StatusBadRequest:
		return serverError
	}
	for _, o := range outcomes {
		if o.is != nil && errors.Is(err, o.is) {
			return o.name
		}
	}
	return noAnswer
}

// answered counts a request.
func (s *GateStats) answered(r gate.AnsweredRequest) {
	outcome := outcomeOf(r.Err)
	if outcome == notSent {
		s.Unsent++
		return
	}
	if r.Missing {
		outcome = notFound
	}
	if r.Endpoint == lookupEndpoint {
		s.LookupSizes.observe(float64(r.Wants))
	}
	s.Lookups += int64(r.Ids)
	s.Requests[Ended{r.Endpoint, outcome}]++
	h := s.Durations[r.Endpoint]
	h.observe(r.Took.Seconds())
	s.Durations[r.Endpoint] = h
}
