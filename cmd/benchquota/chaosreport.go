package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

const (
	// examples is the maximum number of examples for each broken invariant.
	examples = 6
	// settles is how long retried webhooks may take, and servers to return to normal.
	settles = 12 * time.Second
)

// report returns the rows of the table.
func (x *chaos) report(ctx context.Context, name string, before []state, recoveries []recoveryTime, c *control) ([]row, error) {
	webhooks, err := x.webhooks(ctx)
	if err != nil {
		return nil, err
	}
	back, err := x.back(ctx, before)
	if err != nil {
		return nil, err
	}
	stats, err := x.clerk.stats(ctx)
	if err != nil {
		return nil, err
	}
	rows := []row{{
		name: name + "/quota", requests: stats.Requests, limited: stats.RateLimited, target: "no arrival beyond the quota",
		met: stats.RateLimited == 0, served: fmt.Sprintf("%d calls", x.made),
		note: fmt.Sprintf("what became of calls:\n%s\n%s", x.summary(), c.said()),
	}}
	for _, p := range []promise{outcomes, deadlines, identity, versions, acknowledged} {
		broken := x.broken[p]
		r := row{name: name + "/" + strings.ReplaceAll(strings.SplitN(string(p), ",", 2)[0], " ", "-"), served: fmt.Sprintf("%d broken", len(broken)), target: string(p), met: len(broken) == 0}
		if len(broken) > 0 {
			r.note = "\n" + strings.Join(broken[:min(examples, len(broken))], "\n")
		}
		rows = append(rows, r)
	}
	return append(rows, recoveryRow(name, recoveries), webhooks(name), back(name)), nil
}

// recoveryRow judges the times of recovery.
func recoveryRow(name string, all []recoveryTime) row {
	r := row{name: name + "/recovery", target: fmt.Sprintf("first success within %s of when it may be", recovery), met: true}
	var took []time.Duration
	var lines []string
	for _, t := range all {
		took = append(took, t.took)
		line := fmt.Sprintf("%s at %s: %s", t.trouble, t.node, t.took.Round(time.Millisecond))
		if t.took > t.allowed {
			r.met = false
			line += fmt.Sprintf(", allowed %s", t.allowed.Round(time.Millisecond))
		}
		lines = append(lines, line)
	}
	r.p50, r.p99 = percentile(took, 50), percentile(took, 99)
	r.served = fmt.Sprintf("%d recoveries", len(all))
	r.note = "\n" + strings.Join(lines, "\n")
	return r
}

// webhooks waits for the last events and checks that every server returns their content.
func (x *chaos) webhooks(ctx context.Context) (func(name string) row, error) {
	begin := time.Now()
	stats, err := x.clerk.stats(ctx)
	for err == nil && stats.Webhooks.Waiting > 0 && time.Since(begin) < settles {
		if err = wait(ctx, 50*time.Millisecond); err == nil {
			stats, err = x.clerk.stats(ctx)
		}
	}
	if err != nil {
		return nil, err
	}
	w := stats.Webhooks
	var old []string
	looked := 0
	if w.Waiting == 0 && w.GivenUp == 0 {
		for _, n := range x.nodes {
			s, _ := n.now()
			for id, version := range x.written {
				resp := &clerkgatev1.GetUserResponse{}
				e := x.raw.call(ctx, s.address, clerkgatev1.UserService_GetUser_FullMethodName, "after", 10*time.Second,
					&clerkgatev1.GetUserRequest{UserId: id}, func(message []byte) error { return proto.Unmarshal(message, resp) })
				looked++
				switch got := resp.User.GetUpdatedAt().AsTime().UnixMilli(); {
				case e.lost != nil || e.code != codes.OK:
					old = append(old, fmt.Sprintf("%s at %s: %s %s", id, n.name, e.code, e.message))
				case got != version:
					old = append(old, fmt.Sprintf("%s at %s is of %d ms before (%s, %s)", id, n.name, version-got, resp.Freshness.GetServedFrom(), resp.Freshness.GetOrigin()))
				}
			}
		}
	}
	return func(name string) row {
		return row{
			name: name + "/webhooks", served: fmt.Sprintf("%d users looked at", looked), target: "all show what was told, nothing forged",
			met: len(old) == 0 && w.ForgedAccepted == 0,
			note: fmt.Sprintf("%d events, %d acknowledged, %d refused, %d given up, %d still wait; of %d forged %d were taken\n%s",
				w.Events, w.Acknowledged, w.Refused, w.GivenUp, w.Waiting, w.Forged, w.ForgedAccepted, strings.Join(old[:min(examples, len(old))], "\n")),
		}
	}, nil
}

// back waits until the servers use as much as before, except for idle connections.
func (x *chaos) back(ctx context.Context, before []state) (func(name string) row, error) {
	x.raw.close()
	like := func(b, a state) bool {
		b.goroutines += keptGoroutines * chaosInFlight
		b.descriptors += keptDescriptors * chaosInFlight
		return a.like(b) && a.memory <= b.memory+mostMemory
	}
	begin := time.Now()
	after, err := x.states(ctx)
	for err == nil && !slices.EqualFunc(before, after, like) && time.Since(begin) < settles {
		if err = wait(ctx, 100*time.Millisecond); err == nil {
			after, err = x.states(ctx)
		}
	}
	if err != nil {
		return nil, err
	}
	var lines []string
	for i, b := range before {
		a := after[i]
		lines = append(lines, fmt.Sprintf("%s: %d MiB, then %d; goroutines %d, then %d; descriptors %d, then %d",
			x.nodes[i].name, b.memory/mib, a.memory/mib, b.goroutines, a.goroutines, b.descriptors, a.descriptors))
	}
	return func(name string) row {
		return row{
			name: name + "/back", served: fmt.Sprintf("after %s", time.Since(begin).Round(100*time.Millisecond)),
			target: "memory, goroutines, descriptors as before", met: slices.EqualFunc(before, after, like),
			note: "\n" + strings.Join(lines, "\n"),
		}
	}, nil
}
