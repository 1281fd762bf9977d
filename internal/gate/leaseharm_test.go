package gate

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// flooded runs f while a number of list calls are made again and again. Answered counts
// those that were answered.
func flooded(t *testing.T, clerk *fakeClerk, cfg Config, calls int, f func(t *testing.T, g *Gate, answered func() int)) {
	inBubble(t, clerk, cfg, func(t *testing.T, g *Gate) {
		ctx, stop := context.WithCancel(t.Context())
		var mu sync.Mutex
		var all sync.WaitGroup
		n := 0
		for range calls {
			all.Go(func() {
				for ctx.Err() == nil {
					if _, err := g.List(ctx, clerkapi.ListParams{}, Options{Caller: "reads"}); err != nil {
						time.Sleep(100 * time.Millisecond)
						continue
					}
					mu.Lock()
					n++
					mu.Unlock()
				}
			})
		}
		f(t, g, func() int {
			mu.Lock()
			defer mu.Unlock()
			return n
		})
		stop()
		all.Wait()
	})
}

// TestForgottenLeasesLeaveHalfToOthers: a caller that takes all leases and releases none
// leaves half of the quota to the others.
func TestForgottenLeasesLeaveHalfToOthers(t *testing.T) {
	clerk := &fakeClerk{latency: 50 * time.Millisecond}
	flooded(t, clerk, Config{}, 50, func(t *testing.T, g *Gate, answered func() int) {
		ctx, stop := context.WithCancel(t.Context())
		var writers sync.WaitGroup
		for range 5 {
			writers.Go(func() {
				for ctx.Err() == nil {
					ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
					_, _ = g.Acquire(ctx, LeaseRequest{Permits: 20, TTL: MaxLeaseTTL}, Options{Caller: "writes"})
					cancel()
					time.Sleep(time.Second)
				}
			})
		}
		time.Sleep(2 * time.Minute)
		before := answered()
		time.Sleep(time.Minute)
		if n := answered() - before; n < 6*48 {
			t.Errorf("%d lists answered in a minute beside leases that are never released, want half of 600", n)
		}
		if s := g.Status(); s.Leased > 50 {
			t.Errorf("%d permits are lent", s.Leased)
		}
		stop()
		writers.Wait()
	})
}

