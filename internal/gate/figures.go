package gate

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
)

// Figures are sums since the start. None of them ever falls, and every key that
// a map can have is there from the start.
type Figures struct {
	Requests   map[Request]int64    // that were sent and have ended
	Durations  map[string]Histogram // of these, in seconds, by endpoint
	BatchUsers Histogram            // ids in each of these that is a lookup
	Unsent     int64                // requests that turned out not to have left
	Retries    map[string]int64     // requests whose wants were put off to be tried again, by outcome
	Refused    map[string]int64     // wants refused, by the reason
	Waits      [2]Histogram         // of wants in the queue until their turn came, in seconds, by Priority
}

// Request is what requests to Clerk are counted by.
type Request struct {
	Endpoint string // "lookup" (users by their ids), "list", "count" or "probe"
	Outcome  string // "ok", "server_error", "no_answer" and so on; see outcomes
}

// lookupEndpoint is what all requests for users by their ids are counted as.
const lookupEndpoint = "lookup"

var endpoints = []string{lookupEndpoint, "list", "count", "probe"}

// How requests end.
const (
	endedOK     = "ok"
	notFound    = "not_found" // of a lone id, or the user that a list was to start after
	rateLimited = "rate_limited"
	serverError = "server_error" // Clerk failed: 5xx or 408
	noAnswer    = "no_answer"    // no whole one came in time, or the connection broke
	badAnswer   = "bad_answer"   // one came that can't be used
	notSent     = "not_sent"     // the request has not left, and counts as none
)

// outcomes are how requests that were sent end, and the errors that say so.
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

// refusals are the errors by which wants are refused, and what Figures.Refused
// calls them.
var refusals = map[error]string{
	ErrQueueFull:            "queue_full",
	ErrCallerQueueFull:      "caller_queue_full",
	ErrDeadlineTooShort:     "deadline_too_short",
	ErrRateLimited:          "rate_limited",
	ErrBreakerOpen:          "breaker_open",
	ErrShuttingDown:         "shutting_down",
	clerkapi.ErrKeyRejected: "key_rejected",
}

func newFigures() Figures {
	f := Figures{
		Requests:   make(map[Request]int64),
		Durations:  make(map[string]Histogram),
		BatchUsers: newHistogram(1, 2, 5, 10, 25, 50, 75, maxBatch-1), // above these are full ones
		Retries:    map[string]int64{serverError: 0, noAnswer: 0, badAnswer: 0, notSent: 0},
		Refused:    make(map[string]int64),
	}
	for _, endpoint := range endpoints {
		f.Durations[endpoint] = newHistogram(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
		for _, o := range outcomes {
			f.Requests[Request{endpoint, o.name}] = 0
		}
	}
	for _, reason := range refusals {
		f.Refused[reason] = 0
	}
	for p := range f.Waits {
		f.Waits[p] = newHistogram(0.001, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60)
	}
	return f
}

func (f Figures) clone() Figures {
	f.Requests = maps.Clone(f.Requests)
	f.Durations = maps.Clone(f.Durations)
	for endpoint, h := range f.Durations {
		f.Durations[endpoint] = h.clone()
	}
	f.BatchUsers = f.BatchUsers.clone()
	f.Retries = maps.Clone(f.Retries)
	f.Refused = maps.Clone(f.Refused)
	for p := range f.Waits {
		f.Waits[p] = f.Waits[p].clone()
	}
	return f
}

// totals sums up.
func (f Figures) totals() (t Totals) {
	for r, n := range f.Requests {
		t.Requests += n
		if r.Outcome == rateLimited {
			t.RateLimited += n
		}
	}
	for _, n := range f.Retries {
		t.Retries += n
	}
	if n := f.BatchUsers.Count(); n > 0 {
		t.UsersPerRequest = f.BatchUsers.Sum / float64(n)
	}
	return t
}

// ended says how a request has ended that brought err.
func ended(err error) string {
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

// countFlight counts f, which has brought a, and has those pay for it to whom its
// wants belong.
func (g *Gate) countFlight(f *flight, a answer, now time.Time) {
	outcome := ended(a.err)
	if outcome == notSent {
		g.figures.Unsent++
		return
	}
	if f.lookup() && len(a.results) == 1 && errors.Is(a.results[0].Err, clerkapi.ErrNotFound) {
		outcome = notFound
	}
	endpoint := f.endpoint()
	if f.lookup() {
		endpoint = lookupEndpoint
	}
	g.figures.Requests[Request{endpoint, outcome}]++
	h := g.figures.Durations[endpoint]
	h.observe(now.Sub(f.sent).Seconds())
	g.figures.Durations[endpoint] = h
	if f.lookup() {
		g.figures.BatchUsers.observe(float64(len(f.wants)))
	}
	f.pay()
}

// refused counts wants of c's that were answered with err, if it is a refusal and
// no failure of Clerk's.
func (g *Gate) refused(c *caller, wants int, err error) {
	kind := clerkapi.ErrKeyRejected
	if own, ok := errors.AsType[*Error](err); ok {
		kind = own.Kind
	} else if !errors.Is(err, kind) {
		return
	}
	g.figures.Refused[refusals[kind]] += int64(wants)
	c.sums.Load().refused += int64(wants)
}
