package gate

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/clerkgate/clerkgate/internal/fairqueue"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// MaxLeaseTTL is the longest that a lease may last.
const MaxLeaseTTL = quota.MaxLoan

// maxRequestIDs is how many request ids are remembered, each until its lease would
// have ended by itself.
const maxRequestIDs = 10_000

// What can be wrong with a lease.
var (
	// ErrNoLease: there is no such lease, or it has ended.
	ErrNoLease = errors.New("no such lease")
	// ErrLeaseUse: more permits are said to be used than the lease had.
	ErrLeaseUse = errors.New("more permits used than the lease had")
	// ErrUnanswered: more requests are said to have no answer than were sent.
	ErrUnanswered = errors.New("more requests unanswered than sent")
	// ErrRequestID: the request id was used for another number of permits or another time.
	ErrRequestID = errors.New("the request id was used for another request")
)

// LeaseSizeError says that more permits, or fewer, are asked for than can be lent at once.
type LeaseSizeError struct {
	Max int // the most
}

// Error says how many may be asked for.
func (e *LeaseSizeError) Error() string { return fmt.Sprintf("a lease has 1 to %d permits", e.Max) }

// LeaseRequest is what a caller asks for that will send requests to Clerk itself.
type LeaseRequest struct {
	Permits int
	TTL     time.Duration // how long they are lent, at most MaxLeaseTTL; 0: Config.LeaseTTL
	// ID makes the caller's requests of the same ID one: all are granted the same
	// lease. Empty: it has none.
	ID string
}

// Lease is a number of permits lent to a caller that sends requests to Clerk
// itself.
type Lease struct {
	ID      string
	Expires time.Time // when it ends by itself; its permits then count as lost
}

// AllUsed is the number of used permits that stands for all of a lease.
const AllUsed = -1

// LeaseUse is what became of a lease.
type LeaseUse struct {
	Used        int  // permits that were used; AllUsed: all
	Unanswered  int  // ... of these, for requests without an answer
	RateLimited bool // Clerk has answered one of them with 429
}

// lease is one that waits, gathers its permits, or is lent.
type lease struct {
	Lease
	request LeaseRequest
	caller  *caller
	name    string // of the caller
	want    *want
	permits []quota.Permit // gathered so far
	limit   int            // of the quota when it gathered the first of them
	loan    quota.Loan     // once it is lent
	mark    int64          // Shared's, then
	state   leaseState
}

type leaseState int

const (
	leaseWaits leaseState = iota // in the queue, or gathering
	leaseLent                    // but not known yet where it outlives this process
	leaseOut                     // the caller has it, or may have it
	leaseOver
)

// requestKey names a request of a caller's.
type requestKey struct{ caller, id string }

// leases are those that wait and those that are lent.
type leases struct {
	tag         string // what the ids of this replica's leases begin with; empty: nothing
	byID        map[string]*lease
	byRequest   map[requestKey]*lease
	order       []*lease       // those lent, and those over whose request ids are remembered, by their end
	gathering   []*want        // whose turn has come; the first of them gathers
	others      int            // requests of others since a lease had a permit
	released    []endedRequest // that the shared state is to be told
	releasedDue chan struct{}  // has room for one: there are some
	unkept      []*lease       // lent, but not known yet where they outlive this process
	limited     bool           // a lease met a 429 that no probe has asked about since
	askedAt     time.Time      // when the last such probe left
}

func (ls *leases) init(tag string) {
	ls.tag = tag
	ls.releasedDue = make(chan struct{}, 1)
	ls.byID, ls.byRequest = make(map[string]*lease), make(map[requestKey]*lease)
}

// Acquire lends permits, at least 1 and at most the share of the quota that may be
// lent, else it fails with a *LeaseSizeError. The request is one item of the queue
// that costs as many turns as it has permits. Once it has its turn it takes at most
// every second permit, and gives them back if the quota's limit falls, or ctx ends
// before it has all. Who asks pays, once the lease has ended, for the permits that
// were used. Its errors are those of Result, ErrRequestID, and ErrNoLease if the
// request is an earlier one whose lease has ended.
func (g *Gate) Acquire(ctx context.Context, r LeaseRequest, o Options) (Lease, error) {
	if r.TTL <= 0 {
		r.TTL = g.cfg.LeaseTTL
	}
	if most := g.limiter.Config().MostLent(); r.Permits < 1 || r.Permits > most {
		return Lease{}, &LeaseSizeError{Max: most}
	}
	if g.shared != nil && r.ID != "" {
		return g.acquireOnce(ctx, r, o)
	}
	return g.acquire(ctx, r, o)
}

