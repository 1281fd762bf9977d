package server

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"

	"github.com/clerkgate/clerkgate/internal/caller"
)

// errOverLimit is wrapped by every overLimit.
var errOverLimit = errors.New("the caller is at a limit of its own")

// overLimit reports that a caller is over one of its limits, and when to try again.
type overLimit struct{ retryAfter time.Duration }

func (e *overLimit) Error() string { return errOverLimit.Error() }
func (e *overLimit) Unwrap() error { return errOverLimit }

// meter is the token bucket of one limit of a caller.
type meter struct {
	limiter  *rate.Limiter
	limit    caller.Limit
	replicas int64
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

// spend takes n from the named meter. Each of the replicas has an equal part of the
// limit; the bucket of a part holds at least `least`.
func (g *guard) spend(name string, limit caller.Limit, n, least int, now time.Time) error {
	replicas := max(g.replicas.Load(), 1)
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.meters[name]
	share := float64(limit.Count) / float64(replicas)
	perSecond, burst := rate.Limit(share/limit.Window.Seconds()), max(int(share), least, 1)
	switch {
	case m == nil:
		m = &meter{limiter: rate.NewLimiter(perSecond, burst), limit: limit, replicas: replicas}
		g.meters[name] = m
	case m.limit != limit || m.replicas != replicas:
		m.limiter.SetLimitAt(now, perSecond)
		m.limiter.SetBurstAt(now, burst)
		m.limit, m.replicas = limit, replicas
	}
	r := m.limiter.ReserveN(now, n)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		// More than the bucket holds never passes; the caller is told to try again all
		// the same.
		return &overLimit{min(max(wait, time.Millisecond), limit.Window)}
	}
	return nil
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
