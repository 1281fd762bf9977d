package quota

import "time"

// MaxLoan is the longest that permits may be lent for.
const MaxLoan = 5 * time.Minute

// Loan is a number of permits that are lent to a caller that sends requests itself. A loan
// is settled from the start: unless it is recalled, its permits come free by themselves,
// so it can outlive the process that has made it. The zero value is no loan.
type Loan struct {
	Permits int
	gone    time.Time // when none of its requests can be under way any more
}

// Use describes how the permits of a loan were used.
type Use struct {
	Sent       int // requests that were sent, at most Loan.Permits
	Unanswered int // those of them that had no answer
}

// mostLent returns how many of n permits may be lent at once: at least one if there is one.
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

// MostLent returns how many permits may be lent at once with the limit at now.
func (l *Limiter) MostLent(now time.Time) int {
	l.advance(now)
	return l.cfg.mostLent(l.capacity())
}

// MayLend reports whether n more permits may be lent at now. Lent permits count until they
// are free, except those whose requests have been answered: these are held no longer than
// those of any other request.
func (l *Limiter) MayLend(now time.Time, n int) bool {
	most := l.MostLent(now)
	return l.lent.len()+n <= most
}

// LendAfter returns the shortest time until n more permits may be lent, if no loan is
// recalled early. It returns 0 if they may be lent now, or if the time is not known.
func (l *Limiter) LendAfter(now time.Time, n int) time.Duration {
	return l.lendAfter(now, l.MostLent(now), n)
}

// lendAfter returns LendAfter for most permits that may be lent at once.
func (l *Limiter) lendAfter(now time.Time, most, n int) time.Duration {
	missing := l.lent.len() + n - most
	if missing < 1 || missing > l.lent.len() {
		return 0
	}
	return l.lent.at(missing - 1).Sub(now)
}

// Lend settles permits that are lent until end. Unless they are recalled, their requests
// count as sent at the end and never answered.
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

// Recall ends a loan early. Permits of answered requests are held for a window from now,
// those of unanswered requests as after Lost, and the others are free. It reports whether
// the permits of the loan were still held.
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

// dropLent removes one permit of a loan from those that are held, and reports whether it
// was among them.
func (l *Limiter) dropLent(loan Loan) bool {
	free := loan.gone.Add(l.lentHold)
	return l.lent.drop(free) && l.held.releases.drop(free)
}

// SavedLoan is a Loan in the form of Saved.
type SavedLoan struct {
	Permits int       `json:"permits"`
	Gone    time.Time `json:"gone"`
}

// SavedLease is a lease in the form of Saved.
type SavedLease struct {
	ID      string        `json:"id"`
	Caller  string        `json:"caller,omitempty"`
	Request string        `json:"request,omitempty"` // the request's id
	TTL     time.Duration `json:"ttl"`
	Expires time.Time     `json:"expires"`
	Loan    SavedLoan     `json:"loan"` // one of Saved.Lent, or part of it
	// Released means that nothing is lent any more; only the request's id is kept.
	Released bool `json:"released,omitempty"`
}

// Save returns the loan in the form of Saved.
func (loan Loan) Save() SavedLoan { return SavedLoan{loan.Permits, loan.gone.Round(0)} }

// saveLent returns the loans at now.
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

// Loan returns the saved loan l at now. Since clocks may have been set meanwhile, no loan
// lasts longer than the time that was left when it was saved.
func (s Saved) Loan(l SavedLoan, lostHold time.Duration, now time.Time) Loan {
	left := min(l.Gone.Sub(now), l.Gone.Sub(s.At), MaxLoan+lostHold)
	return Loan{Permits: l.Permits, gone: now.Add(left)}
}

// restoreLent holds the permits that were lent when s was saved.
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
