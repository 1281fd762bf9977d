package gate

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/fairqueue"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// TestAPauseIsComparedWithInSlices: all waiters are rechecked once per pause, and only a
// few at a time.
func TestAPauseIsComparedWithInSlices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const all = 20_000
		g, waiting := fill(all, 10)
		g.mu.Lock()
		now := time.Now()
		for _, p := range waiting {
			p.deadline = now.Add(time.Second)
		}
		pause := func(after time.Duration) {
			p, ok, _ := g.limiter.Take(now)
			if !ok {
				t.Fatal("no permit")
			}
			g.limiter.Limited(p, now, after, nil)
			g.recheckPause(now, limited)
		}
		p, _, _ := g.limiter.Take(now)
		pause(time.Minute)
		g.limiter.Limited(p, now, time.Minute, nil) // one more of the same event
		g.mu.Unlock()
		n := 0
		for g.recheckSome() {
			n++
			g.mu.Lock()
			g.recheckPause(now, limited) // changes nothing
			left := g.queue.Len()
			g.mu.Unlock()
			if least := all - n*(recheckSlice+1); left < least {
				t.Fatalf("%d wait after %d slices, which is more than %d a slice", left, n, recheckSlice)
			}
		}
		if least := all/recheckSlice - 1; n < least || n > least+2 {
			t.Errorf("%d slices", n)
		}
		for _, p := range waiting {
			if err := p.results[0].Err; !errors.Is(err, ErrRateLimited) || !errors.Is(err, clerkapi.ErrRateLimited) {
				t.Fatalf("who can't wait for the pause got %v", err)
			}
		}
		if err := g.queue.CheckEmpty(); err != nil {
			t.Error(err)
		}
	})
}

// TestNobodyWaitsForTheLock reads the health and the status, in real time, while 80,000
// ids wait and 64 requests are answered with a 429 at once.
func TestNobodyWaitsForTheLock(t *testing.T) {
	clerk := &fakeClerk{latency: 200 * time.Millisecond, reply: func(int, []string) error { return limited }}
	g := New(Config{Upstream: clerk, Quota: quota.Config{Limit: 1000}, Observer: &recorder{}})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = g.Run(ctx)
	}()
	var waiting []*waitingCall
	g.mu.Lock()
	for _, id := range userIDs("", 80_000) {
		waiting = append(waiting, g.wish(id, "caller"+id[len(id)-2:]))
	}
	g.mu.Unlock()
	g.poke()
	var took []time.Duration
	for limited := 0; limited < 64; {
		start := time.Now()
		_ = g.Health()
		s := g.Status()
		took = append(took, time.Since(start))
		limited = seenAt(g).limited
		time.Sleep(time.Millisecond)
		if len(s.Callers.First) == 0 {
			t.Fatal("nobody calls")
		}
	}
	// A look at all waiters at once, on the machine as busy as it is now.
	start := time.Now()
	g.mu.Lock()
	g.queue.BeginScan()
	for g.queue.Scan(recheckSlice, func(*fairqueue.Item, int) {}) {
	}
	g.mu.Unlock()
	look := time.Since(start)
	// If each answer had one, they would hold the lock 64 times as long. (One read of ten
	// may meet a busy machine.)
	var all time.Duration
	for _, d := range took {
		all += d
	}
	slices.Sort(took)
	most := took[len(took)*9/10]
	t.Logf("health and status took %v, at most %v, all together %v; a look at all waiters %v", took[len(took)/2], took[len(took)-1], all, look)
	if all > 16*look || most > max(100*time.Millisecond, look) {
		t.Errorf("health and status took %v and more, all together %v, and a look at all waiters %v", most, all, look)
	}
	stop()
	<-ended
	for _, p := range waiting {
		<-p.done
	}
}
