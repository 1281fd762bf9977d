package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	"github.com/clerkgate/clerkgate/internal/fairqueue"
)

// turn is a time during which calls of many callers wait at one of two replicas, and
// those of a single caller at the other.
type turn struct {
	name     string
	parallel int // concurrent calls of the single caller
	target   string
	met      func(turn) bool

	many, one []time.Duration // durations of answered calls
	stats     clerksim.Stats  // counters of that time
	failures  error           // of the single caller's calls
}

// turnLasts is the duration of each turn.
const turnLasts = 30 * time.Second

// share returns the single caller's part of the answers.
func (t turn) share() float64 {
	return float64(len(t.one)) / max(1, float64(len(t.one)+len(t.many)))
}

// fairness keeps the lists of fifteen callers waiting at one replica, and one or eight lists
// of a single caller at the other. No more names of one address have turns of their own.
func fairness(ctx context.Context, l *lab) ([]row, error) {
	const crowd = fairqueue.MaxNames - 1
	const fair = 1.0 / (crowd + 1)
	const one, eight = 0.8 * fair, 0.9 * fair // with one list, none waits while it is in flight
	return l.takeTurns(ctx, 1000,
		func(list call) call { return asOneOf(crowd, "crowd", list) },
		func(list call) call { return asOneOf(1, "lone", list) },
		turn{
			name: "fairness/one-list", parallel: 1,
			target: fmt.Sprintf(">= %.1f %% of all", 100*one),
			met:    func(t turn) bool { return t.share() >= one },
		},
		turn{
			name: "fairness/eight-lists", parallel: 8,
			target: fmt.Sprintf(">= %.1f %% of all", 100*eight),
			met:    func(t turn) bool { return t.share() >= eight },
		},
	)
}

// priorities keeps lists of batch priority waiting at one replica, and many or single
// interactive ones at the other.
func priorities(ctx context.Context, l *lab) ([]row, error) {
	const batch = 0.08 // batch gets every tenth request
	const slowest = liveLatency + 20*permitInterval
	return l.takeTurns(ctx, 200,
		func(list call) call {
			return asOneOf(10, "batch", func(ctx context.Context, i int) error {
				return list(metadata.AppendToOutgoingContext(ctx, "clerkgate-priority", "batch"), i)
			})
		},
		func(list call) call { return asOneOf(10, "interactive", list) },
		turn{
			name: "priorities/many", parallel: 200,
			target: fmt.Sprintf("<= %.0f %% of all", 100*(1-batch)),
			met:    func(t turn) bool { return t.share() <= 1-batch },
		},
		turn{
			name: "priorities/one-list", parallel: 1,
			target: "p99 <= " + millis(slowest),
			met:    func(t turn) bool { return percentile(t.one, 99) <= slowest },
		},
	)
}

// takeTurns starts two replicas with the quota of a production instance, keeps n calls of
// many callers in flight at the first and, in each turn, those of the single caller at
// the second. Its rows are about the single caller, and are met like the fleet's.
func (l *lab) takeTurns(ctx context.Context, n int, many, one func(list call) call, turns ...turn) ([]row, error) {
	q := clerksim.Quota{Limit: liveLimit, Window: liveWindow, Kind: clerksim.Fixed, Headers: clerksim.RetryAfter}
	f, err := l.startFleet(ctx, q, liveLatency, 2)
	if err != nil {
		return nil, err
	}
	defer f.stop()
	var took times
	stop := keep(ctx, n, took.of(many(f.replicas[0].list)))
	err = wait(ctx, 2*liveWindow) // until the first window is spent and has returned
	for i := range turns {
		if err == nil {
			err = f.take(ctx, &turns[i], &took, one(f.replicas[1].list))
		}
	}
	failures := stop()
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, t := range turns {
		r := f.row(t.name, t.stats, errors.Join(failures, t.failures))
		r.served = fmt.Sprintf("%d lists, %s of all", len(t.one), percent(t.share()))
		r.used = percent(share(accepted(t.stats), q, turnLasts))
		r.p50, r.p99 = percentile(t.one, 50), percentile(t.one, 99)
		r.target = t.target + ", " + r.target
		r.met = r.met && len(t.one) > 0 && t.met(t)
		r.note += fmt.Sprintf("the others' %d lists: p50 %s, p99 %s", len(t.many), millis(percentile(t.many, 50)), millis(percentile(t.many, 99)))
		rows = append(rows, r)
	}
	return rows, nil
}

// take runs one turn.
func (f *fleet) take(ctx context.Context, t *turn, many *times, one call) error {
	before, err := f.clerk.stats(ctx)
	if err != nil {
		return err
	}
	many.taken()
	var took times
	stop := keep(ctx, t.parallel, took.of(one))
	err = wait(ctx, turnLasts)
	t.many = many.taken()
	t.failures = stop()
	t.one = took.taken()
	if err != nil {
		return err
	}
	t.stats, err = f.clerk.stats(ctx)
	t.stats.Requests -= before.Requests
	t.stats.RateLimited -= before.RateLimited
	return err
}
