package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
)

// perReplica is the number of lists that wait at each replica, of ten callers.
const perReplica = 20

// tenSeconds is the quota of a development instance, twoSeconds one with many short
// windows.
var (
	tenSeconds = clerksim.Quota{Limit: 100, Window: 10 * time.Second, Kind: clerksim.Fixed, Headers: clerksim.RetryAfter}
	twoSeconds = clerksim.Quota{Limit: 100, Window: 2 * time.Second, Kind: clerksim.Fixed, Headers: clerksim.RetryAfter}
)

// sharedScenarios send several replicas more lists than the quota allows.
func sharedScenarios() []scenario {
	var all []scenario
	add := func(n int, q clerksim.Quota, windows time.Duration, least float64) {
		name := fmt.Sprintf("replicas/%d/%s/%s", n, q.Kind, q.Window)
		all = append(all, scenario{name: name, run: func(ctx context.Context, l *lab) ([]row, error) {
			return shareQuota(ctx, l, name, n, q, windows, least)
		}})
	}
	for _, kind := range []clerksim.QuotaKind{clerksim.Fixed, clerksim.FirstHit, clerksim.Sliding} {
		long, short := tenSeconds, twoSeconds
		long.Kind, short.Kind = kind, kind
		for _, n := range []int{2, 4, 8} {
			add(n, long, 10, 0.96)
		}
		add(8, short, 50, 0.94) // the round trip is a larger part of it
	}
	return all
}

// shareQuota keeps lists waiting at n replicas. There must be no 429 and no failed call,
// and the replicas must use at least the given part of the windows after the first two.
func shareQuota(ctx context.Context, l *lab, name string, n int, q clerksim.Quota, windows time.Duration, least float64) ([]row, error) {
	const first = 2
	f, err := l.startFleet(ctx, q, roundTrip, n)
	if err != nil {
		return nil, err
	}
	defer f.stop()
	var took times
	stop := f.saturate(ctx, perReplica, &took)
	counts, err := f.clerk.count(ctx, int(first+windows))
	failures := stop()
	if err != nil {
		return nil, err
	}
	var sent []string
	for _, r := range f.replicas {
		totals, err := r.totals(ctx)
		if err != nil {
			return nil, err
		}
		sent = append(sent, fmt.Sprint(totals.UpstreamRequests))
	}
	begun, last := accepted(counts[first-1]), counts[len(counts)-1]
	used := share(accepted(last)-begun, q, windows*q.Window)
	all := took.taken()
	r := f.row(name, last, failures)
	r.served = fmt.Sprintf("%d lists", len(all))
	r.used = fmt.Sprintf("%s (first two %s)", percent(used), percent(share(begun, q, first*q.Window)))
	r.p50, r.p99 = percentile(all, 50), percentile(all, 99)
	r.target = fmt.Sprintf(">= %.0f %%, %s", 100*least, r.target)
	r.met = r.met && used >= least
	slices.Sort(sent)
	r.note += "requests by replica: " + strings.Join(sent, ", ")
	return []row{r}, nil
}
