package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
)

// unknown is how long replicas may be without permits after Redis has stopped or started,
// until the use of the quota is known (docs/operations.md).
var unknown = chaosQuota.Window + 600*time.Millisecond

// trouble is a temporary fault.
type trouble struct {
	name string
	// holds is how long after its end calls may still fail: because of a Retry-After, or
	// because the use of the quota is unknown.
	holds time.Duration
	pass  func(context.Context) error // returns when the fault is over
}

// upstreamFaults returns the faults of Clerk and of the network.
func upstreamFaults(ids []string) []clerksim.Fault {
	faults := []clerksim.Fault{
		{Kind: clerksim.FaultHang},
		{Kind: clerksim.FaultReset},
		{Kind: clerksim.FaultTruncated},
		{Kind: clerksim.FaultGarbage},
		{Kind: clerksim.FaultHTML},
		{Kind: clerksim.FaultHTML, Status: http.StatusOK},
		{Kind: clerksim.FaultSlow, IntervalMS: 20},
		{Kind: clerksim.FaultHuge},
		{Kind: clerksim.FaultWrongUser},
		{Kind: clerksim.FaultWrongUser, Endpoint: clerksim.List},
		{Kind: clerksim.FaultTooManyIDs, MaxIDs: 10},
		{Kind: clerksim.FaultLongURL, MaxURL: 600},
		{Kind: clerksim.FaultPoisonID, IDs: ids[:3], Status: http.StatusUnprocessableEntity},
		{Kind: clerksim.FaultStatus, Status: http.StatusTooManyRequests, RetryAfter: "1"},
	}
	for _, status := range []int{400, 401, 403, 408, 413, 414, 422, 500, 502, 503, 504} {
		faults = append(faults, clerksim.Fault{Kind: clerksim.FaultStatus, Status: status})
	}
	return faults
}

// faultName returns a fault's name in the report.
func faultName(f clerksim.Fault) string {
	name := string(f.Kind)
	if f.Kind == clerksim.FaultStatus || f.Status != 0 {
		name = fmt.Sprintf("%s %d", name, f.Status)
	}
	if f.Endpoint != "" {
		name += " of " + string(f.Endpoint)
	}
	if f.Probability != 0 {
		name += fmt.Sprintf(" at %.0f %%", 100*f.Probability)
	}
	return name
}

// troubles returns all faults in random order. Each of Clerk's faults affects all
// requests or a third of them.
func (x *chaos) troubles() []trouble {
	var all []trouble
	for _, f := range upstreamFaults(x.ids) {
		if x.rnd.IntN(3) == 0 {
			f.Probability = 1.0 / 3
		}
		t := trouble{name: faultName(f)}
		if f.RetryAfter != "" {
			t.holds = time.Second
		}
		lasts := between(x.rnd, 500, 1500)
		if f.Kind == clerksim.FaultHang {
			lasts = between(x.rnd, 1000, 8000) // less than the time-out of a request, too
		}
		t.pass = func(ctx context.Context) error {
			if err := x.clerk.fail(ctx, f); err != nil {
				return err
			}
			if err := wait(ctx, lasts); err != nil {
				return err
			}
			return x.clerk.wellAgain(ctx)
		}
		all = append(all, t)
	}
	for range 3 {
		n, lasts := x.nodes[x.rnd.IntN(len(x.nodes))], between(x.rnd, 300, 2500)
		all = append(all,
			trouble{name: "freeze " + n.name, pass: func(ctx context.Context) error { return n.freeze(ctx, lasts) }},
			trouble{name: "restart " + n.name, holds: chaosQuota.Window, pass: func(ctx context.Context) error { return n.restart(ctx, x.lab, x.clerk, lasts/4) }})
		if x.redis != nil {
			all = append(all,
				trouble{name: "freeze redis", holds: unknown, pass: func(ctx context.Context) error { return x.freezeRedis(ctx, lasts) }},
				trouble{name: "restart redis", holds: unknown, pass: func(ctx context.Context) error { return x.restartRedis(ctx, lasts) }})
		}
	}
	x.rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	// Only a surge uses up the quota.
	return append([]trouble{{name: "surge", holds: chaosQuota.Window, pass: x.surge}}, all...)
}

// surge sends every server more calls than the quota allows, for longer than a window.
func (x *chaos) surge(ctx context.Context) error {
	const callers, lasts = 16, 3 * time.Second
	ctx, end := context.WithTimeout(ctx, lasts)
	defer end()
	var all sync.WaitGroup
	for i, n := range x.nodes {
		for k := range callers {
			a := &actor{chaos: x, node: n, name: fmt.Sprintf("surge%d", k), rnd: rand.New(rand.NewPCG(x.rnd.Uint64(), uint64(100*i+k)))}
			all.Go(func() {
				for ctx.Err() == nil {
					a.listBy(context.WithoutCancel(ctx), byID)
				}
			})
		}
	}
	all.Wait()
	return nil
}

// between returns a random duration from lowest to highest, in milliseconds.
func between(rnd *rand.Rand, lowest, highest int) time.Duration {
	return time.Duration(lowest+rnd.IntN(highest-lowest+1)) * time.Millisecond
}

func (x *chaos) freezeRedis(ctx context.Context, d time.Duration) error {
	if err := x.redis.freeze(); err != nil {
		return err
	}
	err := wait(ctx, d)
	if thawErr := x.redis.thaw(); thawErr != nil {
		return thawErr
	}
	return err
}

// restartRedis kills Redis and starts it again, empty, after d.
func (x *chaos) restartRedis(ctx context.Context, d time.Duration) error {
	x.redis.kill()
	if err := wait(ctx, d); err != nil {
		return err
	}
	return x.redis.start(ctx)
}

// wellAgain removes the simulator's faults.
func (c *clerk) wellAgain(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, c.address+"/sim/faults", nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
