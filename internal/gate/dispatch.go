package gate

import (
	"time"

	"github.com/clerkgate/clerkgate/internal/fairqueue"
)

// dispatch makes all requests that may be sent now and calls launch with each. It
// returns when it must be called again; the zero time means once it is woken.
func (g *Gate) dispatch(launch func(*request)) (next time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	for _, w := range g.delayed.due(now) {
		g.requeue(w, now)
	}
	next = g.delayed.next()
	g.needsPermit = false
	g.lookAtGathering(now)
	next = earlier(next, g.overdueDoubt(now))
	for more := true; more; {
		var again time.Time
		more, again = g.dispatchOne(now, launch)
		next = earlier(next, again)
	}
	next = earlier(next, g.endLeases(now))
	g.exchangeSoon() // permits that are not wanted any more are handed back
	return next
}

// dispatchOne uses one permit, if it may be used now. It reports whether there may be
// more to do now, and returns when there is more to do later.
func (g *Gate) dispatchOne(now time.Time, launch func(*request)) (more bool, again time.Time) {
	t, again := g.choose(now)
	if t.kind == noRequest || t.bounded() && g.placesTaken() >= g.concurrency.limit {
		return false, again
	}
	permit, ok, later := g.takePermit(now)
	if !ok {
		g.needsPermit = true
		return false, earlier(again, later)
	}
	if t.kind == leasePermit {
		g.gathered(permit, now)
		return true, again
	}
	g.leases.others++
	stamp := g.cfg.Stamp()
	done, err := g.allow(t.kind == probeRequest)
	if err != nil { // does not happen: choose has asked the breaker
		g.giveBack(permit, now)
		return false, earlier(again, now.Add(g.breaker.openFor))
	}
	r := g.load(t, now)
	r.permit, r.sentAt, r.stamp, r.done = permit, now, stamp, done
	if t.kind != probeRequest && len(r.wants) == 0 { // all waiters have left
		r.done(errNeutral)
		g.giveBack(permit, now)
		return true, again
	}
	g.depart(r)
	launch(r)
	return true, again
}

// depart records that r leaves.
func (g *Gate) depart(r *request) {
	for _, w := range r.wants {
		w.sentAt = r.sentAt
	}
	g.requests[r] = struct{}{}
	r.number, r.beside = g.concurrency.launch(len(g.requests)), len(g.requests)
	g.reportSent(r)
	g.retries.sent(r.sentAt)
	g.senders.sent(r.parties, r.sentAt)
}

// choose returns what the next permit is to be used for, without taking one. Its kind
// is noRequest if nothing may be sent now; again is when that may change by itself.
func (g *Gate) choose(now time.Time) (t turn, again time.Time) {
	probe := turn{kind: probeRequest}
	starting, until := g.starting(now)
	if g.refusing() || starting {
		due, again := g.recoveryProbe(now)
		if due {
			return probe, time.Time{}
		}
		return turn{}, earlier(again, until)
	}
	due, again := g.decidingProbe(now)
	asks, later := g.leaseProbe(now)
	again = earlier(again, later)
	hangs, later := g.hangProbe(now)
	again = earlier(again, later)
	switch {
	case due, asks:
		return probe, time.Time{}
	case hangs:
		return turn{kind: probeRequest, asksHang: true}, time.Time{}
	case g.doubts.othersWait(): // until a probe has shown whom a 429 concerns
		return turn{}, again
	}
	most, later := g.mayLookUp(now)
	again = earlier(again, later)
	next, ok := g.queue.Next(most)
	for ok && next.Kind == fairqueue.Whole && isLease(g.queue.Head(next)) {
		g.startGathering(next)
		next, ok = g.queue.Next(most)
	}
	gathers := g.gathers(ok, next.Priority, now)
	switch {
	case !ok && !gathers:
		return turn{}, again
	case g.limiter.Probing():
		// After a pause, a probe goes first: a want may itself be the cause of the 429,
		// and the gate does not see the answers to a lease's requests.
		if g.probes.underWay {
			return turn{}, again
		}
		return probe, again
	case gathers:
		return turn{kind: leasePermit}, again
	}
	return turn{kind: lookupRequest, next: next}, again
}

// mayLookUp returns how many ids a lookup may take now, 0 if none may be sent. A lookup
// may be sent if it would be full, or if few enough lookups are in flight: it does not
// wait for more ids, but ids gather while others are in flight. A lookup that takes
// unusually long does not count; again is when the next one stops counting.
func (g *Gate) mayLookUp(now time.Time) (most int, again time.Time) {
	if g.queue.Shared() == 0 {
		return 0, time.Time{}
	}
	most = g.lookupSize.limit
	if g.queue.Shared() >= most {
		return most, time.Time{}
	}
	allowed := 1
	if g.limiter.MostlyFree(now) {
		allowed = 2
	}
	counted := 0
	usual := g.limiter.RoundTrip()
	for r := range g.requests {
		late := r.sentAt.Add(2 * usual)
		if !r.forUsers() || r.alone() || usual > 0 && !now.Before(late) {
			continue
		}
		counted++
		if usual > 0 {
			again = earlier(again, late)
		}
	}
	if counted >= allowed {
		return 0, again
	}
	return most, again
}
