package gate

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// TestLimitsCountWaiters: a caller that waits for an id takes a place in the queue even
// if others wait for the id already, whether it waits, is under way, or is delayed until
// a retry.
func TestLimitsCountWaiters(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg   Config
		reply error
		wait  time.Duration // before the crowd comes
		want  int64
		err   error
	}{
		"waiting":            {Config{QueueLimit: 10, Quota: quota.Config{Limit: 1}}, nil, time.Hour, 10, ErrQueueFull},
		"under way":          {Config{QueueLimit: 10}, nil, 0, 11, ErrQueueFull}, // the first one pays for the request
		"put off":            {Config{QueueLimit: 10, BreakerFailures: 100}, down, time.Minute, 10, ErrQueueFull},
		"waiting, of one":    {Config{CallerQueueLimit: 7, Quota: quota.Config{Limit: 1}}, nil, time.Hour, 7, ErrCallerQueueFull},
		"under way, for one": {Config{CallerQueueLimit: 7}, nil, 0, 8, ErrCallerQueueFull},
	} {
		t.Run(name, func(t *testing.T) {
			clerk := &fakeClerk{latency: time.Minute, reply: func(int, []string) error { return tt.reply }}
			inBubble(t, clerk, tt.cfg, func(t *testing.T, g *Gate) {
				ctx, stop := context.WithTimeout(t.Context(), 2*time.Hour)
				defer stop()
				if tt.cfg.Quota.Limit == 1 { // let it be spent
					go func() { _, _ = g.List(ctx, clerkapi.ListParams{}, Options{}) }()
					synctest.Wait()
				} else {
					go func() { _ = one(ctx, g, "user_1", Options{}) }()
					synctest.Wait()
					if tt.wait > 0 {
						time.Sleep(tt.wait)
						synctest.Wait()
					}
				}
				var refused, other atomic.Int64
				const all = 5000
				for range all {
					go func() {
						if r := one(ctx, g, "user_1", Options{}); errors.Is(r.Err, tt.err) {
							refused.Add(1)
						} else if r.Err != nil && !errors.Is(r.Err, context.Canceled) {
							other.Add(1)
						}
					}()
				}
				synctest.Wait()
				accepted := all - refused.Load()
				if tt.cfg.Quota.Limit != 1 {
					accepted++ // the one before
				}
				if accepted != tt.want {
					t.Errorf("%d wait for an id, want %d", accepted, tt.want)
				}
				stop()
				synctest.Wait()
				if n := other.Load(); n > 0 {
					t.Errorf("%d have other errors", n)
				}
			})
		})
	}
}

// TestAFullQueueHasRoomForThoseWhoHaveLittle: a few callers that fill the queue do not
// keep the others out.
func TestAFullQueueHasRoomForThoseWhoHaveLittle(t *testing.T) {
	inBubble(t, &fakeClerk{}, Config{QueueLimit: 10_000, CallerQueueLimit: 5000, Quota: quota.Config{Limit: 1}}, func(t *testing.T, g *Gate) {
		spend(t, g)
		ctx, stop := context.WithCancel(t.Context())
		for i := range 5 {
			for n := range 50 {
				go func() {
					_ = g.Lookup(ctx, userIDs(fmt.Sprint(i, "x", n, "y"), 100), Options{Caller: fmt.Sprint("flood", i)})
				}()
			}
		}
		synctest.Wait()
		if n := g.Status().Queue[Interactive].Depth; n < 9900 || n > 9990 {
			t.Errorf("%d wait, want up to 9,900 and a little more", n)
		}
		for i := range 20 {
			go func() {
				if r := one(ctx, g, "user_other", Options{Party: Party{Peer: fmt.Sprint(i)}}); !errors.Is(r.Err, context.Canceled) {
					t.Errorf("another caller got %v", r.Err)
				}
			}()
		}
		synctest.Wait()
		stop()
		synctest.Wait()
	})
}

// TestAllWaitersAreCounted: most of their names are not remembered.
func TestAllWaitersAreCounted(t *testing.T) {
	inBubble(t, &fakeClerk{}, Config{Quota: quota.Config{Limit: 1}}, func(t *testing.T, g *Gate) {
		spend(t, g)
		ctx, stop := context.WithCancel(t.Context())
		const all = 3000
		for i := range all {
			go func() { _ = one(ctx, g, "user_1", Options{Caller: fmt.Sprint("name", i)}) }()
		}
		synctest.Wait()
		s := g.Status()
		queued := s.Callers.Others.Queued
		for _, c := range s.Callers.Busiest {
			queued += c.Queued
		}
		if queued != all {
			t.Errorf("%d wait, want %d", queued, all)
		}
		stop()
	})
}
