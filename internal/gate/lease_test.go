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

func TestALeaseTakesPermitsAndGivesBackWhatWasNotUsed(t *testing.T) {
	inBubble(t, &fakeClerk{}, Config{Quota: quota.Config{Limit: 10}}, func(t *testing.T, g *Gate) {
		for _, n := range []int{-1, 0, 6} {
			var size *LeaseSizeError
			if _, err := g.Acquire(t.Context(), LeaseRequest{Permits: n}, Options{}); !errors.As(err, &size) || size.Max != 5 {
				t.Errorf("a lease of %d: %v", n, err)
			}
		}
		le, err := g.Acquire(t.Context(), LeaseRequest{Permits: 4}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if s := g.Status(); s.Held != 4 || s.Available != 6 || s.InFlight != 0 || seenAt(g).requests != 0 {
			t.Errorf("while lent: %+v", s)
		} else if s.Callers.Busiest[0].Requests != 0 {
			t.Errorf("%v permits paid for before any was used", s.Callers.Busiest[0].Requests)
		}
		if err := g.Release(t.Context(), le.ID, LeaseUse{Used: 5}); !errors.Is(err, ErrLeaseUse) {
			t.Errorf("5 of 4 used: %v", err)
		}
		if err := g.Release(t.Context(), le.ID, LeaseUse{Used: 1}); err != nil {
			t.Error(err)
		}
		if s := g.Status(); s.Held != 1 || s.Available != 9 {
			t.Errorf("after the release of a lease of which 1 was used: %+v", s)
		} else if s.Callers.Busiest[0].Requests != 1 {
			t.Errorf("%v permits paid for, 1 was used", s.Callers.Busiest[0].Requests)
		}
		if err := g.Release(t.Context(), le.ID, LeaseUse{Used: 1}); !errors.Is(err, ErrNoLease) {
			t.Errorf("a second release: %v", err)
		}
	})
}

func TestALeaseThatIsNotReleasedEndsByItself(t *testing.T) {
	cfg := Config{Quota: quota.Config{Limit: 10, LostHold: 20 * time.Second, MaxLeased: 1}}
	inBubble(t, &fakeClerk{}, cfg, func(t *testing.T, g *Gate) {
		le, err := g.Acquire(t.Context(), LeaseRequest{Permits: 10}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(le.Expires) + time.Millisecond)
		if got := g.Status().Callers.Busiest[0].Requests; got != 10 {
			t.Errorf("%v permits paid for, want all 10: they may have been used", got)
		}
		if err := g.Release(t.Context(), le.ID, LeaseUse{Used: 0}); !errors.Is(err, ErrNoLease) {
			t.Errorf("a release after the end: %v", err)
		}
		// Its requests may have left at the last moment and still be under way.
		time.Sleep(29 * time.Second)
		if s := g.Status(); s.Available != 0 {
			t.Errorf("%d available before the lost ones are over", s.Available)
		}
		time.Sleep(2 * time.Second)
		if s := g.Status(); s.Available != 10 {
			t.Errorf("%d available in the end, want all 10", s.Available)
		}
	})
}

func TestALeaseThatCannotBeHadGivesBackWhatItGathered(t *testing.T) {
	inBubble(t, &fakeClerk{}, Config{Quota: quota.Config{Limit: 10, MaxLeased: 1}}, func(t *testing.T, g *Gate) {
		first, err := g.Acquire(t.Context(), LeaseRequest{Permits: 5}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := g.Acquire(ctx, LeaseRequest{Permits: 10}, Options{}); !errors.Is(err, ErrDeadlineTooShort) {
			t.Errorf("got %v, want %v", err, ErrDeadlineTooShort)
		}
		ctx, leave := context.WithCancel(t.Context())
		go func() {
			time.Sleep(3 * time.Second)
			leave()
		}()
		if _, err := g.Acquire(ctx, LeaseRequest{Permits: 10}, Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the caller's cancellation", err)
		}
		if s := g.Status(); s.Held != 5 {
			t.Errorf("%d held, want only the first lease's 5", s.Held)
		} else if s.Callers.Busiest[0].Requests != 0 {
			t.Errorf("%v permits paid for that were not lent", s.Callers.Busiest[0].Requests)
		}
		if err := g.Release(t.Context(), first.ID, LeaseUse{Used: 0}); err != nil {
			t.Error(err)
		}
	})
}

func TestALeaseIsNotTheProbe(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond, reply: first(time.Second, limited)}
	inBubble(t, clerk, Config{Quota: quota.Config{Limit: 10}}, func(t *testing.T, g *Gate) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := g.List(ctx, clerkapi.ListParams{}, Options{}); !errors.Is(err, ErrRateLimited) {
			t.Fatalf("got %v", err)
		}
		le, err := g.Acquire(t.Context(), LeaseRequest{Permits: 1}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if n := clerk.count(); n != 3 {
			t.Errorf("%d requests, want a probe that believes the 429 and one before the lease", n)
		}
		if err := g.Release(t.Context(), le.ID, LeaseUse{Used: 0}); err != nil {
			t.Error(err)
		}
	})
}

func TestLeasesWaitTheirTurn(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		spend(t, g)
		ctx, stop := context.WithCancel(t.Context())
		var lists sync.WaitGroup
		for range 500 {
			lists.Go(func() { _, _ = g.List(ctx, clerkapi.ListParams{}, Options{Caller: "reads"}) })
		}
		synctest.Wait()
		time.Sleep(10 * time.Second) // nobody saves up turns for later
		before := clerk.count()
		if _, err := g.Acquire(t.Context(), LeaseRequest{Permits: 10}, Options{Caller: "writes"}); err != nil {
			t.Fatal(err)
		}
		if reads := clerk.count() - before; reads < 9 || reads > 12 { // it waits for its turn first
			t.Errorf("%d reads went while 10 permits were gathered, want turn about", reads)
		}
		stop()
		lists.Wait()
	})
}

func TestANewKeyIsTriedAtOnce(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	var mu sync.Mutex
	key, err := clerkapi.ParseKey("sk_test_old")
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := clerkapi.ParseKey("sk_test_new")
	if err != nil {
		t.Fatal(err)
	}
	current := func() clerkapi.Key {
		mu.Lock()
		defer mu.Unlock()
		return key
	}
	clerk.reply = func(int, []string) error {
		if current() != rotated {
			return badKey
		}
		return nil
	}
	inBubble(t, clerk, Config{Key: current}, func(t *testing.T, g *Gate) {
		if r := one(t.Context(), g, "user_1", Options{}); !errors.Is(r.Err, clerkapi.ErrKeyRejected) {
			t.Errorf("got %v", r.Err)
		}
		mu.Lock()
		key = rotated
		mu.Unlock()
		if r := one(t.Context(), g, "user_1", Options{}); r.Err != nil {
			t.Errorf("with the new key: %v", r.Err)
		}
	})
}

func TestALowQuotaIsToldOnce(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	inBubble(t, clerk, Config{Quota: quota.Config{Limit: 20, Window: time.Second}}, func(t *testing.T, g *Gate) {
		for range 20 {
			if _, err := g.List(t.Context(), clerkapi.ListParams{}, Options{}); err != nil {
				t.Fatal(err)
			}
		}
		if n := seenAt(g).low; n != 1 {
			t.Errorf("told %d times, want once", n)
		}
		time.Sleep(2 * time.Second)
		for range 20 {
			if _, err := g.List(t.Context(), clerkapi.ListParams{}, Options{}); err != nil {
				t.Fatal(err)
			}
		}
		if n := seenAt(g).low; n != 2 {
			t.Errorf("told %d times after the second window, want twice", n)
		}
	})
}
