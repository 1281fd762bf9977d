package gate

import (
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/fairqueue"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// dispatch sends what may be sent now, by way of launch, and says when to look
// again; the zero time means: when woken.
func (g *Gate) dispatch(launch func(*flight)) (next time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	soonest := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, w := range g.delayed.due(now) {
		g.enqueue(w, now)
	}
	soonest(g.delayed.next())
	g.starved = false
	g.lookAtGathering(now)
	soonest(g.overdueDoubt(now))
	for {
		f, again := g.choose(now)
		soonest(again)
		if f == nil || !f.isProbe && !f.gathers && len(g.flights) >= g.bears.limit {
			break
		}
		p, ok, again := g.take(now)
		if !ok {
			soonest(again)
			g.starved = true
			break
		}
		if f.gathers {
			g.gathered(p, now)
			continue
		}
		g.leases.others++
		f.permit, f.sent, f.stamp = p, now, g.cfg.Stamp()
		if !g.shut.allow(f) { // the breaker's clock is a moment behind
			g.giveBack(p, now)
			soonest(now.Add(time.Millisecond))
			break
		}
		g.load(f, now)
		switch {
		case f.isProbe:
		case len(f.wants) == 0: // all left meanwhile
			f.done(errNeutral)
			g.giveBack(p, now)
			continue
		}
		for _, w := range f.wants {
			w.left = now
		}
		g.flights[f] = struct{}{}
		f.number, f.beside = g.bears.launch(), len(g.flights)
		g.traceSent(f, now)
		g.retries.sent(now)
		launch(f)
	}
	soonest(g.endLeases(now))
	// What is not wanted any more is given back, too.
	select {
	case g.share <- struct{}{}:
	default:
	}
	return next
}

// take takes a permit, if one may be used now; else it says when to look again,
// the zero time meaning: when woken.
func (g *Gate) take(now time.Time) (p quota.Permit, ok bool, again time.Time) {
	p, ok, again = g.limiter.Take(now)
	if !ok {
		return p, ok, again
	}
	if g.ledger != nil && !g.ledger.spend() {
		g.limiter.GiveBack(p, now)
		return quota.Permit{}, false, time.Time{}
	}
	if now.Before(g.lowFrom) || g.decider != quota.DecidesState {
		return p, true, time.Time{}
	}
	s := g.limiter.State(now)
	switch {
	case !g.low && 10*s.Available < s.Capacity:
		g.low = true
		g.totals.low++
		g.cfg.Logger.Warn("less than a tenth of the quota is left", "available", s.Available, "of", s.Capacity, "waiting", g.queue.Len())
	case g.low && 5*s.Available >= s.Capacity: // so that it is said once, not at every permit
		g.low = false
	}
	return p, true, time.Time{}
}

// giveBack returns a permit whose request did not leave.
func (g *Gate) giveBack(p quota.Permit, now time.Time) {
	g.limiter.GiveBack(p, now)
	if g.ledger != nil {
		g.ledger.giveBack()
	}
}

// choose says what the next permit would be used for, without taking it; nil
// if there is nothing that may go now, and when that may change by itself.
func (g *Gate) choose(now time.Time) (f *flight, again time.Time) {
	if g.shut.refusing() || g.shut.asking {
		return g.shut.probe(now)
	}
	due, again := g.shut.mustProbe(now)
	asks, later := g.leaseProbe(now)
	if !later.IsZero() && (again.IsZero() || later.Before(again)) {
		again = later
	}
	switch {
	case due, asks:
		return &flight{isProbe: true}, time.Time{}
	case g.shut.holds(): // until a probe has told whose a 429 was
		return nil, again
	}
	most, t := g.mayLookUp(now)
	if !t.IsZero() && (again.IsZero() || t.Before(again)) {
		again = t
	}
	p, k, ok := g.queue.Next(most)
	for ok && k == fairqueue.Whole && isLease(g.queue.Head(p, k)) {
		g.startGathering(p)
		p, k, ok = g.queue.Next(most)
	}
	gathers := g.gathers(ok, p, now)
	switch {
	case !ok && !gathers:
		return nil, again
	case g.limiter.Probing():
		// After a pause something goes first that is nobody's: a want may have drawn
		// the 429 itself, and nobody would hear the answer to a lease.
		if g.shut.probing {
			return nil, again
		}
		return &flight{isProbe: true}, again
	case gathers:
		return &flight{gathers: true}, again
	}
	return &flight{priority: p, kind: k}, again
}

// mayLookUp returns how many ids a lookup request may take now, 0 if none may go.
// One may if it would be full, or if few enough are in flight. Nobody lingers for
// company, yet lookups gather while others are under way. One that takes unusually
// long does not count; again is when the next one comes to be such.
func (g *Gate) mayLookUp(now time.Time) (most int, again time.Time) {
	if g.queue.Shared() == 0 {
		return 0, time.Time{}
	}
	most = g.batch.limit
	if g.queue.Shared() >= most {
		return most, time.Time{}
	}
	allowed := 1
	if g.limiter.MostlyFree(now) {
		allowed = 2
	}
	counted := 0
	usual := g.limiter.RoundTrip()
	for f := range g.flights {
		late := f.sent.Add(2 * usual)
		if !f.lookup() || f.alone() || usual > 0 && !now.Before(late) {
			continue
		}
		counted++
		if usual > 0 && (again.IsZero() || late.Before(again)) {
			again = late
		}
	}
	if counted >= allowed {
		return 0, again
	}
	return most, again
}

// load fills f with what it was chosen for.
func (g *Gate) load(f *flight, now time.Time) {
	if f.isProbe {
		g.leases.limited, g.leases.askedAt = false, now
		return
	}
	f.taken = g.queue.Take(f.priority, f.kind, g.batch.limit)
	for _, t := range f.taken {
		for range wantsOf(t.Item) {
			g.figures.Waits[t.Line.Priority()].observe(now.Sub(t.Item.Since()).Seconds())
		}
	}
	if gr, ok := f.taken[0].Item.Value.(*group); ok {
		g.loadGroup(f, gr, f.taken[0])
		return
	}
	g.cutLine(f, now)
	for _, t := range f.taken {
		w := wantOf(t.Item)
		payer := w.payer(t.Line)
		f.add(w, payer)
		payer.count(false)
		if w.id != "" {
			f.kind = fairqueue.Shared // one that goes alone, too
			delete(g.queued, w.id)
			g.flying[w.id] = w
		}
	}
}

// cutLine puts back the ids that would make the request line too long.
func (g *Gate) cutLine(f *flight, now time.Time) {
	if f.kind != fairqueue.Shared {
		return
	}
	length := clerkapi.LookupLine()
	fits := 0
	for ; fits < len(f.taken); fits++ {
		length += clerkapi.LookupLine(wantOf(f.taken[fits].Item).id) - clerkapi.LookupLine()
		if length > clerkapi.MaxRequestLine {
			break
		}
	}
	for i := len(f.taken) - 1; i >= fits; i-- {
		t := f.taken[i]
		g.queue.Refund(t)
		for _, x := range wantOf(t.Item).waiters {
			g.comeBack(wantOf(t.Item), x, now)
		}
	}
	f.taken = f.taken[:fits]
}

// payer is who of those that wait for w pays for it, if l has given it: the first
// who waits there.
func (w *want) payer(l *fairqueue.Line) *waiter {
	for _, x := range w.waiters {
		if x.pending.line == l {
			return x
		}
	}
	return w.waiters[0]
}

// enqueue puts w back to the front of the lines of all who wait for it, and merges
// it with a want for the same user that came in meanwhile.
func (g *Gate) enqueue(w *want, now time.Time) {
	if len(w.waiters) == 0 {
		g.drop(w)
		return
	}
	if w.id != "" {
		if g.flying[w.id] == w {
			delete(g.flying, w.id)
		}
		if twin := g.queued[w.id]; twin != nil && twin != w {
			twin.tries = max(twin.tries, w.tries)
			for _, x := range w.waiters {
				x.count(false)
				x = twin.join(x.pending, x.index)
				x.count(true)
				if twin.item.Waiting() {
					g.comeBack(twin, x, now)
				}
			}
			w.waiters = nil
			return
		}
		g.queued[w.id] = w
	}
	for _, x := range w.waiters {
		g.comeBack(w, x, now)
	}
}

// comeBack gives w, which has been under way, the place of one of its waiters again.
func (g *Gate) comeBack(w *want, x *waiter, now time.Time) {
	g.queue.Return(&w.item, x.pending.line, x.pending.since, now)
	x.count(true)
}
