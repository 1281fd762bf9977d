package quota

import (
	"slices"
	"time"
)

// lending holds the loans of a Shared.
//
// The state counts loans apart from other permits. It keeps them when the replica ends or
// falls silent. All replicas together lend no more than may be lent: a replica reserves
// what it will lend before it takes the permits.
type lending struct {
	loans  []Loan    // those whose permits are held
	fresh  []Loan    // those of them that were not reported yet
	wanted int       // permits to be lent next
	after  lendAfter // as of the last reply
	mark   int64     // the first report with the latest loan
	recall int64     // the first report with the latest recall
}

// lendAfter is a number of permits and the earliest time at which they may be lent.
type lendAfter struct {
	permits int
	at      time.Time
}

// LentEvent is a number of permits that are lent.
type LentEvent struct {
	After   Microseconds `json:"after"` // until none of their requests can be under way
	Permits int          `json:"permits"`
}

// MostLent returns how many permits may be lent at once: by all replicas together or, in
// the fallback, by this one alone.
func (s *Shared) MostLent(now time.Time) int {
	s.advance(now)
	if s.mode == sharing {
		return s.cfg.mostLent(s.view.Capacity)
	}
	if n, _ := s.allowance(now); n > 0 {
		return s.cfg.mostLent(n)
	}
	return s.cfg.MostLent() // of what is allowed next
}

// MayLend reports whether n permits may be lent at now. If the state must be asked first,
// it returns false; the reply then decides.
func (s *Shared) MayLend(now time.Time, n int) bool {
	s.advance(now)
	if n != s.lending.wanted {
		s.lending.wanted = n
		s.urgent = s.urgent || s.mode == sharing && n > s.view.Lend
	}
	if s.mode == sharing {
		return n <= s.view.Lend
	}
	most := s.MostLent(now)
	return s.local.lent.len()+n <= most
}

// LendAfter returns the same as Limiter.LendAfter. While the state decides, that is known
// once MayLend was called with the same number and a reply has come since.
func (s *Shared) LendAfter(now time.Time, n int) time.Duration {
	s.advance(now)
	if s.mode != sharing {
		return s.local.lendAfter(now, s.MostLent(now), n)
	}
	if s.lending.after.permits != n {
		return 0
	}
	return max(0, s.lending.after.at.Sub(now))
}

// Lend settles permits as Limiter.Lend does. The loan outlives this replica once Recorded
// returns true.
func (s *Shared) Lend(permits []Permit, end, now time.Time) Loan {
	loan := s.local.Lend(permits, end, now)
	for _, p := range permits {
		s.settle(p)
	}
	s.addLoan(loan)
	s.lending.wanted, s.view.Lend = 0, 0
	s.lending.mark = s.seq + 1
	s.urgent = true
	return loan
}

func (s *Shared) addLoan(loan Loan) {
	s.lending.loans = append(s.lending.loans, loan)
	s.lending.fresh = append(s.lending.fresh, loan)
}

// Mark returns a number that stands for the latest loan in calls of Recorded.
func (s *Shared) Mark() int64 { return s.lending.mark }

// Recorded reports whether the state knows of a loan, or can't be reached.
func (s *Shared) Recorded(mark int64) bool { return s.acked >= mark || s.mode != sharing }

// Recall ends a loan as Limiter.Recall does.
func (s *Shared) Recall(loan Loan, use Use, now time.Time) bool {
	if !s.local.Recall(loan, use, now) {
		return false
	}
	if i := slices.Index(s.lending.loans, loan); i >= 0 {
		s.lending.loans = slices.Delete(s.lending.loans, i, i+1)
	}
	for range use.Sent - use.Unanswered {
		s.settled.add(now.Add(s.windowHold()))
		s.accepted++
	}
	if use.Unanswered > 0 {
		s.addLoan(Loan{Permits: use.Unanswered, gone: now.Add(s.cfg.LostHold)})
	}
	s.lending.recall = s.seq + 1
	s.urgent = true
	return true
}

// report returns the loans to report: all of them, or those that are new.
func (l *lending) report(now time.Time, hold time.Duration, all bool) []LentEvent {
	l.loans = slices.DeleteFunc(l.loans, func(loan Loan) bool { return !loan.gone.Add(hold).After(now) })
	if all {
		l.fresh = l.loans
	}
	events := []LentEvent{}
	for _, loan := range l.fresh {
		events = append(events, LentEvent{After: microsUp(loan.gone.Sub(now)), Permits: loan.Permits})
	}
	l.fresh = nil
	return events
}

// conform makes the local limiter hold the lent permits, after its kind or its window has
// changed.
func (l *lending) conform(local *Limiter, hold time.Duration) {
	for i := range local.lent.len() { // none, if it is of another kind now
		local.held.releases.drop(local.lent.at(i))
	}
	local.lent, local.lentHold = times{}, hold
	for _, loan := range l.loans {
		local.hold(loan)
	}
}
