package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// errOverLimit is wrapped by every overLimit.
var errOverLimit = errors.New("the caller is at a limit of its own")

const (
	// maxRetryAfter is the maximum time after which to try again, in seconds: 30 years, so
	// that it is a Duration.
	maxRetryAfter = 1e9
	// lookAgain is the maximum time that a stream waits before it looks at its limit again.
	lookAgain = 10 * time.Second
)

// overLimit reports that a caller is over one of its limits, and when to try again.
type overLimit struct {
	retryAfter time.Duration
	limit      string // its name in the callers file
}

func (e *overLimit) Error() string { return errOverLimit.Error() }
func (e *overLimit) Unwrap() error { return errOverLimit }

// tooMany reports that a caller wants more at once than one of its limits ever allows.
type tooMany struct{ most int }

func (e *tooMany) Error() string {
	return fmt.Sprintf("a limit of the caller's own allows %d at once", e.most)
}

// part is a replica's part of a limit of a caller: how fast its bucket fills, and what it
// holds.
type part struct{ perSecond, size float64 }

// part returns this replica's part of a limit. Each of the replicas has an equal part of it;
// the bucket holds at least `least`.
func (g *guard) part(limit caller.Limit, least int) part {
	share := float64(limit.Count) / float64(max(g.replicas.Load(), 1))
	return part{share / limit.Window.Seconds(), max(math.Floor(share), float64(least), 1)}
}

// meter is the token bucket of one limit of a caller.
type meter struct {
	tokens float64
	at     time.Time // when the bucket had so many
	full   time.Time // when the bucket is full again; a new one is full, too
}

// left returns how many tokens the bucket has at now.
func (m *meter) left(p part, now time.Time) float64 {
	return min(p.size, m.tokens+p.perSecond*max(0, now.Sub(m.at).Seconds()))
}

// The names of a caller's meters, and the least that their buckets hold: a whole batch must
// pass, however small the limit.
func lookupsMeter(who *caller.Caller) (name string, least int) {
	return "lookups " + who.Name, maxBatch
}
func requestsMeter(who *caller.Caller) (name string, least int) { return "requests " + who.Name, 1 }

// spendLookups counts n ids against the caller's limit, or returns an overLimit.
func (g *guard) spendLookups(ctx context.Context, n int) error {
	who := admitted(ctx)
	if who == nil || who.Lookups.Count == 0 {
		return nil
	}
	name, least := lookupsMeter(who)
	return g.refused(who, "max_lookups", n, g.spend(name, who.Lookups, n, least, time.Now()))
}

// spendRequests counts n requests to Clerk against the caller's limit, or returns an
// overLimit or a tooMany.
func (g *guard) spendRequests(ctx context.Context, n int) error {
	return g.refused(admitted(ctx), "max_requests", n, g.trySpendRequests(ctx, n))
}

func (g *guard) trySpendRequests(ctx context.Context, n int) error {
	who := admitted(ctx)
	if who == nil || who.Requests.Count == 0 {
		return nil
	}
	name, least := requestsMeter(who)
	return g.spend(name, who.Requests, n, least, time.Now())
}

// refused counts n refusals of a caller if err is an overLimit, and sets the limit's name in
// err. It returns err.
func (g *guard) refused(who *caller.Caller, limit string, n int, err error) error {
	var over *overLimit
	if !errors.As(err, &over) {
		return err
	}
	over.limit = limit
	if g.counts != nil {
		g.counts.Get(who.Name).OverLimit(n)
	}
	return err
}

// awaitRequests is spendRequests that waits instead of failing, until ctx ends.
func (g *guard) awaitRequests(ctx context.Context, n int) error {
	for {
		err := g.trySpendRequests(ctx, n)
		var over *overLimit
		if !errors.As(err, &over) {
			return err
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < over.retryAfter {
			return g.refused(admitted(ctx), "max_requests", n, err)
		}
		timer := time.NewTimer(min(over.retryAfter, lookAgain)) // there may be fewer replicas by then
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// giveBackRequests undoes spendRequests for n requests that were not sent.
func (g *guard) giveBackRequests(ctx context.Context, n int) {
	if who := admitted(ctx); who != nil && who.Requests.Count > 0 {
		name, _ := requestsMeter(who)
		g.giveBack(name, n)
	}
}

// sentNothing reports whether a list or count failed before a request left. It returns
// false if it is not known.
func sentNothing(err error) bool {
	var refusal *gate.Error
	refused := errors.As(err, &refusal) && refusal.Err == nil && !errors.Is(err, gate.ErrRateLimited)
	return refused || errors.Is(err, clerkapi.ErrNotSent)
}

// spend takes n from the named meter.
func (g *guard) spend(name string, limit caller.Limit, n, least int, now time.Time) error {
	p := g.part(limit, least)
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.meters[name]
	if m == nil {
		m = &meter{tokens: p.size, at: now}
		g.meters[name] = m
	}
	m.tokens, m.at = m.left(p, now), now
	defer func() { m.full = now.Add(time.Duration((p.size - m.tokens) / p.perSecond * float64(time.Second))) }()
	if float64(n) > p.size {
		return &tooMany{int(p.size)}
	}
	if missing := float64(n) - m.tokens; missing > 1e-6 {
		wait := min(missing/p.perSecond, maxRetryAfter)
		return &overLimit{retryAfter: max(time.Duration(wait*float64(time.Second)), time.Millisecond)}
	}
	m.tokens -= float64(n)
	return nil
}

// bucket returns the size of the named meter's bucket, and how many tokens it has.
func (g *guard) bucket(name string, limit caller.Limit, least int, now time.Time) (size, left int) {
	p := g.part(limit, least)
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.meters[name]
	if m == nil {
		return int(p.size), int(p.size)
	}
	return int(p.size), int(max(0, m.left(p, now)+1e-6))
}

// named returns the caller of a name in the callers file, nil if it has none or there is no
// such file.
func (g *guard) named(name string) *caller.Caller {
	if g == nil || g.callers == nil {
		return nil
	}
	return g.callers.Get().Named(name)
}

// forgetMeters forgets the meters of full buckets, so that callers that have left the file
// leave nothing behind.
func (g *guard) forgetMeters(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.meters, func(_ string, m *meter) bool { return !now.Before(m.full) })
}

// giveBack puts n back into the named meter.
func (g *guard) giveBack(name string, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m := g.meters[name]; m != nil {
		m.tokens += float64(n)
	}
}

// countReplicas updates the number of replicas that share the limits of callers.
func (g *guard) countReplicas(quota keeper) {
	if g.open() {
		return
	}
	if shared := quota.Status().Shared; shared != nil {
		g.replicas.Store(int64(shared.Replicas))
	}
}
