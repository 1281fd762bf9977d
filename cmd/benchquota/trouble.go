package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
)

// Three replicas with repeated faults, while lists wait all the time or, if they are
// idle, hardly any.
const (
	troubled = 3                // replicas
	passes   = 3                // repetitions of most faults
	outage   = 10 * time.Second // duration of an outage
	freeze   = 3 * time.Second  // duration for which Redis is stopped
)

func troubleScenarios() []scenario {
	return []scenario{
		redisKilled("redis-killed", passes, 0.8, func(f *fleet) loader { return f.saturate }),
		redisKilled("redis-killed-idle", passes-1, 0, func(f *fleet) loader { return f.seldom }),
		{"redis-frozen", false, redisFrozen},
		{"cut-off", false, cutOff},
		replicaKilled(tenSeconds, 1),
		replicaKilled(twoSeconds, 8),
		{"rolling-restart", false, rollingRestart},
	}
}

// redisKilled kills Redis, which starts again empty.
func redisKilled(name string, often int, least float64, load func(*fleet) loader) scenario {
	return scenario{name: name, run: func(ctx context.Context, l *lab) ([]row, error) {
		f, err := l.startFleet(ctx, tenSeconds, roundTrip, troubled)
		if err != nil {
			return nil, err
		}
		defer f.stop()
		return f.endure(ctx, name, often, least, load(f), func() error {
			f.redis.kill()
			if err := wait(ctx, outage); err != nil {
				return err
			}
			return f.redis.start(ctx)
		})
	}}
}

// redisFrozen stops Redis for a while: commands wait and are executed late.
func redisFrozen(ctx context.Context, l *lab) ([]row, error) {
	f, err := l.startFleet(ctx, tenSeconds, roundTrip, troubled)
	if err != nil {
		return nil, err
	}
	defer f.stop()
	return f.endure(ctx, "redis-frozen", passes, 0, f.saturate, func() error {
		if err := f.redis.freeze(); err != nil {
			return err
		}
		return errors.Join(wait(ctx, freeze), f.redis.thaw())
	})
}

// cutOff cuts one replica off from Redis. What is in flight between them arrives when the
// cut-off ends.
func cutOff(ctx context.Context, l *lab) ([]row, error) {
	f, err := l.startFleet(ctx, tenSeconds, roundTrip, troubled-1)
	if err != nil {
		return nil, err
	}
	defer f.stop()
	way, err := startRelay(ctx, f.redis.address())
	if err != nil {
		return nil, err
	}
	defer way.close()
	if err := f.add(ctx, way.address()); err != nil {
		return nil, err
	}
	return f.endure(ctx, "cut-off", passes, 0, f.saturate, func() error {
		way.valve.Lock()
		defer way.valve.Unlock()
		return wait(ctx, outage)
	})
}

// replicaKilled kills one replica after the other and starts a new one in its place. The
// others reserve the share of a killed one for ten windows.
func replicaKilled(q clerksim.Quota, often int) scenario {
	name := fmt.Sprintf("replica-killed/%s", q.Window)
	return scenario{name: name, run: func(ctx context.Context, l *lab) ([]row, error) {
		f, err := l.startFleet(ctx, q, roundTrip, troubled)
		if err != nil {
			return nil, err
		}
		defer f.stop()
		return f.endure(ctx, name, often, 0, f.saturateInTurn, func() error {
			f.replicas[0].kill()
			if err := wait(ctx, outage); err != nil {
				return err
			}
			return f.replace(ctx, 0)
		})
	}}
}

// rollingRestart stops each replica and starts a new one in its place.
func rollingRestart(ctx context.Context, l *lab) ([]row, error) {
	f, err := l.startFleet(ctx, tenSeconds, roundTrip, troubled)
	if err != nil {
		return nil, err
	}
	defer f.stop()
	return f.endure(ctx, "rolling-restart", passes, 0, f.saturateInTurn, func() error {
		for range troubled {
			f.replicas[0].stop()
			if err := f.replace(ctx, 0); err != nil { // the new one is the last
				return err
			}
		}
		return nil
	})
}

// endure keeps lists waiting with load and causes the fault as often as given, each time
// after a normal window. There must be no 429 and no failed call, and each time the
// replicas must use at least the given part of the quota from the start of the fault
// until a window after its end.
func (f *fleet) endure(ctx context.Context, name string, often int, least float64, load loader, pass func() error) ([]row, error) {
	var took times
	stop := load(ctx, perReplica, &took)
	err := wait(ctx, 2*f.clerk.quota.Window)
	var calm, during, after, whole []float64
	for range often {
		var p [4]reading
		if err == nil {
			p, err = f.passage(ctx, pass)
		}
		calm = append(calm, f.clerk.used(p[0], p[1]))
		during = append(during, f.clerk.used(p[1], p[2]))
		after = append(after, f.clerk.used(p[2], p[3]))
		whole = append(whole, f.clerk.used(p[1], p[3]))
	}
	failures := stop()
	if err != nil {
		return nil, err
	}
	stats, err := f.clerk.stats(ctx)
	if err != nil {
		return nil, err
	}
	all := took.taken()
	r := f.row(name, stats, failures)
	r.served = fmt.Sprintf("%d lists", len(all))
	r.used = fmt.Sprintf("%s at worst", percent(slices.Min(whole)))
	r.p50, r.p99 = percentile(all, 50), percentile(all, 99)
	if least > 0 {
		r.target = fmt.Sprintf(">= %.0f %%, %s", 100*least, r.target)
		r.met = r.met && slices.Min(whole) >= least
	}
	r.note += fmt.Sprintf("of the quota used in the calm window before %s, during it %s, in the window after %s, from when it came until then %s",
		percents(calm), percents(during), percents(after), percents(whole))
	return []row{r}, nil
}

// passage returns readings before and after a normal window, after the fault, and a
// window later.
func (f *fleet) passage(ctx context.Context, pass func() error) (p [4]reading, err error) {
	calm := func() error { return wait(ctx, f.clerk.quota.Window) }
	for i, step := range []func() error{func() error { return nil }, calm, pass, calm} {
		if err := step(); err != nil {
			return p, err
		}
		if p[i], err = f.clerk.read(ctx); err != nil {
			return p, err
		}
	}
	return p, nil
}

func percents(shares []float64) string {
	var all []string
	for _, s := range shares {
		all = append(all, percent(s))
	}
	return strings.Join(all, ", ")
}
