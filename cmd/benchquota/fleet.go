package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
)

// fleet is several replicas that share a quota through Redis, and their simulated Clerk.
type fleet struct {
	lab      *lab
	clerk    *clerk
	redis    *redis
	replicas []*server
	places   *manual.Resolver // addresses of the replicas
	all      *client          // calls them in turn and retries UNAVAILABLE
}

// inTurn is the service config of clients that call several replicas.
const inTurn = `{
	"loadBalancingConfig": [{"round_robin": {}}],
	"methodConfig": [{"name": [{}], "retryPolicy": {
		"maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
		"retryableStatusCodes": ["UNAVAILABLE"]
	}}]
}`

// startFleet starts n replicas with a simulated Clerk of the given latency.
func (l *lab) startFleet(ctx context.Context, q clerksim.Quota, latency time.Duration, n int) (*fleet, error) {
	f := &fleet{lab: l, places: manual.NewBuilderWithScheme("replicas"), all: &client{}}
	if err := f.start(ctx, q, latency, n); err != nil {
		f.stop()
		return nil, err
	}
	return f, nil
}

func (f *fleet) start(ctx context.Context, q clerksim.Quota, latency time.Duration, n int) (err error) {
	if f.clerk, err = f.lab.startClerk(ctx, q, latency, 100); err != nil {
		return err
	}
	if f.redis, err = startRedis(ctx); err != nil {
		return err
	}
	for range n {
		if err := f.add(ctx, f.redis.address()); err != nil {
			return err
		}
	}
	return f.all.connect("replicas:///", grpc.WithResolvers(f.places), grpc.WithDefaultServiceConfig(inTurn))
}

// add starts one more replica, which uses the Redis at the given address.
func (f *fleet) add(ctx context.Context, redis string) error {
	s, err := f.lab.startServer(ctx, f.clerk, 1, "--redis-url", "redis://"+redis)
	if err != nil {
		return err
	}
	f.replicas = append(f.replicas, s)
	f.announce()
	return nil
}

// replace starts a new replica in place of one that has ended.
func (f *fleet) replace(ctx context.Context, i int) error {
	f.replicas[i].close()
	f.replicas = slices.Delete(f.replicas, i, i+1)
	return f.add(ctx, f.redis.address())
}

// announce passes the replicas' addresses to clients.
func (f *fleet) announce() {
	var state resolver.State
	for _, r := range f.replicas {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: r.address})
	}
	f.places.UpdateState(state)
}

// stop stops everything.
func (f *fleet) stop() {
	f.all.close()
	var wg sync.WaitGroup
	for _, r := range f.replicas {
		wg.Go(r.stop)
	}
	wg.Wait()
	if f.redis != nil {
		f.redis.stop()
	}
	if f.clerk != nil {
		f.clerk.stop()
	}
}

// loader keeps n lists of ten callers waiting at each replica, until ctx ends or stop is
// called. stop returns keep's error.
type loader func(ctx context.Context, n int, t *times) (stop func() error)

// saturate returns a loader whose callers stay at their replica.
func (f *fleet) saturate(ctx context.Context, n int, t *times) (stop func() error) {
	return f.each(func(r *server) func() error {
		return keep(ctx, n, t.of(asOneOf(10, "caller", r.list)))
	})
}

// each starts something at each replica, and returns the function that stops all.
func (f *fleet) each(begin func(*server) (stop func() error)) (stop func() error) {
	var stops []func() error
	for _, r := range f.replicas {
		stops = append(stops, begin(r))
	}
	return func() error {
		errs := make([]error, len(stops))
		var wg sync.WaitGroup
		for i, stop := range stops {
			wg.Go(func() { errs[i] = stop() })
		}
		wg.Wait()
		return errors.Join(errs...)
	}
}

// seldom returns a loader that requests a list from each replica every two seconds, which
// must be answered within three.
func (f *fleet) seldom(ctx context.Context, _ int, t *times) (stop func() error) {
	const every, within = 2 * time.Second, 3 * time.Second
	return f.each(func(r *server) func() error {
		list := t.of(func(ctx context.Context, i int) error {
			ctx, cancel := context.WithTimeout(as(ctx, "caller"), within)
			defer cancel()
			return r.list(ctx, i)
		})
		return keep(ctx, 1, func(ctx context.Context, i int) error {
			err := list(ctx, i)
			_ = wait(ctx, every) // the loop checks ctx
			return err
		})
	})
}

// saturateInTurn returns a loader whose callers call the replicas in turn.
func (f *fleet) saturateInTurn(ctx context.Context, n int, t *times) (stop func() error) {
	return keep(ctx, n*len(f.replicas), t.of(asOneOf(10, "caller", f.all.list)))
}

// row returns a row of the table with the counts so far. It is met if there was no 429
// and no failed call, and every replica still runs.
func (f *fleet) row(name string, stats clerksim.Stats, failures error) row {
	for _, r := range f.replicas {
		select {
		case <-r.ended:
			failures = errors.Join(failures, errors.New("a replica has ended by itself"))
		default:
		}
	}
	r := row{
		name: name, requests: stats.Requests, limited: stats.RateLimited,
		target: "no 429, no failed call",
		met:    stats.RateLimited == 0 && failures == nil,
	}
	if failures != nil {
		r.note = failures.Error() + "; "
	}
	return r
}