// TestTheWaitKnowsWhenALeaseEnds: a call that can't be served before its deadline is
// refused at once.
func TestTheWaitKnowsWhenALeaseEnds(t *testing.T) {
	cfg := Config{Quota: quota.Config{Limit: 10, LostHold: 10 * time.Second, MaxLeased: 1}}
	inBubble(t, &fakeClerk{}, cfg, func(t *testing.T, g *Gate) {
		if _, err := g.Acquire(t.Context(), LeaseRequest{Permits: 10, TTL: 20 * time.Second}, Options{}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := g.List(ctx, clerkapi.ListParams{}, Options{})
		var e *Error
		if !errors.As(err, &e) || e.Kind != ErrDeadlineTooShort || e.RetryAfter < 9*time.Second || e.RetryAfter > 11*time.Second {
			t.Errorf("got %v after %v, want to be told to come back in 10 s", err, time.Since(start))
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("told after %v", took)
		}
		if _, err := g.List(t.Context(), clerkapi.ListParams{}, Options{}); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took < 40*time.Second || took > 41*time.Second {
			t.Errorf("answered after %v, want 40 s: 20 of the lease, 10 for what may be under way, and a window", took)
		}
	})
}

// TestALeaseThatGathersLeavesOthersTheirTurns: also if a 429 comes meanwhile. The lease
// then has no permits, and the others go on.
func TestALeaseThatGathersLeavesOthersTheirTurns(t *testing.T) {
	clerk := &fakeClerk{latency: 50 * time.Millisecond}
	var refuse time.Time // until when all is answered 429
	clerk.reply = func(int, []string) error {
		if time.Now().Before(refuse) {
			return limited
		}
		return nil
	}
	flooded(t, clerk, Config{}, 200, func(t *testing.T, g *Gate, answered func() int) {
		time.Sleep(30 * time.Second)
		got := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		go func() {
			le, err := g.Acquire(ctx, LeaseRequest{Permits: 20, TTL: MaxLeaseTTL}, Options{Caller: "writes"})
			if err == nil {
				time.Sleep(time.Second)
				err = g.Release(ctx, le.ID, LeaseUse{Used: AllUsed})
			}
			got <- err
		}()
		time.Sleep(4 * time.Second) // some are gathered
		g.mu.Lock()
		gathered := 0
		if len(g.leases.gathering) > 0 {
			gathered = len(g.leases.gathering[0].lease.permits)
		}
		g.mu.Unlock()
		if gathered == 0 {
			t.Error("nothing is gathered after 4 s")
		}
		clerk.change(func() { refuse = time.Now().Add(500 * time.Millisecond) })
		time.Sleep(time.Second)
		g.mu.Lock()
		if len(g.leases.gathering) != 1 || len(g.leases.gathering[0].lease.permits) != 0 {
			t.Errorf("after a 429 %d leases gather, want one that has given back all", len(g.leases.gathering))
		}
		g.mu.Unlock()
		time.Sleep(5 * time.Second)
		before := answered()
		time.Sleep(time.Minute)
		if n := answered() - before; n < 240 {
			t.Errorf("%d lists answered in the minute after a 429, want half of the quota at least", n)
		}
		if err := <-got; err != nil {
			t.Errorf("the lease: %v", err)
		}
	})
}

// TestALeaseIsRefusedOnArrivalIfItCannotBeHad: in time, or with the limit as it is.
func TestALeaseIsRefusedOnArrivalIfItCannotBeHad(t *testing.T) {
	clerk := &fakeClerk{latency: 50 * time.Millisecond}
	var refuse time.Time // until when all is answered 429
	clerk.reply = func(int, []string) error {
		if time.Now().Before(refuse) {
			return limited
		}
		return nil
	}
	flooded(t, clerk, Config{}, 200, func(t *testing.T, g *Gate, _ func() int) {
		time.Sleep(30 * time.Second)
		try := func(within time.Duration) (time.Duration, error) {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			start := time.Now()
			_, err := g.Acquire(ctx, LeaseRequest{Permits: 50}, Options{Caller: "writes"})
			return time.Since(start), err
		}
		// Of 10 permits a second, every second one goes to the lease.
		if took, err := try(5 * time.Second); !errors.Is(err, ErrDeadlineTooShort) || took > 0 {
			t.Errorf("within 5 s: %v after %v", err, took)
		}
		if took, err := try(20 * time.Second); err != nil || took < 8*time.Second {
			t.Errorf("within 20 s: %v after %v", err, took)
		}
		clerk.change(func() { refuse = time.Now().Add(500 * time.Millisecond) }) // the limit falls
		time.Sleep(5 * time.Second)
		if took, err := try(time.Minute); !errors.Is(err, ErrDeadlineTooShort) || took > 0 {
			t.Errorf("half of a lowered limit is less than 50: %v after %v", err, took)
		}
	})
}

// TestALeaseIsRefusedIfNothingMayBeLent: leases that have not ended hold all permits
// that may be lent. A caller that can wait gets a lease as soon as one is released.
func TestALeaseIsRefusedIfNothingMayBeLent(t *testing.T) {
	inBubble(t, &fakeClerk{}, Config{Quota: quota.Config{LostHold: 20 * time.Second}}, func(t *testing.T, g *Gate) {
		var held []Lease
		for i, n := range []int{20, 30} {
			le, err := g.Acquire(t.Context(), LeaseRequest{Permits: n, TTL: time.Duration(i+1) * 30 * time.Second}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, le)
		}
		start := time.Now()
		try := func(n int, within time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			le, err := g.Acquire(ctx, LeaseRequest{Permits: n}, Options{})
			if err == nil {
				err = g.Release(ctx, le.ID, LeaseUse{})
			}
			return err
		}
		// The first lease's permits are free after 30 + 20 + 10.05 s, the second's 30 s later.
		for _, tt := range []struct {
			permits int
			within  time.Duration
			after   time.Duration // to come back
		}{{20, 60 * time.Second, 50 * time.Millisecond}, {21, 60 * time.Second, 30*time.Second + 50*time.Millisecond}, {1, time.Second, 59*time.Second + 50*time.Millisecond}} {
			var e *Error
			err := try(tt.permits, tt.within)
			if !errors.As(err, &e) || e.Kind != ErrDeadlineTooShort || e.RetryAfter != tt.after || !time.Now().Equal(start) {
				t.Errorf("%d within %v: %v after %v, want to be told at once to come back after %v", tt.permits, tt.within, err, time.Since(start), tt.after)
			}
		}
		time.AfterFunc(5*time.Second, func() { _ = g.Release(t.Context(), held[0].ID, LeaseUse{}) })
		if err := try(20, 61*time.Second); err != nil || time.Since(start) > 6*time.Second {
			t.Errorf("with a lease released meanwhile: %v after %v", err, time.Since(start))
		}
	})
}

// TestTheStateKnowsWhenMoreMayBeLent: a lease is refused as soon as a reply shows that
// it can't be had in time.
func TestTheStateKnowsWhenMoreMayBeLent(t *testing.T) {
	state := newState()
	inBubble(t, &fakeClerk{}, Config{Shared: state}, func(t *testing.T, g *Gate) {
		time.Sleep(time.Second)
		for _, within := range []time.Duration{50 * time.Second, 70 * time.Second} {
			start := time.Now()
			state.change(func() { state.lendsFrom = start.Add(time.Minute) })
			ctx, cancel := context.WithTimeout(t.Context(), within)
			_, err := g.Acquire(ctx, LeaseRequest{Permits: 10}, Options{})
			cancel()
			switch took := time.Since(start); {
			case within > time.Minute && (err != nil || took < time.Minute):
				t.Errorf("within %v: %v after %v", within, err, took)
			case within < time.Minute && (!errors.Is(err, ErrDeadlineTooShort) || took > 100*time.Millisecond):
				t.Errorf("within %v: %v after %v, want a refusal at once", within, err, took)
			}
		}
	})
}

// TestTheEstimateOfALargeLease: under saturation the estimate is right, since it allows
// for gathered permits, which do not come round.
func TestTheEstimateOfALargeLease(t *testing.T) {
	for _, n := range []int{10, 30, 50} {
		clerk := &fakeClerk{latency: 50 * time.Millisecond}
		flooded(t, clerk, Config{}, 200, func(t *testing.T, g *Gate, _ func() int) {
			time.Sleep(30 * time.Second)
			g.mu.Lock()
			le := &lease{request: LeaseRequest{Permits: n}}
			want, err := g.leaseWait(le, 1, 0, time.Now())
			g.mu.Unlock()
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if _, err := g.Acquire(t.Context(), LeaseRequest{Permits: n}, Options{Caller: "writes"}); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); (took - want).Abs() > took/5 {
				t.Errorf("a lease of %d took %v, the estimate was %v", n, took, want)
			}
		})
	}
}

