package gate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// A meter counts requests to Clerk. It returns how long to wait if one is refused.
type meter func(now time.Time) (wait time.Duration)

// firstHit counts in windows that begin with a request.
func firstHit(limit int, window time.Duration) meter {
	var began time.Time
	count := 0
	return func(now time.Time) time.Duration {
		if now.Sub(began) >= window {
			began, count = now, 0
		}
		if count == limit {
			return began.Add(window).Sub(now)
		}
		count++
		return 0
	}
}

// sliding counts in the window that ends now.
func sliding(limit int, window time.Duration) meter {
	var accepted []time.Time
	return func(now time.Time) time.Duration {
		if n := len(accepted); n >= limit {
			if wait := accepted[n-limit].Add(window).Sub(now); wait > 0 {
				return wait
			}
		}
		accepted = append(accepted, now)
		return 0
	}
}

// TestBesideOthers saturates the gate while another client takes a fifth of the quota at
// random times. The gate adapts, however Clerk counts and however few callers there are,
// although 429s are rare and a probe soon after one is often answered.
func TestBesideOthers(t *testing.T) {
	for name, newMeter := range map[string]func(int, time.Duration) meter{"first-hit": firstHit, "sliding": sliding} {
		for _, callers := range []int{1, 10} {
			t.Run(fmt.Sprintf("%s, callers: %d", name, callers), func(t *testing.T) {
				besideOthers(t, newMeter, callers)
			})
		}
	}
}

func besideOthers(t *testing.T, newMeter func(int, time.Duration) meter, callers int) {
	const (
		limit, window   = 100, 2 * time.Second
		waiting         = 20 // lists at any time
		adapts, windows = 10, 150
		gap             = window / limit * 5 // between two requests of the other client, on average
	)
	const mostLimited, leastUsed = 4, 0.5 // per 1,000 requests; of the quota
	count := newMeter(limit, window)
	accepted, refused := 0, 0
	clerk := &fakeClerk{latency: 60 * time.Millisecond, reply: func(int, []string) error {
		if wait := count(time.Now()); wait > 0 {
			refused++
			seconds := (wait + time.Second - 1).Truncate(time.Second)
			return &clerkapi.Error{Kind: clerkapi.ErrRateLimited, Status: 429, RetryAfter: seconds}
		}
		accepted++
		return nil
	}}
	inBubble(t, clerk, Config{Quota: quota.Config{Limit: limit, Window: window}}, func(t *testing.T, g *Gate) {
		ctx, stop := context.WithCancel(t.Context())
		var load sync.WaitGroup
		for i := range waiting {
			load.Go(func() {
				for ctx.Err() == nil {
					o := Options{Party: Party{Peer: fmt.Sprint(i % callers)}}
					if _, err := g.List(ctx, clerkapi.ListParams{Limit: 1}, o); err != nil && ctx.Err() == nil {
						t.Error(err)
					}
				}
			})
		}
		load.Go(func() {
			for ctx.Err() == nil {
				time.Sleep(time.Duration(rand.ExpFloat64() * float64(gap)))
				clerk.change(func() { count(time.Now()) })
			}
		})
		time.Sleep(adapts * window)
		clerk.change(func() { accepted, refused = 0, 0 })
		time.Sleep((windows - adapts) * window)
		stop()
		load.Wait()
		perThousand := 1000 * float64(refused) / float64(accepted+refused)
		used := float64(accepted) / ((windows - adapts) * limit)
		t.Logf("%.2f 429s per 1,000 requests, %.1f %% of the quota used", perThousand, 100*used)
		if perThousand > mostLimited || used < leastUsed {
			t.Errorf("want at most %d 429s per 1,000 requests and at least %.0f %% of the quota used", mostLimited, 100*leastUsed)
		}
	})
}
