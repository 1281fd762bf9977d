package server

import (
	"context"
	"errors"
	"maps"
	"math"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// errOverLimit is wrapped by every overLimit.
var errOverLimit = errors.New("the caller is at a limit of its own")

// overLimit reports that a caller is over one of its limits, and when to try again.
type overLimit struct{ retryAfter time.Duration }

func (e *overLimit) Error() string { return errOverLimit.Error() }
func (e *overLimit) Unwrap() error { return errOverLimit }

// meter is the token bucket of one limit of a caller.
type meter struct {
	tokens float64
	at     time.Time // when the bucket had so many
	full   time.Time // when the bucket is full again; a new one is full, too
}

// spendLookups counts n ids against the caller's limit, or returns an overLimit.
func (g *guard) spendLookups(ctx context.Context, n int) error {
	who := admitted(ctx)
	if who == nil || who.Lookups.Count == 0 {
		return nil
	}
	// A whole batch must pass, however small the limit.
	return g.spend("lookups "+who.Name, who.Lookups, n, maxBatch, time.Now())
}

// spendRequests counts n requests to Clerk against the caller's limit, or returns an
// overLimit.
func (g *guard) spendRequests(ctx context.Context, n int) error {
	who := admitted(ctx)
	if who == nil || who.Requests.Count == 0 {
		return nil
	}
	return g.spend("requests "+who.Name, who.Requests, n, 1, time.Now())
}

// awaitRequests is spendRequests that waits instead of failing, until ctx ends.
func (g *guard) awaitRequests(ctx context.Context, n int) error {
	for {
		err := g.spendRequests(ctx, n)
		var over *overLimit
		if !errors.As(err, &over) {
			return err
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < over.retryAfter {
			return err
		}
		timer := time.NewTimer(over.retryAfter)
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
		g.giveBack("requests "+who.Name, n)
	}
}

// sentNothing reports whether a list or count failed before a request left. It returns
// false if it is not known.
func sentNothing(err error) bool {
	var refusal *gate.Error
	refused := errors.As(err, &refusal) && refusal.Err == nil && !errors.Is(err, gate.ErrRateLimited)
	return refused || errors.Is(err, clerkapi.ErrNotSent)
}

// spend takes n from the named meter. Each of the replicas has an equal part of the
// limit; the bucket of a part holds at least `least`.
func (g *guard) spend(name string, limit caller.Limit, n, least int, now time.Time) error {
	share := float64(limit.Count) / float64(max(g.replicas.Load(), 1))
	perSecond, most := share/limit.Window.Seconds(), max(math.Floor(share), float64(least), 1)
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.meters[name]
	if m == nil {
		m = &meter{tokens: most, at: now}
		g.meters[name] = m
	}
	m.tokens = min(most, m.tokens+perSecond*max(0, now.Sub(m.at).Seconds()))
	m.at = now
	defer func() { m.full = now.Add(time.Duration((most - m.tokens) / perSecond * float64(time.Second))) }()
	if missing := float64(n) - m.tokens; missing > 1e-6 {
		// More than the bucket holds never passes; the caller is told to try again all the
		// same.
		wait := min(missing/perSecond, limit.Window.Seconds())
		return &overLimit{max(time.Duration(wait*float64(time.Second)), time.Millisecond)}
	}
	m.tokens -= float64(n)
	return nil
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
