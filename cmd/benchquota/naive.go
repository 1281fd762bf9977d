package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
)

// naiveScenarios are the scenarios to compare with: a client that sends one request per
// user, behind a rate limiter set to the quota. It does not react to 429s.
func naiveScenarios() []scenario {
	ten := clerksim.Quota{Limit: 100, Window: 10 * time.Second, Kind: clerksim.Fixed, Headers: clerksim.RetryAfter}
	sliding := ten
	sliding.Kind = clerksim.Sliding
	live := ten
	live.Limit = 1000
	short := ten
	short.Limit, short.Window = othersLimit, othersWindow
	return []scenario{
		naive("naive/burst10k", ten, roundTrip, 1, 20*time.Second, false),
		naive("naive/burst10k/burst-100", ten, roundTrip, 100, 20*time.Second, false),
		naive("naive/saturated/fixed", ten, roundTrip, 1, 200*time.Second, false),
		naive("naive/saturated/sliding", sliding, roundTrip, 1, 200*time.Second, false),
		naive("naive/others", short, roundTrip, 1, othersWindows*othersWindow, true),
		naive("naive/production", live, 100*time.Millisecond, 1, 20*time.Second, false),
	}
}

// naive measures such a client for a time, with a limiter of the given burst. With
// others, another client takes a part of the quota.
func naive(name string, q clerksim.Quota, latency time.Duration, burst int, measured time.Duration, others bool) scenario {
	return scenario{name: name, run: func(ctx context.Context, l *lab) ([]row, error) {
		c, err := l.startClerk(ctx, q, latency, 100)
		if err != nil {
			return nil, err
		}
		defer c.stop()
		ids, err := c.ids()
		if err != nil {
			return nil, err
		}
		load, end := context.WithTimeout(ctx, measured)
		defer end()
		var wg sync.WaitGroup
		if others {
			var o outsider
			wg.Go(func() { o.run(load, c, atRandom(time.Duration(float64(q.Window)/(othersShare*float64(q.Limit))))) })
		}
		every := q.Window / time.Duration(q.Limit)
		limiter := rate.NewLimiter(rate.Every(every), burst)
		var mu sync.Mutex
		var sent, limited int64
		for i := range 100 { // enough to hide the latency
			wg.Go(func() {
				for limiter.Wait(load) == nil {
					status := c.direct(load, "/"+ids[i])
					mu.Lock()
					switch status {
					case http.StatusOK:
						sent++
					case http.StatusTooManyRequests:
						sent++
						limited++
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		perSecond := float64(sent-limited) / measured.Seconds()
		return []row{{
			name: name, requests: sent, limited: limited,
			served: fmt.Sprintf("%.1f users/s", perSecond),
			used:   percent(share(sent-limited, q, measured)),
			note: fmt.Sprintf("measured for %s; at this rate 10,000 users take %s", measured,
				time.Duration(10_000/perSecond*float64(time.Second)).Round(time.Second)),
		}}, nil
	}}
}