// TestLeasesOfManyCallersAreAllGranted: in the end all are granted, and callers take
// turns.
func TestLeasesOfManyCallersAreAllGranted(t *testing.T) {
	clerk := &fakeClerk{latency: 50 * time.Millisecond}
	flooded(t, clerk, Config{}, 100, func(t *testing.T, g *Gate, answered func() int) {
		time.Sleep(20 * time.Second)
		before := answered()
		start := time.Now()
		var writers sync.WaitGroup
		for i, n := range []int{50, 1, 30, 5, 50, 2} {
			writers.Go(func() {
				le, err := g.Acquire(t.Context(), LeaseRequest{Permits: n}, Options{Caller: string(rune('a' + i)), Priority: Priority(i % 2)})
				if err == nil {
					time.Sleep(100 * time.Millisecond)
					err = g.Release(t.Context(), le.ID, LeaseUse{Used: AllUsed})
				}
				if err != nil {
					t.Errorf("a lease of %d: %v", n, err)
				}
			})
			time.Sleep(time.Millisecond)
		}
		writers.Wait()
		synctest.Wait()
		took := time.Since(start)
		if n := answered() - before; n < 138 {
			t.Errorf("%d lists answered while 138 permits were lent, want turn about", n)
		}
		if took > time.Minute {
			t.Errorf("all leases were granted after %v", took)
		}
	})
}
