package gate

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
)

// TestALoneCallersQueryLowersTheLimitOnce: one query draws 429s, again and again, while
// nobody else asks. They may be the quota's, since the probes may find room again, but the
// same query's next ones are not. Another caller that comes then is served.
func TestALoneCallersQueryLowersTheLimitOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		err   error
		least int // of 100; 66 are sent per window, and the first 429 lowers that by some
	}{
		"without Retry-After":                          {tooMany, 50},
		"with the shortest Retry-After":                {&clerkapi.Error{Kind: clerkapi.ErrRateLimited, Status: 429, RetryAfter: time.Second}, 50},
		"with one that is not over when a probe comes": {limited, 100},
	} {
		t.Run(name, func(t *testing.T) {
			clerk := badQuery{&fakeClerk{latency: 20 * time.Millisecond}, tt.err}
			inBubbleOf(t, clerk, clerk.fakeClerk, Config{}, func(t *testing.T, g *Gate) {
				lone := Options{Party: Party{Peer: "lone"}}
				for range 100 {
					if r := one(t.Context(), g, "user_1", lone); r.Err != nil {
						t.Fatal(r.Err)
					}
					time.Sleep(150 * time.Millisecond)
				}
				for range 10 {
					if _, err := g.List(t.Context(), clerkapi.ListParams{Limit: 1, Filter: filter("<script>")}, lone); !errors.Is(err, clerkapi.ErrRateLimited) {
						t.Errorf("got %v, want %v", err, clerkapi.ErrRateLimited)
					}
				}
				if limit := g.Status().EffectiveLimit; limit < tt.least {
					t.Errorf("the limit is %d, want at least %d", limit, tt.least)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				if r := one(ctx, g, "user_2", Options{Party: Party{Peer: "other"}}); r.Err != nil {
					t.Errorf("the other caller got %v", r.Err)
				}
			})
		})
	}
}

// TestALoneCallerOfAReplicaIsNotAlone: while there are other replicas, a 429 that a probe
// contradicts is the caller's own even if it is the only one here.
func TestALoneCallerOfAReplicaIsNotAlone(t *testing.T) {
	for replicas, want := range map[int]int{1: 1, 2: 0} {
		state := newState()
		state.replicas = replicas
		clerk := badQuery{&fakeClerk{latency: 20 * time.Millisecond}, tooMany}
		inBubbleOf(t, clerk, clerk.fakeClerk, Config{Shared: state}, func(t *testing.T, g *Gate) {
			time.Sleep(11 * time.Second) // nobody has asked for a window
			lone := Options{Party: Party{Peer: "lone"}}
			if r := one(t.Context(), g, "user_1", lone); r.Err != nil {
				t.Fatal(r.Err)
			}
			time.Sleep(11 * time.Second)
			if _, err := g.List(t.Context(), clerkapi.ListParams{Limit: 1, Filter: filter("<script>")}, lone); !errors.Is(err, clerkapi.ErrRateLimited) {
				t.Errorf("got %v, want %v", err, clerkapi.ErrRateLimited)
			}
			time.Sleep(time.Second)
			limited := 0
			state.change(func() {
				for _, r := range state.reports {
					limited += len(r.Limited)
				}
			})
			if limited != want {
				t.Errorf("%d replicas: %d 429s count for the quota, want %d", replicas, limited, want)
			}
		})
	}
}

// TestLimitsOfOneMomentAreOneEvent: two lists of the only caller draw a 429 together, once.
// The probe contradicts both, both lists go again, and no 429 counts as the caller's own.
func TestLimitsOfOneMomentAreOneEvent(t *testing.T) {
	clerk := &fakeClerk{latency: 20 * time.Millisecond, reply: func(n int, _ []string) error {
		if n == 2 || n == 3 {
			return &clerkapi.Error{Kind: clerkapi.ErrRateLimited, Status: 429, RetryAfter: time.Second}
		}
		return nil
	}}
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		lone := Options{Party: Party{Peer: "lone"}}
		if r := one(t.Context(), g, "user_1", lone); r.Err != nil {
			t.Fatal(r.Err)
		}
		time.Sleep(11 * time.Second) // nobody else has asked for a window
		var lists sync.WaitGroup
		for range 2 {
			lists.Go(func() {
				if _, err := g.List(t.Context(), clerkapi.ListParams{Limit: 1}, lone); err != nil {
					t.Error(err)
				}
			})
		}
		lists.Wait()
		g.mu.Lock()
		defer g.mu.Unlock()
		if own := g.doubts.quotaTrust.callers; len(own) > 0 {
			t.Errorf("the 429s of %q count as their own", own)
		}
	})
}
