package gate

import (
	"slices"
	"time"

	"github.com/clerkgate/clerkgate/internal/fairqueue"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// A lease whose turn has come gathers its permits. One lease gathers at a time. Until it
// has all, it takes at most every second permit while other wants wait, or every tenth if
// its priority is batch and interactive wants wait. So leases at most double the wait of
// others, however large they are.

// isLease reports whether an item is a lease.
func isLease(it *fairqueue.Item) bool {
	w, ok := it.Value.(*want)
	return ok && w.lease != nil
}

// startGathering takes the lease whose turn it is out of the queue, and charges its line
// for all its permits.
func (g *Gate) startGathering(next fairqueue.Turn) {
	for _, t := range g.queue.Take(next, 1) {
		w := wantOf(t.Item)
		g.queue.Charge(t.Line, float64(w.lease.request.Permits-1))
		g.leases.gathering = append(g.leases.gathering, w)
	}
}

// gathers reports whether the next permit is for the lease that gathers. If others is
// true, other wants wait for a permit, at priority p.
func (g *Gate) gathers(others bool, p Priority, now time.Time) bool {
	if len(g.leases.gathering) == 0 {
		g.limiter.MayLend(now, 0)
		return false
	}
	w := g.leases.gathering[0]
	if !g.limiter.MayLend(now, w.lease.request.Permits) {
		g.giveUpGathered(w.lease, now)
		return false
	}
	every := 2
	if p == Interactive && w.waiters[0].call.line.Priority() == Batch {
		every = fairqueue.BatchTurn
	}
	return !others || g.leases.others >= every-1
}

// gathered adds a permit to the lease that gathers.
func (g *Gate) gathered(p quota.Permit, now time.Time) {
	g.leases.others = 0
	w := g.leases.gathering[0]
	le := w.lease
	if len(le.permits) == 0 {
		le.limit = g.limiter.State(now).Limit
	}
	if le.permits = append(le.permits, p); len(le.permits) == le.request.Permits {
		g.leases.gathering = g.leases.gathering[1:]
		g.lend(le, now)
	}
}

// lookAtGathering returns the gathered permits if the limit has fallen, and refuses the
// leases whose deadlines can't be met any more.
func (g *Gate) lookAtGathering(now time.Time) {
	if len(g.leases.gathering) == 0 {
		return
	}
	s := g.limiter.State(now)
	first := g.leases.gathering[0].lease
	if !s.PausedUntil.IsZero() || s.Limit < first.limit {
		g.giveUpGathered(first, now)
	}
	before := 0
	for _, w := range slices.Clone(g.leases.gathering) {
		wait, err := g.leaseWait(w.lease, 0, before, now)
		if err != nil {
			g.fail(w, err)
			continue
		}
		// Estimates are not exact, and a lease that has waited for long deserves some margin.
		// The ends of leases are exact.
		eta := now.Add(max(wait-wait/4, g.limiter.LendAfter(now, w.lease.request.Permits)))
		g.refuseBefore(w, eta, &Error{Kind: g.tooLate(now), RetryAfter: max(wait, time.Millisecond)})
		if w.lease.state == leaseWaits {
			before += w.lease.request.Permits - len(w.lease.permits)
		}
	}
}

// leaseProbe reports whether a probe must be sent now because the holder of a lease has
// reported a 429. If not, again is the earliest time for one. Reports of many leases lead
// to one probe.
func (g *Gate) leaseProbe(now time.Time) (yes bool, again time.Time) {
	if !g.leases.limited || g.probes.underWay {
		return false, time.Time{}
	}
	if next := g.leases.askedAt.Add(leaseProbeEvery); next.After(now) {
		return false, next
	}
	return true, time.Time{}
}

// leaseProbeEvery is the shortest time between two probes that leases cause.
const leaseProbeEvery = time.Second