// acquire is Acquire as far as this replica knows of request ids.
func (g *Gate) acquire(ctx context.Context, r LeaseRequest, o Options) (Lease, error) {
	g.mu.Lock()
	now := time.Now()
	key := requestKey{o.Caller, r.ID}
	g.endLeases(now)
	le := g.leases.byRequest[key]
	switch {
	case le == nil:
	case le.request != r:
		g.mu.Unlock()
		return Lease{}, ErrRequestID
	case le.state == leaseOver:
		g.mu.Unlock()
		return Lease{}, ErrNoLease
	case le.state == leaseOut:
		g.mu.Unlock()
		return le.Lease, nil
	}
	p := g.newPending(ctx, 1)
	g.enter(p, o)
	if le == nil {
		var err error
		if le, err = g.newLease(p, r, o, now); err != nil {
			g.countRefused(p.caller, r.Permits, err)
			p.fill(0, Result{Err: err})
		}
	} else if kind := g.crowded(p.line); kind != nil {
		g.turnAway(p, 0, &Error{Kind: kind, RetryAfter: max(g.limiter.RoundTrip(), time.Millisecond)})
	} else {
		x := le.want.join(p, 0)
		x.count(true)
		if le.want.item.Waiting() {
			g.lineUp(x, now)
		}
	}
	g.mu.Unlock()
	g.poke()
	g.wait(ctx, p)
	if err := p.results[0].Err; err != nil {
		g.poke() // what it has given back is free
		return Lease{}, err
	}
	if ctx.Err() != nil && r.ID == "" { // nobody can have it any more
		return Lease{}, errors.Join(ctx.Err(), g.Release(context.WithoutCancel(ctx), le.ID, LeaseUse{}))
	}
	return le.Lease, nil
}

// newLease puts a request for a lease into the queue, or refuses it.
func (g *Gate) newLease(p *pending, r LeaseRequest, o Options, now time.Time) (*lease, error) {
	eta, err := g.admit(p, nil, fairqueue.Whole, 1, now)
	if err != nil {
		return nil, err
	}
	le := &lease{request: r, caller: p.caller, name: o.Caller}
	le.want = newWant(&want{lease: le, eta: eta})
	wait, err := g.leaseWait(le, g.queue.Ahead(p.line, fairqueue.Whole, 1), g.leases.missing(), now)
	if err == nil && !p.deadline.IsZero() {
		if late := wait - p.deadline.Sub(now); late > 0 {
			err = &Error{Kind: g.tooLate(now), RetryAfter: late}
		}
	}
	if err != nil {
		return nil, err
	}
	if r.ID != "" {
		g.leases.remember(requestKey{o.Caller, r.ID}, le)
	}
	g.lineUp(le.want.join(p, 0), now)
	return le, nil
}

// leaseWait is how long a lease takes at least to gather what it misses, if so many
// requests go before it has its turn and other leases miss so many permits. It fails
// if the lease is larger than the limit lets it be for now.
func (g *Gate) leaseWait(le *lease, ahead, leases int, now time.Time) (time.Duration, error) {
	if le.request.Permits > g.limiter.MostLent(now) {
		return 0, &Error{Kind: g.tooLate(now), RetryAfter: 3 * g.limiter.Config().Window}
	}
	misses := leases + le.request.Permits - len(le.permits)
	waiting := 0
	for _, p := range priorities {
		waiting += g.queue.Requests(p)
	}
	others := max(ahead, min(waiting, misses)) // turn about
	wait := g.limiter.Estimate(now, others+misses)
	if g.limiter.Config().Burst == 0 {
		wait = time.Duration(float64(wait) * g.gatheringSlows(misses, now))
	}
	return max(wait, g.limiter.LendAfter(now, le.request.Permits)), nil
}

