package gate

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// slowPages is a Clerk whose pages take long, except the page that a probe reads.
type slowPages struct {
	*fakeClerk
	takes time.Duration
}

func (c *slowPages) ListUsers(ctx context.Context, p clerkapi.ListParams) (*clerkapi.Page, error) {
	if p.Limit != 1 {
		select {
		case <-time.After(c.takes):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return c.fakeClerk.ListUsers(ctx, p)
}

// TestSlowRequestsAreBounded: requests that are only slow are answered. At most one and
// a half times as many are under way as there are places, and few probes go.
func TestSlowRequestsAreBounded(t *testing.T) {
	clerk := &slowPages{fakeClerk: &fakeClerk{latency: 50 * time.Millisecond}, takes: 6 * time.Second}
	inBubbleOf(t, clerk, clerk.fakeClerk, Config{MaxInFlight: 8, Quota: quota.Config{Limit: 1000}}, func(t *testing.T, g *Gate) {
		var lists sync.WaitGroup
		for range 100 {
			lists.Go(func() {
				if _, err := g.List(t.Context(), clerkapi.ListParams{Limit: 500}, Options{}); err != nil {
					t.Error(err)
				}
			})
		}
		most := 0
		for range 100 {
			time.Sleep(500 * time.Millisecond)
			synctest.Wait()
			most = max(most, g.Status().InFlight)
		}
		lists.Wait()
		if most > 8+4 {
			t.Errorf("%d under way at once, with 8 places", most)
		}
		if n := clerk.count() - 100; n > 3 {
			t.Errorf("%d probes, want few", n)
		}
		if g.places.overtaken != 0 {
			t.Errorf("%d count as overtaken in the end", g.places.overtaken)
		}
	})
}

// TestNobodyJoinsWhatWasOvertaken: a call for an id that a hanging request carries is
// answered soon after another request was answered.
func TestNobodyJoinsWhatWasOvertaken(t *testing.T) {
	clerk := &hanging{fakeClerk: &fakeClerk{latency: 100 * time.Millisecond}}
	inBubbleOf(t, clerk, clerk.fakeClerk, Config{MaxInFlight: 1, Quota: quota.Config{Limit: 1000}}, func(t *testing.T, g *Gate) {
		now := time.Now()
		clerk.hang(now, now.Add(500*time.Millisecond))
		var calls sync.WaitGroup
		for i, most := range []time.Duration{11 * time.Second, 1500 * time.Millisecond, 1500 * time.Millisecond} {
			calls.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				start := time.Now()
				r := one(t.Context(), g, fmt.Sprint("user_", i%2), Options{})
				if took := time.Since(start); r.Err != nil || took > most {
					t.Errorf("call %d: %v after %v, want %v at most", i, r.Err, took, most)
				}
			})
		}
		calls.Wait()
	})
}
