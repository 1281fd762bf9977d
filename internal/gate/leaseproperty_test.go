package gate

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// TestLeasesBesideReads: callers acquire, release, forget, repeat and leave, beside
// lookups and lists. No window at Clerk holds more than the quota, at most half is lent,
// every patient read is answered, and in the end nothing is held.
func TestLeasesBesideReads(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := Config{Quota: quota.Config{
			Limit: rapid.IntRange(2, 40).Draw(rt, "limit"), Window: time.Second, LostHold: time.Second,
		}}
		type borrower struct {
			at, patience, ttl, keeps time.Duration
			permits                  int
			priority                 Priority
			retries, releases        bool
			used                     float64
		}
		ms := func(t *rapid.T, from, to int, label string) time.Duration {
			return time.Duration(rapid.IntRange(from, to).Draw(t, label)) * time.Millisecond
		}
		borrowers := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) borrower {
			return borrower{
				at: ms(t, 0, 5000, "at"), patience: ms(t, 1, 8000, "patience"), ttl: ms(t, 100, 3000, "ttl"), keeps: ms(t, 0, 3000, "keeps"),
				permits:  rapid.IntRange(1, cfg.Quota.MostLent()).Draw(t, "permits"),
				priority: Priority(rapid.IntRange(0, 1).Draw(t, "priority")),
				retries:  rapid.Bool().Draw(t, "retries"), releases: rapid.Bool().Draw(t, "releases"), used: rapid.Float64Range(0, 1).Draw(t, "used"),
			}
		}), 1, 12).Draw(rt, "leases")
		readers := rapid.IntRange(1, 6).Draw(rt, "readers")
		clerk := &fakeClerk{latency: 20 * time.Millisecond}
		var mu sync.Mutex
		var arrivals []time.Time
		inBubble(t, clerk, cfg, func(t *testing.T, g *Gate) {
			var all sync.WaitGroup
			for i, b := range borrowers {
				all.Go(func() {
					time.Sleep(b.at)
					o, ask := Options{Caller: fmt.Sprint("w", i%3), Priority: b.priority}, LeaseRequest{Permits: b.permits, TTL: b.ttl}
					if b.retries {
						ask.ID = fmt.Sprint("request", i)
					}
					acquire := func() (Lease, error) {
						ctx, cancel := context.WithTimeout(context.Background(), b.patience)
						defer cancel()
						return g.Acquire(ctx, ask, o)
					}
					le, err := acquire()
					if b.retries {
						again, err2 := acquire()
						if err == nil && err2 == nil && again.ID != le.ID {
							t.Errorf("two leases for one request")
						}
						le, err = again, err2
					}
					if err != nil {
						return
					}
					use := LeaseUse{Used: int(b.used * float64(b.permits)), RateLimited: b.used > 0.9}
					end := time.Now().Add(min(b.keeps, time.Until(le.Expires)-time.Millisecond))
					if !b.releases {
						end = le.Expires.Add(-time.Millisecond) // all are used at the last moment
						use.Used = b.permits
					}
					time.Sleep(time.Until(end))
					mu.Lock()
					for range use.Used {
						arrivals = append(arrivals, time.Now())
					}
					mu.Unlock()
					if b.releases && time.Now().Before(le.Expires) {
						if err := g.Release(context.Background(), le.ID, use); err != nil {
							t.Errorf("release: %v", err)
						}
					}
				})
			}
			for i := range readers {
				all.Go(func() {
					for n := range 20 {
						ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
						var err error
						if o := (Options{Caller: fmt.Sprint("r", i)}); i%2 == 0 {
							_, err = g.List(ctx, clerkapi.ListParams{}, o)
						} else {
							err = one(ctx, g, fmt.Sprintf("user_%d_%d", i, n), o).Err
						}
						cancel()
						if err != nil {
							t.Errorf("a patient read: %v", err)
						}
					}
				})
			}
			stop := make(chan struct{})
			watching := make(chan struct{})
			go func() {
				defer close(watching)
				for {
					select {
					case <-stop:
						return
					case <-time.After(10 * time.Millisecond):
					}
					if s := g.Status(); s.Leased > cfg.Quota.MostLent() {
						t.Errorf("%d permits lent of %d", s.Leased, cfg.Quota.Limit)
					}
				}
			}()
			all.Wait()
			close(stop)
			<-watching
			time.Sleep(10 * time.Second)
			if s := g.Status(); s.Held != 0 || s.Leased != 0 || s.Available != cfg.Quota.Limit {
				t.Errorf("in the end %d held, %d lent, %d available", s.Held, s.Leased, s.Available)
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			if n := len(g.leases.byID) + len(g.leases.byRequest) + len(g.leases.order) + len(g.leases.gathering); n != 0 {
				t.Errorf("%d leases are remembered for ever", n)
			}
		})
		arrivals = append(arrivals, clerk.sent...)
		slices.SortFunc(arrivals, time.Time.Compare)
		for i := cfg.Quota.Limit; i < len(arrivals); i++ {
			if span := arrivals[i].Sub(arrivals[i-cfg.Quota.Limit]); span <= cfg.Quota.Window {
				rt.Fatalf("%d requests within %v", cfg.Quota.Limit+1, span)
			}
		}
	})
}