// gatheringSlows returns how much longer it takes to gather n permits of a window than it
// takes for n to come free. What is gathered does not come round any more, so of L permits
// L-k come free per window once k are gathered: after ln(L/(L-n)) windows all n are.
func (g *Gate) gatheringSlows(n int, now time.Time) float64 {
	round := float64(max(1, g.limiter.State(now).Limit-g.leased()-g.leases.gathered()))
	part := min(0.95, float64(n)/round)
	return -math.Log1p(-part) / part
}

// remember has le's request id lead to it.
func (ls *leases) remember(key requestKey, le *lease) {
	if len(ls.byRequest) >= maxRequestIDs {
		for i, old := range ls.order { // the earliest that is over
			if old.state == leaseOver {
				ls.forget(old)
				ls.order = slices.Delete(ls.order, i, i+1)
				break
			}
		}
	}
	ls.byRequest[key] = le
}

// forget has le's request id lead nowhere.
func (ls *leases) forget(le *lease) {
	if key := (requestKey{le.name, le.request.ID}); ls.byRequest[key] == le {
		delete(ls.byRequest, key)
	}
}

// lent notes that le is lent until its end.
func (ls *leases) lent(le *lease) {
	ls.byID[le.ID] = le
	i, _ := slices.BinarySearchFunc(ls.order, le, func(a, b *lease) int { return cmp.Or(a.Expires.Compare(b.Expires), -1) })
	ls.order = slices.Insert(ls.order, i, le)
}

// over notes that le has ended.
func (ls *leases) over(le *lease) {
	delete(ls.byID, le.ID)
	le.state = leaseOver
	if le.request.ID == "" {
		ls.order = slices.DeleteFunc(ls.order, func(other *lease) bool { return other == le })
	}
}

// lend lends the permits that le has gathered.
func (g *Gate) lend(le *lease, now time.Time) {
	le.Lease = Lease{ID: g.leases.tag + rand.Text(), Expires: now.Add(le.request.TTL)}
	le.loan = g.limiter.Lend(le.permits, le.Expires, now)
	le.permits = nil
	le.state = leaseLent
	g.leases.lent(le)
	g.stats.Waits[le.want.waiters[0].pending.line.Priority()].observe(now.Sub(le.want.waiters[0].pending.since).Seconds())
	le.want.traceGranted(now)
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

// handOver gives le to who asked for it: it is known where it outlives this process.
func (g *Gate) handOver(le *lease) {
	if le.state != leaseLent { // all have left
		return
	}
	le.state = leaseOut
	g.finish(le.want, Result{}, nil)
}

// handOverKept gives those to their callers that the shared state knows of, or all.
func (g *Gate) handOverKept(all bool) {
	g.leases.unkept = slices.DeleteFunc(g.leases.unkept, func(le *lease) bool {
		if !all && !g.shared.Told(le.mark) {
			return false
		}
		g.handOver(le)
		return true
	})
}

// dropLease forgets le, which nobody waits for any more, unless somebody has it.
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

// Release ends a lease, as it was used. Permits that were not used are free at once,
// and those of requests without an answer are held as if these were the gate's own. A
// reported 429 has Clerk asked once, and nothing else. It fails with ErrNoLease,
// ErrLeaseUse or ErrUnanswered. A lease of another replica is released there; if that
// can't be done, it fails with ErrLeaseUnreachable.
func (g *Gate) Release(ctx context.Context, id string, use LeaseUse) error {
	if tag := g.elsewhere(id); tag != "" {
		return g.handOn(ctx, tag, id, use)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.release(id, use, time.Now())
}

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
	le.caller.pay(use.Used)
	g.leases.limited = g.leases.limited || use.RateLimited
	g.poke()
	return nil
}

// leased returns how many permits leases hold; g.mu is held.
func (g *Gate) leased() (n int) {
	for _, le := range g.leases.byID {
		n += le.request.Permits
	}
	return n
}

// endLeases ends those whose time is over: what they may have sent is not known, so
// their permits count as lost. It says when the next one ends.
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
		le.caller.pay(le.request.Permits)
		g.cfg.Logger.Warn("a lease was not released", "permits", le.request.Permits)
	}
	return time.Time{}
}
