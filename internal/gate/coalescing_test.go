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

func TestLookupsThatWaitShareRequests(t *testing.T) {
	clerk := &fakeClerk{latency: 20 * time.Millisecond}
	cfg := Config{Quota: quota.Config{Limit: 100, Burst: 200}}
	inBubble(t, clerk, cfg, func(t *testing.T, g *Gate) {
		var callers sync.WaitGroup
		for _, id := range userIDs("", 1000) {
			callers.Go(func() {
				r := one(t.Context(), g, id, Options{Caller: id})
				if r.Err != nil || r.User.GetId() != id {
					t.Errorf("%s: got %v, %v", id, r.User, r.Err)
				}
			})
		}
		callers.Wait()
		if n := clerk.count(); n > 12 {
			t.Errorf("1,000 lookups cost %d requests, want at most 12", n)
		}
	})
}

func TestALoneLookupGoesAtOnce(t *testing.T) {
	clerk := &fakeClerk{}
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		for range 50 { // while over half of the window is free
			start := time.Now()
			r := one(t.Context(), g, "user_1", Options{})
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			if !r.FetchTime.Equal(start) {
				t.Fatalf("waited for %v", r.FetchTime.Sub(start))
			}
		}
	})
}

// TestLookupsGatherBesideOneInFlight: while less than half of the quota is free, a
// lookup that is not full waits for the one under way; while more is free, for two.
func TestLookupsGatherBesideOneInFlight(t *testing.T) {
	for _, tt := range []struct{ spent, flights int }{{60, 1}, {0, 2}} {
		clerk := &fakeClerk{}
		inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
			for range tt.spent {
				if _, err := g.List(t.Context(), clerkapi.ListParams{}, Options{}); err != nil {
					t.Fatal(err)
				}
			}
			clerk.change(func() { clerk.latency = 5 * time.Second })
			var callers sync.WaitGroup
			for _, id := range userIDs("", 8) {
				callers.Go(func() { _ = one(t.Context(), g, id, Options{}) })
				time.Sleep(250 * time.Millisecond)
			}
			if n := g.Status().InFlight; n != tt.flights {
				t.Errorf("%d lookups under way after %d requests, want %d", n, tt.spent, tt.flights)
			}
			callers.Wait()
		})
	}
}

func TestOneFlightPerID(t *testing.T) {
	clerk := &fakeClerk{latency: time.Second}
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		var callers sync.WaitGroup
		ask := func(o Options) {
			callers.Go(func() {
				if r := one(t.Context(), g, "user_1", o); r.Err != nil {
					t.Error(r.Err)
				}
			})
			synctest.Wait()
		}
		for range 10 {
			ask(Options{})
		}
		if n := clerk.count(); n != 1 {
			t.Errorf("%d requests for one id, want 1", n)
		}
		start := time.Now()
		callers.Go(func() {
			r := one(t.Context(), g, "user_1", Options{Fresh: true})
			if r.FetchTime.Before(start) {
				t.Error("a fresh lookup got an answer that was asked for before it")
			}
		})
		synctest.Wait()
		callers.Wait()
		if n := clerk.count(); n != 2 {
			t.Errorf("%d requests, want 2: a fresh lookup joins none that has left", n)
		}
	})
}

func TestTheLastOneOutCancelsWhatWasNotSent(t *testing.T) {
	clerk := &fakeClerk{latency: 50 * time.Millisecond}
	cfg := Config{Quota: quota.Config{Limit: 1}}
	inBubble(t, clerk, cfg, func(t *testing.T, g *Gate) {
		if r := one(t.Context(), g, "user_first", Options{}); r.Err != nil {
			t.Fatal(r.Err)
		}
		var callers sync.WaitGroup
		ctx, leave := context.WithCancel(t.Context())
		for _, who := range []string{"a", "b"} {
			callers.Go(func() {
				if r := one(ctx, g, "user_gone", Options{Caller: who}); !errors.Is(r.Err, context.Canceled) {
					t.Errorf("got %v, want the context's error", r.Err)
				}
			})
		}
		stays, stayLeave := context.WithCancel(t.Context())
		for _, c := range []context.Context{ctx, stays} {
			callers.Go(func() {
				r := one(c, g, "user_shared", Options{})
				if c == stays && r.Err != nil {
					t.Errorf("the one who stays got %v", r.Err)
				}
			})
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		if d := g.Status().Queue[Interactive].Depth; d != 1 {
			t.Errorf("%d wants wait, want only the one that somebody still waits for", d)
		}
		callers.Wait()
		stayLeave()
		for _, ids := range clerk.requests {
			for _, id := range ids {
				if id == "user_gone" {
					t.Error("what nobody waited for was sent")
				}
			}
		}
	})
}

func TestAWantIsQueuedForEachWhoWants(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	inBubble(t, clerk, Config{Quota: quota.Config{Limit: 1}}, func(t *testing.T, g *Gate) {
		spend(t, g)
		ctx, leave := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		callers.Go(func() { _ = one(ctx, g, "user_1", Options{Caller: "leaves"}) })
		callers.Go(func() { _ = one(t.Context(), g, "user_1", Options{Caller: "stays"}) })
		queued := func() map[string]int {
			synctest.Wait()
			m := map[string]int{}
			for _, c := range g.Status().Callers.Busiest {
				m[c.Name] = c.Queued
			}
			return m
		}
		if q := queued(); q["leaves"] != 1 || q["stays"] != 1 {
			t.Errorf("queued %v, want the want in the line of both", q)
		}
		leave()
		if q := queued(); q["leaves"] != 0 || q["stays"] != 1 {
			t.Errorf("queued %v after one has left", q)
		}
		callers.Wait()
	})
}
