package gate

import (
	"errors"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/usage"
)

// reportSent reports that r has left.
func (g *Gate) reportSent(r *request) {
	s := SentRequest{Endpoint: r.endpoint(), Part: r.kind == partRequest, Wants: len(r.wants), Try: 1, At: r.sentAt}
	for _, w := range r.wants {
		s.Try = max(s.Try, w.tries+1)
		for _, x := range w.waiters {
			if call := x.call.trace; call != nil {
				s.Calls = append(s.Calls, TracedWant{call, x.index, w.tries + 1})
			}
		}
	}
	r.trace = g.cfg.Observer.Sent(s)
	for _, w := range r.wants {
		w.trace = r.trace
	}
}

// reportAnswered reports that r has ended with a.
func (g *Gate) reportAnswered(r *request, a answer) {
	ended := AnsweredRequest{Trace: r.trace, Endpoint: r.endpoint(), Wants: len(r.wants), Took: time.Since(r.sentAt), Err: a.err}
	for _, unclear := range a.unclear {
		if !unclear {
			ended.Ids++
		}
	}
	ended.Missing = len(a.results) == 1 && errors.Is(a.results[0].Err, clerkapi.ErrNotFound)
	g.cfg.Observer.Answered(ended)
}

// reportLeft reports that w has left the queue in a request, or as a lease.
func (w *want) reportLeft(in RequestTrace, now time.Time) {
	for _, x := range w.waiters {
		if call := x.call.trace; call != nil {
			call.Left(x.index, w.tries+1, in, now)
		}
	}
}

// reportReturned reports that the wants of r wait again, at least until they are answered.
func (r *request) reportReturned(now time.Time) {
	for _, w := range r.wants {
		for _, x := range w.waiters {
			if call := x.call.trace; call != nil {
				call.Returned(x.index, now)
			}
		}
	}
}

// reportRefused reports wants of c that were answered with err, if err is a refusal and not
// a failure of Clerk.
func (g *Gate) reportRefused(c *usage.Caller, wants int, err error) {
	kind := clerkapi.ErrKeyRejected
	if own, ok := errors.AsType[*Error](err); ok {
		kind = own.Kind
	} else if !errors.Is(err, kind) {
		return
	}
	g.cfg.Observer.Refused(kind, wants)
	c.Refused(wants)
}
