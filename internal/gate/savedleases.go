package gate

import (
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
)

// save returns the leases that are lent, in the form of the state file.
func (ls *leases) save() (saved []quota.SavedLease) {
	for _, le := range ls.order {
		if le.state == leaseOver {
			continue
		}
		saved = append(saved, quota.SavedLease{
			ID: le.ID, Caller: le.name, Request: le.request.ID, TTL: le.request.TTL, Expires: le.Expires.Round(0), Loan: le.loan.Save(),
		})
	}
	return saved
}

// restoreLeases restores the leases that an earlier process has lent, so that they can
// be released and asked for again. The limiter knows of their permits already.
func (g *Gate) restoreLeases(now time.Time) {
	saved, _ := g.ledger.file.Saved()
	if saved == nil {
		return
	}
	for _, l := range saved.Leases {
		left := min(l.Expires.Sub(now), l.Expires.Sub(saved.At), MaxLeaseTTL)
		if left <= 0 {
			continue
		}
		le := &lease{
			Lease:   Lease{ID: l.ID, Expires: now.Add(left)},
			request: LeaseRequest{Permits: l.Loan.Permits, TTL: l.TTL, ID: l.Request},
			name:    l.Caller, caller: g.callers.get(l.Caller),
			loan: saved.Loan(l.Loan, g.limiter.Config().LostHold, now), state: leaseOut,
		}
		g.leases.lent(le)
		if l.Request != "" {
			g.leases.remember(requestKey{l.Caller, l.Request}, le)
		}
	}
}
