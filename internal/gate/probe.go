package gate

import (
	"context"
	"errors"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
)

// leastProbeTimeout is the shortest time after which a probe without an answer counts as
// failed.
const leastProbeTimeout = 750 * time.Millisecond

// errProbeLate means that a probe took too long, so it counts as failed.
var errProbeLate = errors.New("a probe had no answer in time")

// recoveryProbe reports whether a probe must be sent now to find out whether Clerk is back
// or accepts the key again. If not, again is when to ask again.
func (g *Gate) recoveryProbe(now time.Time) (due bool, again time.Time) {
	replaced := g.key.replaced()
	switch {
	case g.probes.underWay:
		return false, time.Time{}
	case g.breaker.open() && (replaced || !now.Before(g.probes.next)):
		return false, g.breaker.opensUntil()
	case !now.Before(g.probes.next), replaced:
		return true, time.Time{}
	case g.key.refused != nil && g.probes.next.Sub(now) > keyLookEvery:
		return false, now.Add(keyLookEvery)
	}
	return false, g.probes.next
}

// starting reports whether everything else waits for the probe of the key at the start,
// and until when, if that is known.
func (g *Gate) starting(now time.Time) (waits bool, until time.Time) {
	switch {
	case !g.key.asking:
		return false, time.Time{}
	case !g.probes.underWay: // it waits for a permit
		return true, time.Time{}
	case now.Before(g.key.askUntil):
		return true, g.key.askUntil
	}
	return false, time.Time{}
}

// decidingProbe reports whether a probe must be sent now to decide what a doubt or a
// suspicion means. If not, again is when to ask again.
func (g *Gate) decidingProbe(now time.Time) (due bool, again time.Time) {
	if g.probes.underWay {
		return false, time.Time{}
	}
	if len(g.doubts.all) > 0 {
		return true, time.Time{}
	}
	return g.breaker.evidence.suspects(now)
}

// allow asks the breaker whether a request, or a probe, may go. It returns the function to
// call with its outcome.
func (g *Gate) allow(probe bool) (done func(error), err error) {
	if done, err = g.breaker.allow(); err == nil && probe {
		g.key.probing()
		g.probes.underWay = true
	}
	return done, err
}

// probe asks Clerk for a list of one user, which every key may see. It has a short
// timeout of its own, so that a probe that hangs does not delay the next one. Its answer
// is awaited all the same, which shows how slow Clerk is.
func (g *Gate) probe(ctx context.Context) (clerkapi.Meta, error) {
	type result struct {
		meta clerkapi.Meta
		err  error
	}
	done := make(chan result, 1)
	start := time.Now()
	g.mu.Lock()
	timeout := g.probeTimeout()
	g.mu.Unlock()
	g.lateProbes.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				done <- result{err: g.panicked(p)}
			}
		}()
		page, err := g.cfg.Upstream.ListUsers(ctx, clerkapi.ListParams{Limit: 1})
		if err != nil {
			done <- result{err: err}
			return
		}
		done <- result{meta: page.Meta}
		g.mu.Lock()
		g.probes.took = time.Since(start)
		g.mu.Unlock()
	})
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.meta, r.err
	case <-timer.C:
		return clerkapi.Meta{}, &clerkapi.Error{Kind: clerkapi.ErrUnavailable, Err: errProbeLate}
	}
}

// probeTimeout returns how long a probe may take: longer where Clerk is known to be
// slow. The first one has no timeout: nothing is known of Clerk yet, and others wait for it
// only during the start.
func (g *Gate) probeTimeout() time.Duration {
	if g.key.asking {
		return maxTime
	}
	return max(leastProbeTimeout, 2*g.limiter.RoundTrip(), 2*g.probes.took)
}

// probed decides what the answer to a probe means.
func (g *Gate) probed(r *request, a answer, v clerkapi.Verdict, now time.Time) {
	b, k := g.breaker, &g.key
	starting := k.asking
	g.probes.underWay, k.asking = false, false
	stopping := a.err != nil && v.Concern == clerkapi.ConcernsNobody
	late := r.asksHang && errors.Is(a.err, errProbeLate) // it shows nothing that was not known
	switch {
	case late, stopping, v.Concern == clerkapi.ConcernsQuota, v.Spent == clerkapi.SpentNothing && v.Concern == clerkapi.ConcernsRequest:
		r.done(errNeutral)
	case v.Concern == clerkapi.ConcernsKey:
		k.refuse(a.err, now)
		g.probes.next = now.Add(k.probeAgain(now))
		r.done(nil)
	case v.Concern == clerkapi.ConcernsEverybody:
		b.probeFailed(r.done, a.err, starting, starting || v.Resend, now)
		if k.refused != nil {
			g.probes.next = now.Add(b.openFor)
		}
	default: // answered, or refused as a request: Clerk works
		k.accept(v.Breaker == clerkapi.Success || goodKey(a.err))
		b.evidence.probed(b.openFor, now)
		g.overtake(r, now)
		r.done(nil)
	}
	if !late {
		g.resolve(a, v, now)
	}
	if v.Spent == clerkapi.SpentLimited {
		g.recheckPause(now, a.err)
	}
}
