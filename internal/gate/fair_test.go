package gate

import (
	"context"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// TestALoneLookupPaysForItsRequest: one caller looks up one user at a time, another
// lists, with a quota that is too small for both. Each gets about half.
func TestALoneLookupPaysForItsRequest(t *testing.T) {
	clerk := &fakeClerk{latency: 50 * time.Millisecond}
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		spend(t, g)
		var lists, lookups int
		var longest time.Duration
		for range 10 {
			go func() {
				for ctx.Err() == nil {
					start := time.Now()
					if _, err := g.List(ctx, clerkapi.ListParams{}, Options{Caller: "lists"}); err == nil {
						clerk.change(func() { lists++; longest = max(longest, time.Since(start)) })
					}
				}
			}()
		}
		go func() {
			for ctx.Err() == nil {
				if r := one(ctx, g, "user_1", Options{Caller: "looks", Fresh: true}); r.Err == nil {
					clerk.change(func() { lookups++ })
				}
			}
		}()
		time.Sleep(5 * time.Minute)
		clerk.change(func() {
			all := lists + lookups
			if all < 2900 || lists < all*2/5 || lookups < all*2/5 {
				t.Errorf("%d lists and %d lookups in five minutes, want half of about 3,000 each", lists, lookups)
			}
			// Ten lists that wait for every second permit, and the rest of the window
			// before.
			if longest > 12*time.Second {
				t.Errorf("a list took %v", longest)
			}
		})
	})
}

// TestNobodyWaitsForSpacingInTheFirstWindow: at 1000/10s a tenth may be sent at once in
// a slow first window, and less than half of that is sent. No call waits, then or later.
func TestNobodyWaitsForSpacingInTheFirstWindow(t *testing.T) {
	clerk := &fakeClerk{latency: 50 * time.Millisecond}
	cfg := Config{Quota: quota.Config{Limit: 1000, FirstWindow: quota.SlowWindow}}
	inBubble(t, clerk, cfg, func(t *testing.T, g *Gate) {
		ctx := t.Context()
		start := time.Now()
		for range 60 {
			for range 40 {
				go func() {
					came := time.Now()
					if _, err := g.List(ctx, clerkapi.ListParams{}, Options{}); err != nil {
						t.Error(err)
					}
					if waited := time.Since(came) - clerk.latency; waited > 0 {
						t.Errorf("%v after the start a list waited for %v", came.Sub(start), waited)
					}
				}()
			}
			time.Sleep(time.Second)
		}
	})
}
