package gate

import (
	"context"
	"errors"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
)

// errProbeLate: a probe took too long, so that it counts as failed.
var errProbeLate = errors.New("a probe had no answer in time")

// probe asks Clerk for what every key may see and no caller has a part in. It has
// its own short timeout, so that a hanging probe does not delay the next one; it is
// heard to its end all the same, so that a Clerk that is slow is not taken for one
// that hangs.
func (g *Gate) probe(ctx context.Context) (clerkapi.Meta, error) {
	type result struct {
		meta clerkapi.Meta
		err  error
	}
	done := make(chan result, 1)
	start := time.Now()
	g.mu.Lock()
	timeout := g.probeTimeout()
	if g.shut.asking { // nothing is known of Clerk yet, and nobody waits for long
		timeout = maxTime
	}
	g.mu.Unlock()
	g.late.Go(func() {
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
		g.probeTook = time.Since(start)
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

// probeTimeout is how long a probe may take: longer where Clerk is known to be slow.
func (g *Gate) probeTimeout() time.Duration {
	return max(g.cfg.ProbeTimeout, 2*g.limiter.RoundTrip(), 2*g.probeTook)
}

// mustProbe says whether a probe is to decide now what a doubt or a suspicion
// means, and when that may come to be so.
func (s *shut) mustProbe(now time.Time) (yes bool, again time.Time) {
	if s.probing {
		return false, time.Time{}
	}
	if len(s.doubts) > 0 {
		return true, time.Time{}
	}
	return s.evidence.suspects(now)
}

// holds says whether all else waits until a probe has told whose a 429 was.
func (s *shut) holds() bool {
	for _, d := range s.doubts {
		if d.verdict.Concern == clerkapi.ConcernsQuota {
			return true
		}
	}
	return false
}

// probed takes in what a probe has brought.
func (g *Gate) probed(f *flight, a answer, v clerkapi.Verdict, now time.Time) {
	s := &g.shut
	starting := s.asking
	s.probing, s.asking = false, false
	outcome := error(nil)
	stopping := a.err != nil && v.Concern == clerkapi.ConcernsNobody
	switch {
	case stopping, v.Concern == clerkapi.ConcernsQuota, v.Spent == clerkapi.SpentNothing && v.Concern == clerkapi.ConcernsRequest:
		outcome = errNeutral
	case v.Concern == clerkapi.ConcernsKey:
		s.rejectKey(a.err, g.cfg.Key(), now)
		s.keyUntried = false
	case v.Concern == clerkapi.ConcernsEverybody:
		outcome, s.failure = errFailure, a.err
		enough, _ := s.evidence.weigh()
		s.failed = enough && !starting
		s.evidence.failed(nil, nil, now)
		if starting || v.Resend {
			outcome = errNeutral
		}
		if s.keyRejected != nil {
			s.probeAt = now.Add(s.openFor)
		}
	default: // answered, or refused as a request: Clerk works
		s.keyRejected, s.keyUntried = nil, false
		s.keyTaken = s.keyTaken || v.Breaker == clerkapi.Success || clerkHasTaken(a.err)
		s.evidence.probed(s.openFor, now)
	}
	f.done(outcome)
	s.failed = false
	g.resolve(a, v, now)
	if v.Spent == clerkapi.SpentLimited {
		g.recheckPause(now, a.err)
	}
}
