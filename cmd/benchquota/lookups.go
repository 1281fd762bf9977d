package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// burst requests 10,000 users at once, as as many callers, with windows of several
// phases.
func burst(ctx context.Context, l *lab) ([]row, error) {
	const users, phases, most = 10_000, 3, 105
	const limit = 11 * time.Second
	q := clerksim.Quota{Limit: 100, Window: 10 * time.Second, Kind: clerksim.Fixed, Headers: clerksim.RetryAfter}
	var rows []row
	for phase := range phases {
		at := &lab{binary: l.binary, seed: l.seed + uint64(1000*phase)}
		times, stats, err := at.burstOnce(ctx, q, users)
		if err != nil {
			return rows, err
		}
		took := slices.Max(times)
		rows = append(rows, row{
			name: fmt.Sprintf("burst10k, phase %d", phase+1), requests: stats.Requests, limited: stats.RateLimited,
			served: fmt.Sprintf("%.0f users/s, all in %.2f s", users/took.Seconds(), took.Seconds()),
			p50:    percentile(times, 50), p99: percentile(times, 99),
			target: fmt.Sprintf("<= %d requests, <= %s, no 429", most, limit),
			met:    stats.Requests <= most && took <= limit && stats.RateLimited == 0,
		})
	}
	return rows, nil
}

// burstOnce returns the duration of each lookup from the common start.
func (l *lab) burstOnce(ctx context.Context, q clerksim.Quota, users int) (times []time.Duration, stats clerksim.Stats, err error) {
	p, err := l.startPair(ctx, q, roundTrip, users, users)
	if err != nil {
		return nil, stats, err
	}
	defer p.stop()
	ids, err := p.clerk.ids()
	if err != nil {
		return nil, stats, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	times = make([]time.Duration, users)
	var gets tally
	var wg sync.WaitGroup
	var start time.Time
	begin := make(chan struct{})
	for i, id := range ids {
		wg.Go(func() {
			<-begin
			_, err := p.get(as(ctx, fmt.Sprintf("caller%d", i)), i, id)
			times[i] = time.Since(start)
			gets.add(ctx, err)
		})
	}
	start = time.Now()
	close(begin)
	wg.Wait()
	if err := errors.Join(ctx.Err(), gets.err()); err != nil {
		return nil, stats, err
	}
	stats, err = p.clerk.stats(ctx)
	return times, stats, err
}

// production constantly requests batches of 100 users with the quota of a production
// instance. No user is requested again before all others.
func production(ctx context.Context, l *lab) ([]row, error) {
	const users, perBatch, waiting, windows = 200_000, 100, 40, 6
	const leastPerSecond = 9500
	q := clerksim.Quota{Limit: 1000, Window: 10 * time.Second, Kind: clerksim.Fixed, Headers: clerksim.RetryAfter}
	p, err := l.startPair(ctx, q, 100*time.Millisecond, users, waiting)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	ids, err := p.clerk.ids()
	if err != nil {
		return nil, err
	}
	debug.FreeOSMemory() // only the users' ids were needed

	load, end := context.WithCancel(ctx)
	defer end()
	var found atomic.Int64
	stop := keep(load, waiting, func(ctx context.Context, i int) error {
		from := i * perBatch % users
		resp, err := p.users(i).BatchGetUsers(ctx, &clerkgatev1.BatchGetUsersRequest{UserIds: ids[from : from+perBatch], MaxAge: durationpb.New(0)})
		for _, r := range resp.GetResults() {
			if r.GetUser() == nil && err == nil {
				err = fmt.Errorf("%s: %s", r.UserId, r.GetError().GetMessage())
			}
		}
		found.Add(int64(len(resp.GetResults())))
		return err
	})
	start := time.Now()
	before, cpuErr := p.cpu()
	least, last := int64(leastPerSecond*1e3), int64(0)
	for i := range windows {
		if err := wait(ctx, time.Until(start.Add(time.Duration(i+1)*q.Window))); err != nil {
			return nil, err
		}
		now := found.Load()
		least, last = min(least, now-last), now
	}
	took := time.Since(start)
	after, err := p.cpu()
	cpuErr = errors.Join(cpuErr, err)
	stats, err := p.clerk.stats(ctx)
	if err := errors.Join(err, stop()); err != nil {
		return nil, err
	}
	perSecond, leastRate := float64(last)/took.Seconds(), float64(least)/q.Window.Seconds()
	r := row{
		name: "production", requests: stats.Requests, limited: stats.RateLimited,
		served: fmt.Sprintf("%.0f users/s", perSecond),
		used:   percent(share(accepted(stats), q, took)),
		target: fmt.Sprintf(">= %d users/s in every window, no 429", leastPerSecond),
		met:    perSecond >= leastPerSecond && leastRate >= leastPerSecond && stats.RateLimited == 0,
		note:   fmt.Sprintf("%.0f users/s in the worst of %d windows", leastRate, windows),
	}
	if cpuErr == nil {
		r.note += fmt.Sprintf("; CPU seconds in %.0f s: server %.1f, simulator %.1f, load %.1f", took.Seconds(),
			(after[0] - before[0]).Seconds(), (after[1] - before[1]).Seconds(), (after[2] - before[2]).Seconds())
	}
	return []row{r}, nil
}
