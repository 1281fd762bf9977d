package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
)

const (
	mostPerRequest = 3.0 // commands for the quota
	mostPerSecond  = 5.0 // of one replica, for all purposes
)

// observation is what Redis and Clerk received during a time.
type observation struct {
	commands
	requests int64
	took     time.Duration
}

// perSecond returns the number of commands per second and replica.
func (o observation) perSecond(replicas int) float64 {
	return float64(o.sent()) / o.took.Seconds() / float64(replicas)
}

// redisCommands counts the commands that three replicas send to Redis: with lists
// waiting, during a pause after a 429, and without calls.
func redisCommands(ctx context.Context, l *lab) ([]row, error) {
	const replicas, pause = 3, 15 * time.Second
	f, err := l.startFleet(ctx, tenSeconds, roundTrip, replicas)
	if err != nil {
		return nil, err
	}
	defer f.stop()
	ctx, end := context.WithCancel(ctx)
	defer end()
	m, err := f.redis.watch(ctx)
	if err != nil {
		return nil, err
	}
	stop := f.saturate(ctx, perReplica, new(times))
	busy, busyErr := f.observe(ctx, m, 2*tenSeconds.Window, 3*tenSeconds.Window)
	stats, statsErr := f.clerk.stats(ctx)
	held := f.clerk.fail(ctx, clerksim.Fault{
		Kind: clerksim.FaultStatus, Status: http.StatusTooManyRequests, Count: 2 * replicas, // a request and the probe of each
		RetryAfter: fmt.Sprint(pause.Seconds()),
	})
	// The 429 comes in the first seconds, and the pause ends in the last.
	paused, pausedErr := f.observe(ctx, m, 2*time.Second, pause-5*time.Second)
	failures := stop()
	idle, idleErr := f.observe(ctx, m, 2*time.Second, 10*time.Second)
	if err := errors.Join(busyErr, statsErr, held, pausedErr, idleErr); err != nil {
		return nil, err
	}

	perRequest := func(n int64) float64 { return float64(n) / float64(busy.requests) }
	saturated := f.row("commands/saturated", stats, failures)
	saturated.served = fmt.Sprintf("%.2f for the quota per request, %.2f in all", perRequest(busy.sum(forQuota)), perRequest(busy.sent()))
	saturated.target = fmt.Sprintf("<= %.0f for the quota, %s", mostPerRequest, saturated.target)
	saturated.met = saturated.met && busy.sum(forQuota) > 0 && perRequest(busy.sum(forQuota)) <= mostPerRequest
	saturated.note += fmt.Sprintf("with %d requests in %s: %s", busy.requests, busy.took.Round(time.Second), busy)
	rows := []row{saturated}
	for _, quiet := range []struct {
		name string
		observation
	}{{"commands/paused", paused}, {"commands/idle", idle}} {
		rows = append(rows, row{
			name: quiet.name, requests: quiet.requests,
			served: fmt.Sprintf("%.2f/s of each replica", quiet.perSecond(replicas)),
			target: fmt.Sprintf("<= %.0f/s, no request", mostPerSecond),
			met:    quiet.perSecond(replicas) <= mostPerSecond && quiet.requests == 0,
			note:   fmt.Sprintf("in %s: %s", quiet.took.Round(time.Second), quiet),
		})
	}
	return rows, nil
}

// observe waits for first and then observes for then.
func (f *fleet) observe(ctx context.Context, m *monitor, first, then time.Duration) (o observation, err error) {
	if err := wait(ctx, first); err != nil {
		return o, err
	}
	before, err := f.clerk.stats(ctx)
	if err != nil {
		return o, err
	}
	start, counted := time.Now(), m.counted()
	if err := wait(ctx, then); err != nil {
		return o, err
	}
	o = observation{commands: m.counted().since(counted), took: time.Since(start)}
	after, err := f.clerk.stats(ctx)
	o.requests = after.Requests - before.Requests
	return o, err
}
