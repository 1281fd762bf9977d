package quota

import "time"

// MaxLoan is the longest that permits may be lent for.
const MaxLoan = 5 * time.Minute

// Loan is a number of permits that are lent to somebody who sends requests of his
// own. It is settled from the start: if nothing is heard of it, its permits come free
// by themselves, so that a loan outlives whoever has made it. The zero value is no loan.
type Loan struct {
	Permits int
	gone    time.Time // from when none of its requests can be under way any more
}

// Use is what became of a loan's permits.
type Use struct {
	Sent       int // requests that were sent, at most Loan.Permits
	Unanswered int // ... of these, the ones without an answer
}

// mostLent is how many of n permits may be lent at once, at least one if there is one.
func (c Config) mostLent(n int) int {
	return min(n, max(1, int(float64(n)*c.MaxLeased+1e-9)))
}

// MostLent returns how many permits can be lent at once while nothing lowers the limit.
func (c Config) MostLent() int {
	c = c.withDefaults()
	if c.Burst > 0 {
		return c.mostLent(c.lessReserve(c.Burst))
	}
	return c.mostLent(c.lessReserve(c.Limit))
}

// MostLent returns how many permits may be lent at once as the limit is at now.
func (l *Limiter) MostLent(now time.Time) int {
	l.advance(now)
	return l.cfg.mostLent(l.capacity())
}

// MayLend reports whether n more permits may be lent at now. Permits that were lent
// count until they are free, but for those whose requests have been answered: they
// are held no longer than any other request's.
func (l *Limiter) MayLend(now time.Time, n int) bool {
	most := l.MostLent(now)
	return l.lent.len()+n <= most
}

// Lend settles permits that are lent until end. If they are not recalled, their
// requests count as sent at the end and never answered.
func (l *Limiter) Lend(permits []Permit, end, now time.Time) Loan {
	l.advance(now)
	l.held.inFlight -= len(permits)
	loan := Loan{Permits: len(permits), gone: end.Add(l.cfg.LostHold)}
	l.hold(loan)
	for _, p := range permits {
		l.probeOver(p)
	}
	return loan
}

// hold holds a loan's permits.
func (l *Limiter) hold(loan Loan) {
	free := loan.gone.Add(l.lentHold)
	for range loan.Permits {
		l.lent.add(free)
		l.held.releases.add(free)
	}
}

// Recall ends a loan before its time. Permits of answered requests are held for a
// window from now, those of unanswered ones as by Lost, and the others are free. It
// reports whether the loan's permits were still held.
func (l *Limiter) Recall(loan Loan, use Use, now time.Time) bool {
	l.advance(now)
	for i := range loan.Permits {
		if !l.dropLent(loan) {
			return false
		}
		switch {
		case i < use.Sent-use.Unanswered:
			l.accepted.add(now)
			l.held.holdAnswered(now)
		case i < use.Sent:
			l.hold(Loan{Permits: 1, gone: now.Add(l.cfg.LostHold)})
		default:
			l.supply.use(-1)
		}
	}
	return true
}

// dropLent takes one permit of a loan out of those that are held, and reports whether
// it was among them.
func (l *Limiter) dropLent(loan Loan) bool {
	free := loan.gone.Add(l.lentHold)
	return l.lent.drop(free) && l.held.releases.drop(free)
}

// SavedLoan is a Loan in a form that outlives the process, in wall clock times.
type SavedLoan struct {
	Permits int       `json:"permits"`
	Gone    time.Time `json:"gone"`
}

// SavedLease is a lease that somebody has, in such a form.
type SavedLease struct {
	ID      string        `json:"id"`
	Caller  string        `json:"caller,omitempty"`
	Request string        `json:"request,omitempty"` // its id
	TTL     time.Duration `json:"ttl"`
	Expires time.Time     `json:"expires"`
	Loan    SavedLoan     `json:"loan"` // one of Saved.Lent, or part of it
}

// Save returns the loan in that form.
func (loan Loan) Save() SavedLoan { return SavedLoan{loan.Permits, loan.gone.Round(0)} }

// saveLent returns what is lent at now.
func (l *Limiter) saveLent() (lent []SavedLoan) {
	for i := range l.lent.len() {
		s := Loan{Permits: 1, gone: l.lent.at(i).Add(-l.lentHold)}.Save()
		if n := len(lent); n > 0 && lent[n-1].Gone.Equal(s.Gone) {
			lent[n-1].Permits++
			continue
		}
		lent = append(lent, s)
	}
	return lent
}

// Loan returns the loan l of what was saved as it stands at now. Clocks may have been
// set since: no loan lasts longer than was left of it when it was saved.
func (s Saved) Loan(l SavedLoan, lostHold time.Duration, now time.Time) Loan {
	left := min(l.Gone.Sub(now), l.Gone.Sub(s.At), MaxLoan+lostHold)
	return Loan{Permits: l.Permits, gone: now.Add(left)}
}

// restoreLent holds what was lent when s was saved.
func (l *Limiter) restoreLent(s Saved, now time.Time) {
	for _, lent := range s.Lent {
		loan := s.Loan(lent, l.cfg.LostHold, now)
		loan.Permits = min(loan.Permits, max(l.cfg.Limit, l.cfg.Burst))
		if loan.gone.Add(l.lentHold).After(now) {
			l.hold(loan)
		}
	}
	l.supply.atMost(l.cfg.lessReserve(l.cfg.Burst) - l.held.count())
}
