package gate

import (
	"crypto/rand"
	"slices"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
)

// lend lends the permits that le has gathered.
func (g *Gate) lend(le *lease, now time.Time) {
	le.Lease = Lease{ID: g.leases.tag + rand.Text(), Expires: now.Add(le.request.TTL)}
	le.loan = g.limiter.Lend(le.permits, le.Expires, now)
	le.permits = nil
	le.state = leaseLent
	g.leases.lent(le)
	first := le.want.waiters[0].call
	g.cfg.Observer.Dequeued(first.line.Priority(), now.Sub(first.since))
	le.want.reportLeft(nil, now)
	switch {
	case g.ledger != nil:
		g.leases.unkept = append(g.leases.unkept, le)
		g.ledger.writeSoon()
	case g.shared != nil:
		le.mark = g.shared.Mark()
		g.leases.unkept = append(g.leases.unkept, le)
	default:
		g.handOver(le)
	}
}

// giveUpGathered returns the permits that le has gathered.
func (g *Gate) giveUpGathered(le *lease, now time.Time) {
	for _, p := range le.permits {
		g.giveBack(p, now)
	}
	le.permits = nil
}

// handOver hands le to the callers that wait for it, since its record outlives this
// process.
func (g *Gate) handOver(le *lease) {
	if le.state != leaseLent { // all callers have left
		return
	}
	le.state = leaseOut
	g.finish(le.want, Result{}, nil)
}

// handOverKept hands over the leases that the shared state knows of, or all of them.
func (g *Gate) handOverKept(all bool) {
	g.leases.unkept = slices.DeleteFunc(g.leases.unkept, func(le *lease) bool {
		if !all && !g.shared.Recorded(le.mark) {
			return false
		}
		g.handOver(le)
		return true
	})
}

// dropLease forgets le, for which nobody waits any more, unless a caller has it.
func (g *Gate) dropLease(le *lease, now time.Time) {
	switch le.state {
	case leaseWaits:
		g.giveUpGathered(le, now)
		g.leases.gathering = slices.DeleteFunc(g.leases.gathering, func(w *want) bool { return w.lease == le })
		le.state = leaseOver
		g.leases.forget(le)
	case leaseLent:
		g.limiter.Recall(le.loan, quota.Use{}, now)
		g.leases.over(le)
		g.leases.forget(le)
	}
}

// release ends a lease of this replica.
func (g *Gate) release(id string, use LeaseUse, now time.Time) error {
	g.endLeases(now)
	le := g.leases.byID[id]
	if le == nil {
		return ErrNoLease
	}
	if use.Used == AllUsed {
		use.Used = le.request.Permits
	}
	switch {
	case use.Used < 0 || use.Used > le.request.Permits:
		return ErrLeaseUse
	case use.Unanswered < 0 || use.Unanswered > use.Used:
		return ErrUnanswered
	}
	g.limiter.Recall(le.loan, quota.Use{Sent: use.Used, Unanswered: use.Unanswered}, now)
	g.leases.over(le)
	g.noteReleased(le, now)
	if g.ledger != nil && le.request.ID != "" {
		g.ledger.writeSoon()
	}
	le.caller.Pay(use.Used)
	g.leases.limited = g.leases.limited || use.RateLimited
	g.poke()
	return nil
}

// endLeases ends the leases whose time is over. It is not known what they have sent, so
// their permits count as lost. It returns when the next one ends.
func (g *Gate) endLeases(now time.Time) time.Time {
	for len(g.leases.order) > 0 {
		le := g.leases.order[0]
		if le.Expires.After(now) {
			return le.Expires
		}
		g.leases.order = g.leases.order[1:]
		g.leases.forget(le)
		if le.state == leaseOver {
			continue
		}
		g.leases.over(le)
		le.caller.Pay(le.request.Permits)
		g.cfg.Logger.Warn("a lease was not released", "permits", le.request.Permits)
	}
	return time.Time{}
}
