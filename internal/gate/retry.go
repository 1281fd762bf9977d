package gate

import (
	"math/rand/v2"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
)

const (
	maxTries   = 3
	retryBase  = 200 * time.Millisecond // the upper bound of the first backoff; each try doubles it
	retryFloor = 3                      // retries per 10 s that are always allowed
)

// retryBudget keeps retries to a tenth of the recent requests, so that they never
// prolong an outage.
type retryBudget struct {
	requests rollingCount
	retries  rollingCount
}

// sent records a request.
func (b *retryBudget) sent(now time.Time) { b.requests.add(now) }

// allows reports whether a retry is allowed.
func (b *retryBudget) allows(now time.Time) bool {
	return b.retries.sum(now) < max(retryFloor, b.requests.sum(now)/10)
}

// spend records a retry, if one is allowed.
func (b *retryBudget) spend(now time.Time) bool {
	if !b.allows(now) {
		return false
	}
	b.retries.add(now)
	return true
}

// retry delays the wants of r until they are tried again, as far as tries and the
// budget allow, and answers the others with err. A lookup that fails again is split,
// since one id may be at fault. So is a lookup of several callers, if it drew no answer
// at all or the budget is spent.
func (g *Gate) retry(r *request, v clerkapi.Verdict, now time.Time, err error) {
	if r.forUsers() && len(r.wants) > 1 && v.Split && !g.refusing() &&
		(r.failedBefore() || r.severalCallers() && (v.Spent == clerkapi.SpentLost || !g.retries.allows(now))) {
		for _, w := range r.wants {
			w.tries++
		}
		if !g.split(r, now) {
			g.failRequest(r, err)
		}
		return
	}
	again := r.wants[:0:0]
	for _, w := range r.wants {
		if w.tries++; w.tries < maxTries && !g.refusing() {
			if r.alone() {
				w.askAlone()
			}
			again = append(again, w)
		} else {
			if r.forUsers() && v.Split {
				g.culprits.add(w.query, now)
			}
			g.fail(w, err)
		}
	}
	if len(again) == 0 {
		return
	}
	if !g.retries.spend(now) {
		for _, w := range again {
			g.fail(w, err)
		}
		return
	}
	// Full jitter, but one draw for all of them: they go together again.
	until := now.Add(rand.N(retryBase << (again[0].tries - 1)))
	delayed := false
	for _, w := range again {
		delayed = g.putOff(w, until, now, err) || delayed
	}
	if delayed {
		g.cfg.Observer.Retried(err)
	}
}
