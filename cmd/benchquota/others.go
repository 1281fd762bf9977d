package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
)

// Another client uses the key. Windows are short, so that there are many: the server
// adapts over a number of windows.
const (
	othersLimit   = 100
	othersWindow  = 2 * time.Second
	othersWindows = 100 // total
	adaptWindows  = 10  // ... of which the first do not count
	othersShare   = 0.2 // the other client's part of the quota
)

func othersScenarios() []scenario {
	var all []scenario
	for _, kind := range []clerksim.QuotaKind{clerksim.Fixed, clerksim.FirstHit, clerksim.Sliding} {
		name := "others/" + string(kind)
		all = append(all, scenario{name: name, run: func(ctx context.Context, l *lab) ([]row, error) {
			return shareKey(ctx, l, name, kind, atRandom, 2, 0.65)
		}})
	}
	for _, kind := range []clerksim.QuotaKind{clerksim.Fixed, clerksim.Sliding} {
		name := "others/" + string(kind) + "/reserve-30%"
		all = append(all, scenario{name: name, run: func(ctx context.Context, l *lab) ([]row, error) {
			return shareKey(ctx, l, name, kind, evenly, 0, 0, "--quota-reserve", "30%")
		}})
	}
	return all
}

// shareKey keeps lists waiting at a server while another client sends requests, spaced by
// gaps. Of 1,000 requests of the server at most mostLimited may get a 429, and it must
// use at least leastUsed of the quota.
func shareKey(ctx context.Context, l *lab, name string, kind clerksim.QuotaKind, gaps func(time.Duration) func() time.Duration,
	mostLimited, leastUsed float64, flags ...string) ([]row, error) {
	const waiting = 20
	q := clerksim.Quota{Limit: othersLimit, Window: othersWindow, Kind: kind, Headers: clerksim.RetryAfter}
	p, err := l.startPair(ctx, q, roundTrip, 100, waiting, flags...)
	if err != nil {
		return nil, err
	}
	defer p.stop()

	load, end := context.WithCancel(ctx)
	defer end()
	stop := keep(load, waiting, p.list)
	var wg sync.WaitGroup
	var others outsider
	wg.Go(func() {
		others.run(load, p.clerk, gaps(time.Duration(float64(othersWindow)/(othersShare*othersLimit))))
	})

	var sent, limited, othersSent, othersLimited [2]int64
	for i, windows := range []time.Duration{adaptWindows, othersWindows - adaptWindows} {
		if err := wait(ctx, windows*othersWindow); err != nil {
			return nil, err
		}
		totals, err := p.totals(ctx)
		if err != nil {
			return nil, err
		}
		sent[i], limited[i] = totals.UpstreamRequests, totals.UpstreamRateLimited
		othersSent[i], othersLimited[i] = others.sent.Load(), others.limited.Load()
	}
	end()
	wg.Wait()
	if err := stop(); err != nil {
		return nil, err
	}
	const measured = othersWindows - adaptWindows
	requests, refused := sent[1]-sent[0], limited[1]-limited[0]
	used := share(requests-refused, q, measured*othersWindow)
	perThousand := 1000 * float64(refused) / float64(requests)
	r := row{
		name: name, requests: requests, limited: refused,
		served: fmt.Sprintf("%.2f lists/s", float64(requests-refused)/(measured*othersWindow).Seconds()),
		used:   percent(used),
		target: fmt.Sprintf("<= %.0f 429s per 1,000, >= %.0f %%", mostLimited, 100*leastUsed),
		met:    perThousand <= mostLimited && used >= leastUsed,
		note: fmt.Sprintf("%.2f 429s per 1,000 requests; before that, in %d windows of adapting, %d 429s of %d. "+
			"The other drew %d 429s with %d requests", perThousand, adaptWindows, limited[0], sent[0],
			othersLimited[1]-othersLimited[0], othersSent[1]-othersSent[0]),
	}
	if leastUsed == 0 {
		r.target = "no 429"
		r.met = limited[1] == 0
	}
	return []row{r}, nil
}

// outsider is a client that uses the key without clerkgate.
type outsider struct {
	sent, limited atomic.Int64
}

// run sends requests at the intervals that gap returns, whatever the answers.
func (o *outsider) run(ctx context.Context, c *clerk, gap func() time.Duration) {
	tick(ctx, gap, func(int) {
		switch c.direct(ctx, "?limit=1") {
		case http.StatusTooManyRequests:
			o.limited.Add(1)
			o.sent.Add(1)
		case http.StatusOK:
			o.sent.Add(1)
		}
	})
}
