package gate

import (
	"errors"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
)

// settle decides what the answer a to r means: for the permit, for the breaker and the
// key, and for the wants of r, which it answers or queues again.
func (g *Gate) settle(r *request, a answer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	delete(g.requests, r)
	if r.overtaken {
		g.places.overtaken--
	}
	v := clerkapi.Judge(a.err)
	r.reportReturned(now)
	if !errors.Is(a.err, clerkapi.ErrNotSent) {
		g.cfg.Callers.Charge(r.payers)
	}
	if a.err != nil && v.Concern != clerkapi.ConcernsNobody {
		g.logFailure(r, a.err, now.Sub(r.sentAt))
	}
	if v.Spent == clerkapi.SpentAnswered {
		g.concurrency.answer(r.number)
	}
	switch {
	case r.kind == probeRequest:
		g.settlePermit(r, a, v.Spent, now)
		g.probed(r, a, v, now)
	case v.Spent == clerkapi.SpentLimited && !g.closed:
		r.done(errNeutral)
		g.settleLimited(r, a, v, now)
	default:
		g.settlePermit(r, a, v.Spent, now)
		g.key.settle(v, a.err)
		g.breaker.settle(r, v, a.err, now)
		g.settleWants(r, a, v, now)
	}
	if g.refusing() {
		g.failWaiting(g.refusal(now))
	}
}

// settleWants answers the wants of r, which is no probe and drew no 429, or queues them
// again.
func (g *Gate) settleWants(r *request, a answer, v clerkapi.Verdict, now time.Time) {
	switch {
	case a.err == nil:
		g.probes.took = 0 // what other requests take is a better measure now
		g.deliver(r, a, now)
	case g.closed, v.Concern == clerkapi.ConcernsNobody:
		g.failRequest(r, &Error{Kind: ErrShuttingDown})
	case v.Resend && !r.wants[0].resent:
		for _, w := range r.wants {
			w.resent = true
		}
		g.cfg.Observer.Retried(a.err)
		g.requeueAll(r, now)
	case v.Concern == clerkapi.ConcernsKey:
		g.doubtKey(r, a, v, now)
	case v.Retry:
		g.retry(r, v, now, a.err)
	default:
		g.refuse(r, v, now, a.err)
	}
}

// deliver answers the wants of r with what Clerk has answered.
func (g *Gate) deliver(r *request, a answer, now time.Time) {
	for _, w := range r.wants {
		g.doubts.queries.forget(w.query)
	}
	if r.kind == listOrCountRequest {
		g.finish(r.wants[0], Result{FetchTime: r.sentAt, Stamp: r.stamp}, a.value)
		return
	}
	g.lookupSize.answered(len(r.wants))
	for i, w := range r.wants {
		g.culprits.forget(w.query)
		if a.unclear[i] {
			w.askAlone()
			g.requeue(w, now)
			continue
		}
		g.finish(w, a.results[i], nil)
	}
}

// failWaiting answers all wants that are not under way with err.
func (g *Gate) failWaiting(err error) {
	for _, p := range priorities {
		for it := g.queue.First(p); it != nil; it = g.queue.First(p) {
			if pt, ok := it.Value.(*part); ok {
				g.unpark(pt)
				for _, w := range pt.wants {
					g.fail(w, err)
				}
				continue
			}
			g.fail(wantOf(it), err)
		}
	}
	for _, w := range g.outsideQueue() {
		g.fail(w, err)
	}
	g.delayed.heap = nil
	for _, d := range g.doubts.takeAll() {
		if d.verdict.Concern == clerkapi.ConcernsQuota { // other permits are settled already
			g.limitPermit(d.request, d.answer, 0, time.Now())
		}
		g.failRequest(d.request, err)
	}
}

// logFailure logs that r has failed, with Clerk's own words.
func (g *Gate) logFailure(r *request, err error, took time.Duration) {
	endpoint := r.endpoint()
	if r.forUsers() && len(r.wants) == 1 {
		endpoint = "get"
	}
	attrs := []any{"endpoint", endpoint, "took", took, "error", err}
	if r.forUsers() {
		attrs = append(attrs, "ids", len(r.wants))
	}
	var e *clerkapi.Error
	if errors.As(err, &e) {
		for _, a := range []struct{ key, value string }{{"clerk_trace_id", e.Meta.TraceID}, {"clerk_says", e.Message}} {
			if a.value != "" {
				attrs = append(attrs, a.key, a.value)
			}
		}
		if e.Status != 0 {
			attrs = append(attrs, "status", e.Status)
		}
	}
	g.cfg.Logger.Warn("a request to Clerk failed", attrs...)
}
