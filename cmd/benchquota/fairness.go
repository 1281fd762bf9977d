package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	"github.com/clerkgate/clerkgate/internal/fairqueue"
)

// Fairness is measured with the quota of a production instance.
const (
	liveLimit      = 1000
	liveWindow     = 10 * time.Second
	liveLatency    = 100 * time.Millisecond
	permitInterval = liveWindow / liveLimit
)

// startLive starts a server with a simulated production instance.
func (l *lab) startLive(ctx context.Context, users, calls int) (*pair, []string, error) {
	q := clerksim.Quota{Limit: liveLimit, Window: liveWindow, Kind: clerksim.Fixed, Headers: clerksim.RetryAfter}
	p, err := l.startPair(ctx, q, liveLatency, users, calls)
	if err != nil {
		return nil, nil, err
	}
	ids, err := p.clerk.ids()
	if err != nil {
		p.stop()
		return nil, nil, err
	}
	return p, ids, nil
}

// lookupTimes is the result of a caller's lookups.
type lookupTimes struct {
	mu     sync.Mutex
	took   []time.Duration // from call to answer
	waited []time.Duration // from call to the request's departure
	calls  tally
}

// ask looks up users as a caller at fixed intervals until ctx ends.
func (p *pair) ask(ctx context.Context, caller string, every time.Duration, ids []string, a *lookupTimes) {
	calls := as(context.WithoutCancel(ctx), caller)
	tick(ctx, evenly(every), func(i int) {
		one, cancel := context.WithTimeout(calls, callTimeout)
		defer cancel()
		start := time.Now()
		sent, err := p.get(one, 0, ids[i%len(ids)])
		end := time.Now()
		a.calls.add(calls, err)
		if err != nil {
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.took = append(a.took, end.Sub(start))
		a.waited = append(a.waited, sent.Sub(start))
	})
}

// flood looks up a user four times a second, first alone and then while another caller
// sends 100 times as many lists as half of the quota. The first window of the flood does
// not count.
func flood(ctx context.Context, l *lab) ([]row, error) {
	const aloneFor, floodedFor, every = 30 * time.Second, liveWindow + time.Minute, 250 * time.Millisecond
	const floodEvery = 2 * permitInterval / 100 // half of the quota is the caller's part
	const outstanding = 20_000                  // maximum of lists in flight: the queue's limit for one caller
	p, ids, err := l.startLive(ctx, 1000, outstanding)
	if err != nil {
		return nil, err
	}
	defer p.stop()

	var alone, begun, flooded lookupTimes
	quiet, end := context.WithTimeout(ctx, aloneFor)
	p.ask(quiet, "quiet", every, ids, &alone)
	end()
	before, err := p.totals(ctx)
	if err != nil {
		return nil, err
	}

	load, end := context.WithTimeout(ctx, floodedFor)
	defer end()
	var wg sync.WaitGroup
	var lists tally
	slots := make(chan struct{}, outstanding)
	wg.Go(func() {
		tick(load, evenly(floodEvery), func(i int) {
			select {
			case slots <- struct{}{}:
				lists.add(load, p.list(as(load, "flood"), i))
				<-slots
			default:
			}
		})
	})
	first, end := context.WithTimeout(load, liveWindow)
	p.ask(first, "quiet", every, ids, &begun)
	end()
	p.ask(load, "quiet", every, ids, &flooded)
	totals, err := p.totals(ctx)
	if err != nil {
		return nil, err
	}
	wg.Wait()
	if err := errors.Join(alone.calls.err(), begun.calls.err(), flooded.calls.err()); err != nil {
		return nil, err
	}
	p99 := percentile(alone.took, 99)
	limit := p99*3/2 + 2*permitInterval
	requests, refused := totals.UpstreamRequests-before.UpstreamRequests, totals.UpstreamRateLimited-before.UpstreamRateLimited
	return []row{
		{
			name: "flood, the other caller alone", requests: before.UpstreamRequests, limited: before.UpstreamRateLimited,
			served: fmt.Sprintf("%d lookups", len(alone.took)),
			p50:    percentile(alone.took, 50), p99: p99,
		},
		{
			name: "flood, the other caller during it", requests: requests, limited: refused,
			served: fmt.Sprintf("%d lookups", len(flooded.took)),
			used:   percent(share(requests-refused, p.clerk.quota, floodedFor)),
			p50:    percentile(flooded.took, 50), p99: percentile(flooded.took, 99),
			target: fmt.Sprintf("p99 <= %s, no 429", millis(limit)),
			met:    percentile(flooded.took, 99) <= limit && totals.UpstreamRateLimited == 0,
			note: fmt.Sprintf("p99 %s in the flood's first window, which does not count; of its lists, one each %s, %d were answered and %d refused",
				millis(percentile(begun.took, 99)), floodEvery, lists.ok.Load(), lists.failed.Load()),
		},
	}, nil
}

// behindLists keeps lists of many callers waiting, and looks up users as callers of which
// each asks once a second.
func behindLists(ctx context.Context, l *lab) ([]row, error) {
	const quiet, waiting = 4, 40
	const busy = fairqueue.MaxNames - quiet // no more names of one address have turns of their own
	const measured = 60 * time.Second
	p, ids, err := l.startLive(ctx, 1000, waiting)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	load, end := context.WithCancel(ctx)
	defer end()
	stop := keep(load, waiting, asOneOf(busy, "busy", p.list))
	if err := wait(ctx, liveWindow); err != nil { // until the window is spent
		return nil, err
	}
	asking, end := context.WithTimeout(ctx, measured)
	defer end()
	var lookups lookupTimes
	var askers sync.WaitGroup
	for i := range quiet {
		askers.Go(func() {
			if wait(asking, time.Duration(i)*time.Second/quiet) == nil {
				p.ask(asking, fmt.Sprintf("quiet%d", i), time.Second, ids[i*100:], &lookups)
			}
		})
	}
	askers.Wait()
	if err := errors.Join(stop(), lookups.calls.err()); err != nil {
		return nil, err
	}
	stats, err := p.clerk.stats(ctx)
	if err != nil {
		return nil, err
	}
	p99 := percentile(lookups.waited, 99)
	return []row{{
		name: "behind-lists", requests: stats.Requests, limited: stats.RateLimited,
		served: fmt.Sprintf("%d lookups", len(lookups.waited)),
		used:   percent(share(accepted(stats), p.clerk.quota, liveWindow+measured)),
		p50:    percentile(lookups.waited, 50), p99: p99,
		target: fmt.Sprintf("p99 < %s, no 429", millis(3*permitInterval)),
		met:    p99 < 3*permitInterval && stats.RateLimited == 0,
		note:   fmt.Sprintf("the times are waits, from the call to the departure of the request; %d callers, each asking once a second", quiet),
	}}, nil
}
