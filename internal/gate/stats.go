package gate

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/usage"
)

// Stats are counts since the start. None of them ever falls, and every key that a map
// can have is there from the start.
type Stats struct {
	Requests    map[Ended]int64      // requests that were sent and have ended
	Durations   map[string]Histogram // of these, in seconds, by endpoint
	LookupSizes Histogram            // ids in each of these that is a lookup
	Unsent      int64                // requests that turned out not to have left
	Retries     map[string]int64     // requests whose wants were delayed to be tried again, by outcome
	Refused     map[string]int64     // wants refused, by reason
	Waits       [2]Histogram         // of wants in the queue until their turn came, in seconds, by Priority

	lookups int64 // ids answered by Clerk
	low     int64 // times that less than a tenth of the quota was left
}

// Ended is the endpoint and the outcome of requests to Clerk, which are counted by both.
type Ended struct {
	Endpoint string // "lookup" (users by their ids), "list", "count" or "probe"
	Outcome  string // "ok", "server_error", "no_answer" and so on; see outcomes
}

var endpoints = []string{lookupEndpoint, "list", "count", "probe"}

// The outcomes that this package names.
const (
	endedOK     = "ok"
	notFound    = "not_found" // a lone id, or the user that a list was to start after
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
// Stats.Refused.
var refusals = map[error]string{
	ErrQueueFull:            "queue_full",
	ErrCallerQueueFull:      "caller_queue_full",
	ErrDeadlineTooShort:     "deadline_too_short",
	ErrRateLimited:          "rate_limited",
	ErrBreakerOpen:          "breaker_open",
	ErrShuttingDown:         "shutting_down",
	clerkapi.ErrKeyRejected: "key_rejected",
}

func newStats() Stats {
	s := Stats{
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

func (s Stats) clone() Stats {
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

// Totals are sums since the start.
type Totals struct {
	Lookups         int64   // ids answered by Clerk
	Requests        int64   // requests that were sent and have ended
	RateLimited     int64   // answers of 429
	Retries         int64   // requests that failed and were to be tried again
	Low             int64   // times that less than a tenth of the quota was left
	UsersPerRequest float64 // mean number of ids per lookup
}

// totals returns the sums.
func (s Stats) totals() Totals {
	t := Totals{Lookups: s.lookups, Low: s.low}
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
	var e *clerkapi.Error
	switch {
	case err == nil:
		return endedOK
	case errors.Is(err, clerkapi.ErrNotSent):
		return notSent
	case errors.Is(err, clerkapi.ErrUnavailable) && errors.As(err, &e) && e.Status >= http.StatusBadRequest:
		return serverError
	}
	for _, o := range outcomes {
		if o.is != nil && errors.Is(err, o.is) {
			return o.name
		}
	}
	return noAnswer
}

// countRequest counts r, which has brought a.
func (g *Gate) countRequest(r *request, a answer, now time.Time) {
	outcome := outcomeOf(a.err)
	if outcome == notSent {
		g.stats.Unsent++
		return
	}
	endpoint := r.endpoint()
	if r.forUsers() {
		endpoint = lookupEndpoint
		g.stats.LookupSizes.observe(float64(len(r.wants)))
		if len(a.results) == 1 && errors.Is(a.results[0].Err, clerkapi.ErrNotFound) {
			outcome = notFound
		}
	}
	g.stats.Requests[Ended{endpoint, outcome}]++
	h := g.stats.Durations[endpoint]
	h.observe(now.Sub(r.sentAt).Seconds())
	g.stats.Durations[endpoint] = h
}

// countRefused counts wants of c's that were answered with err, if that is a refusal and
// no failure of Clerk's.
func (g *Gate) countRefused(c *usage.Caller, wants int, err error) {
	kind := clerkapi.ErrKeyRejected
	if own, ok := errors.AsType[*Error](err); ok {
		kind = own.Kind
	} else if !errors.Is(err, kind) {
		return
	}
	g.stats.Refused[refusals[kind]] += int64(wants)
	c.Refused(wants)
}
