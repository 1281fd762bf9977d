package gate

import (
	"context"
	"errors"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// limiter hands out permits. It is a *quota.Limiter for a replica that has the quota
// to itself, and a *quota.Shared for one that shares it.
type limiter interface {
	Take(now time.Time) (p quota.Permit, ok bool, again time.Time)
	GiveBack(p quota.Permit, now time.Time)
	Answered(p quota.Permit, sent, answered, now time.Time, h *quota.Headers)
	Limited(p quota.Permit, now time.Time, retryAfter time.Duration, h *quota.Headers)
	Lost(p quota.Permit, now time.Time)

	MostLent(now time.Time) int
	MayLend(now time.Time, n int) bool
	LendAfter(now time.Time, n int) time.Duration
	Lend(permits []quota.Permit, end, now time.Time) quota.Loan
	Recall(l quota.Loan, use quota.Use, now time.Time) bool

	Config() quota.Config
	State(now time.Time) quota.State
	MostlyFree(now time.Time) bool
	Probing() bool
	RoundTrip() time.Duration
	Estimate(now time.Time, k int) time.Duration
}

// exchanger reaches the state that replicas share. It is a *quotaredis.Store.
type exchanger interface {
	Exchange(ctx context.Context, r quota.Report) (quota.Reply, error)
	// Swap sets the entry of a name to next, and keeps it for a time, if the entry is prev.
	// An empty string means no entry. Swap returns the resulting entry, and how long it is
	// still kept.
	Swap(ctx context.Context, name, prev, next string, keep time.Duration) (entry string, left time.Duration, err error)
	News() <-chan struct{} // receives when an exchange is useful before it is due
}

// exchangeTimeout is how long the shared state may take to answer.
const exchangeTimeout = 100 * time.Millisecond

// notLogged is the decider before the first one is logged.
const notLogged quota.Decider = -1

// Upstream holds the X-RateLimit headers of one of Clerk's answers.
type Upstream struct {
	Limit, Remaining int
	Reset            time.Time
	Observed         time.Time
}

// takePermit takes a permit if one may be used now. If not, again is when to try again,
// zero if dispatch is woken then.
func (g *Gate) takePermit(now time.Time) (p quota.Permit, ok bool, again time.Time) {
	p, ok, again = g.limiter.Take(now)
	if !ok {
		return p, ok, again
	}
	if g.ledger != nil && !g.ledger.spend() {
		g.limiter.GiveBack(p, now)
		return quota.Permit{}, false, time.Time{}
	}
	g.checkLow(now)
	return p, true, time.Time{}
}

// giveBack returns a permit whose request did not leave.
func (g *Gate) giveBack(p quota.Permit, now time.Time) {
	g.limiter.GiveBack(p, now)
	if g.ledger != nil {
		g.ledger.giveBack()
	}
}

// settlePermit settles the permit of r, which was spent as spent describes.
func (g *Gate) settlePermit(r *request, a answer, spent clerkapi.Spent, now time.Time) {
	var e *clerkapi.Error
	meta := a.meta
	if errors.As(a.err, &e) {
		meta = e.Meta
	}
	var h *quota.Headers
	// Headers count only if the answer is certainly Clerk's.
	known := a.err == nil || r.kind == probeRequest || spent == clerkapi.SpentLimited
	if rl := meta.RateLimit; rl.Present && known {
		h = &quota.Headers{Remaining: rl.Remaining, Reset: rl.Reset}
		g.headers = &Upstream{Limit: rl.Limit, Remaining: rl.Remaining, Reset: now.Add(rl.Reset), Observed: now}
	}
	answered := meta.Answered
	if answered.IsZero() {
		answered = now
	}
	switch spent {
	case clerkapi.SpentNothing:
		g.giveBack(r.permit, now)
	case clerkapi.SpentLimited:
		g.limiter.Limited(r.permit, now, e.RetryAfter, h)
	case clerkapi.SpentAnswered:
		g.limiter.Answered(r.permit, r.sentAt, answered, now, h)
	case clerkapi.SpentLost:
		g.limiter.Lost(r.permit, now)
	}
}

// limitPermit settles the permit of a request that drew a 429, with another Retry-After
// than the answer's.
func (g *Gate) limitPermit(r *request, a answer, retryAfter time.Duration, now time.Time) {
	if e, ok := errors.AsType[*clerkapi.Error](a.err); ok {
		other := *e
		other.RetryAfter = retryAfter
		a.err = &other
	}
	g.settlePermit(r, a, clerkapi.SpentLimited, now)
}

// lowQuota remembers whether little of the quota was left.
type lowQuota struct {
	low  bool      // less than a tenth was left, and not yet a fifth again
	from time.Time // not judged before: at first, permits are held back for what may have been spent earlier
}

// checkLow logs and counts when less than a tenth of the quota is left: once, until a
// fifth is left again.
func (g *Gate) checkLow(now time.Time) {
	if now.Before(g.low.from) || g.decider != quota.DecidesState {
		return
	}
	s := g.limiter.State(now)
	switch {
	case !g.low.low && 10*s.Available < s.Capacity:
		g.low.low = true
		g.cfg.Observer.QuotaLow()
		g.cfg.Logger.Warn("less than a tenth of the quota is left", "available", s.Available, "of", s.Capacity, "waiting", g.queue.Len())
	case g.low.low && 5*s.Available >= s.Capacity:
		g.low.low = false
	}
}
