package gate

import (
	"slices"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
)

// keepLedger writes the file whenever it is due, until stop is closed. Then it writes
// exactly what is spent, and closes the file.
func (g *Gate) keepLedger(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			g.ledger.covered = 0
			g.writeLedger(0)
			_ = g.ledger.file.Close()
			return
		case <-g.ledger.due:
		}
		g.writeLedger(g.ledger.block)
		g.poke()
	}
}

// writeLedger writes what is spent, and a block that may be spent from then on.
func (g *Gate) writeLedger(block int) {
	d := g.ledger
	g.mu.Lock()
	if d.covered > d.block { // it is written for a lease
		block = 0
	}
	s := d.limiter.Save(time.Now(), d.covered+block)
	s.Leases = g.leases.save()
	unkept := g.leases.unkept
	g.leases.unkept = nil
	g.mu.Unlock()
	err := d.file.Write(s)
	g.mu.Lock()
	defer g.mu.Unlock()
	// If the file can't be written, a restart may spend a window twice. To serve
	// nobody because a disk is full would be worse.
	d.covered += block
	for _, le := range unkept {
		g.handOver(le)
	}
	if err != nil && d.err == nil {
		g.cfg.Logger.Error("the state file can't be written: a restart may spend the quota twice", "error", err)
	}
	if err == nil && d.err != nil {
		g.cfg.Logger.Info("the state file can be written again")
	}
	d.err = err
}

// mostReleasedSaved is how many released leases the state file has, for their request ids:
// the file is written often, so it stays small.
const mostReleasedSaved = 100

// save returns the leases that are lent, and the last to end of those that were released,
// in the form of the state file.
func (ls *leases) save() (saved []quota.SavedLease) {
	released := 0
	for _, le := range slices.Backward(ls.order) {
		if le.state == leaseOver {
			if released++; released > mostReleasedSaved {
				continue
			}
		}
		saved = append(saved, quota.SavedLease{
			ID: le.ID, Caller: le.name, Request: le.request.ID, TTL: le.request.TTL, Expires: le.Expires.Round(0), Loan: le.loan.Save(),
			Released: le.state == leaseOver,
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
			name:    l.Caller, caller: g.cfg.Callers.Get(l.Caller),
			loan: saved.Loan(l.Loan, g.limiter.Config().LostHold, now), state: leaseOut,
		}
		g.leases.lent(le)
		if l.Released {
			g.leases.over(le)
		}
		if l.Request != "" {
			g.leases.remember(requestKey{l.Caller, l.Request}, le)
		}
	}
}
