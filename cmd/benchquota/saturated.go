package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
)

// roundTrip is the default latency of the simulator.
const roundTrip = 60 * time.Millisecond

// saturatedScenarios send a server more lists than the quota allows. Lists share no
// requests, so every request of the quota counts.
func saturatedScenarios() []scenario {
	var all []scenario
	for _, kind := range []clerksim.QuotaKind{clerksim.Fixed, clerksim.FirstHit, clerksim.Sliding} {
		for _, headers := range []clerksim.QuotaHeaders{clerksim.AllHeaders, clerksim.RetryAfter, clerksim.NoHeaders} {
			name := fmt.Sprintf("saturated/%s/%s", kind, headers)
			q := clerksim.Quota{Limit: 100, Window: 10 * time.Second, Kind: kind, Headers: headers}
			all = append(all, scenario{name: name, run: func(ctx context.Context, l *lab) ([]row, error) {
				return saturate(ctx, l, name, q, 0.98)
			}})
		}
	}
	const approx = "saturated/approx/pace-always"
	q := clerksim.Quota{Limit: 100, Window: 10 * time.Second, Kind: clerksim.Approx, Headers: clerksim.RetryAfter}
	return append(all, scenario{name: approx, run: func(ctx context.Context, l *lab) ([]row, error) {
		return saturate(ctx, l, approx, q, 0, "--pace", "always")
	}})
}

// saturate keeps lists waiting for 20 windows. There must be no 429, and the server must
// use at least the given part of the quota.
func saturate(ctx context.Context, l *lab, name string, q clerksim.Quota, least float64, flags ...string) ([]row, error) {
	const windows, waiting, callers = 20, 20, 10
	p, err := l.startPair(ctx, q, roundTrip, 100, waiting, flags...)
	if err != nil {
		return nil, err
	}
	defer p.stop()

	stop := keep(ctx, waiting, asOneOf(callers, "caller", p.list))
	counts, err := p.clerk.count(ctx, windows)
	if err := errors.Join(err, stop()); err != nil {
		return nil, err
	}
	first, last := counts[0], counts[windows-1]
	used := share(accepted(last), q, windows*q.Window)
	steady := share(accepted(last)-accepted(first), q, (windows-1)*q.Window)
	r := row{
		name: name, requests: last.Requests, limited: last.RateLimited,
		served: fmt.Sprintf("%.2f lists/s", float64(accepted(last))/(windows*q.Window).Seconds()),
		used:   fmt.Sprintf("%s (%s)", percent(used), percent(steady)),
		target: "no 429",
		met:    used >= least && last.RateLimited == 0,
	}
	if least > 0 {
		r.target = fmt.Sprintf(">= %.0f %%, no 429", 100*least)
	}
	return []row{r}, nil
}

// count returns the simulator's counters at the end of each of n windows from now on.
func (c *clerk) count(ctx context.Context, n int) ([]clerksim.Stats, error) {
	start := time.Now()
	counts := make([]clerksim.Stats, n)
	for i := range counts {
		err := wait(ctx, time.Until(start.Add(time.Duration(i+1)*c.quota.Window)))
		if err == nil {
			counts[i], err = c.stats(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
	return counts, nil
}

// reading is the number of accepted requests at a moment.
type reading struct {
	at       time.Time
	accepted int64
}

func (c *clerk) read(ctx context.Context) (reading, error) {
	stats, err := c.stats(ctx)
	return reading{time.Now(), accepted(stats)}, err
}

// used returns the part of the quota that was used between two readings.
func (c *clerk) used(from, to reading) float64 {
	return share(to.accepted-from.accepted, c.quota, to.at.Sub(from.at))
}

// share returns n requests in d as a part of the quota.
func share(n int64, q clerksim.Quota, d time.Duration) float64 {
	return float64(n) / float64(q.Limit) * q.Window.Seconds() / d.Seconds()
}

// accepted returns the number of accepted requests.
func accepted(s clerksim.Stats) int64 { return s.Requests - s.RateLimited }
