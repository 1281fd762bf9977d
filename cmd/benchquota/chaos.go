package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// The load of the chaos scenarios.
const (
	chaosUsers    = 1200 // three pages of a walk
	chaosBusy     = 300  // ... of which lookups ask for this many
	chaosInFlight = 64
	chaosLatency  = 20 * time.Millisecond
)

// What callers may expect.
const (
	lateness = 50 * time.Millisecond // after a deadline, on an idle machine
	// leadOfAnswers is how long before its deadline a call is answered, or a tenth of its
	// time if that is less.
	leadOfAnswers = 50 * time.Millisecond
	// resetShare is the part of the calls ending at their deadlines, besides one, that
	// may be reset although the control was not slow; twice that on a busy machine.
	resetShare = 0.05
	// lateShare is the part of all calls that may be late on a busy machine.
	lateShare = 0.01
	recovery  = 2 * time.Second // until the first success
	// mostMemory is how many more bytes a server may use than at the start: the limit of
	// bodies being read from Clerk (docs/limits.md), as much garbage, and users.
	mostMemory = 2*128*mib + 64*mib
	// Goroutines and descriptors of an idle connection to Clerk, which stays open for a
	// while.
	keptGoroutines, keptDescriptors = 2, 1
)

// chaosQuota has a short window, so that its edges come often.
var chaosQuota = clerksim.Quota{Limit: 100, Window: time.Second, Kind: clerksim.Fixed, Headers: clerksim.RetryAfter}

// chaos is servers under load and faults, and what was observed.
type chaos struct {
	lab    *lab
	clerk  *clerk
	redis  *redis // nil: a single server
	nodes  []*node
	raw    *rawClient
	rnd    *rand.Rand // used by the goroutine that causes faults only
	ids    []string
	emails map[string]string // by id
	busy   int

	mu      sync.Mutex
	written map[string]int64     // newest version at Clerk, by user; guarded by mu
	acked   map[string]int64     // newest version acknowledged by InvalidateUsers, by user; guarded by mu
	going   string               // the last fault; guarded by mu
	calls   map[string]int       // by outcome; guarded by mu
	made    int                  // calls; guarded by mu
	late    []callMade           // calls that ended after their deadlines; guarded by mu
	broken  map[promise][]string // guarded by mu
}

// callMade is a completed call.
type callMade struct {
	method, node  string
	going         string // the last fault
	begin         time.Time
	took, timeout time.Duration // without the time for which the server was frozen
	frozen        time.Duration // how long the server was frozen
	killed        bool          // the server was killed during the call
	ending        ending
}

func chaosScenarios() []scenario {
	return []scenario{
		{"chaos/alone", true, func(ctx context.Context, l *lab) ([]row, error) { return l.chaos(ctx, "chaos/alone", 1) }},
		{"chaos/three", true, func(ctx context.Context, l *lab) ([]row, error) { return l.chaos(ctx, "chaos/three", 3) }},
	}
}

// chaos causes faults for the lab's duration, with one server, or with several that share
// a Redis.
func (l *lab) chaos(ctx context.Context, name string, servers int) ([]row, error) {
	dir, err := os.MkdirTemp("", "benchquota")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ctx, end := context.WithCancel(ctx)
	defer end()
	x := &chaos{going: "nothing",
		lab: l, rnd: rand.New(rand.NewPCG(l.seed, 0)), raw: newRawClient(), busy: chaosBusy,
		emails: map[string]string{}, written: map[string]int64{}, acked: map[string]int64{},
		calls: map[string]int{}, broken: map[promise][]string{},
	}
	defer x.stop()
	if err := x.start(ctx, dir, servers); err != nil {
		return nil, err
	}
	before, err := x.states(ctx)
	if err != nil {
		return nil, err
	}
	c, err := l.startControl(ctx)
	if err != nil {
		return nil, err
	}
	load, rest := context.WithCancel(ctx)
	defer rest()
	wait := x.load(load)
	begin := time.Now()
	recoveries, troubleErr := x.pass(ctx, begin.Add(l.duration), c)
	rest()
	wait()
	if troubleErr != nil {
		return nil, troubleErr
	}
	x.judgeDeadlines(c)
	if c.busy() {
		for i := range recoveries {
			recoveries[i].allowed += recovery / 2
		}
	}
	return x.report(ctx, name, before, recoveries, c)
}

// start starts everything and reads all users once.
func (x *chaos) start(ctx context.Context, dir string, servers int) (err error) {
	port, err := freePort()
	if err != nil {
		return err
	}
	x.clerk, err = x.lab.startClerk(ctx, chaosQuota, chaosLatency, chaosUsers,
		"--webhook-url", "http://"+net.JoinHostPort("127.0.0.1", port)+"/webhooks/clerk",
		"--webhook-reorder", "300ms", "--webhook-repeat", "1", "--webhook-forge", "0.1")
	if err != nil {
		return err
	}
	shared := []string{"--max-in-flight", fmt.Sprint(chaosInFlight)}
	if servers > 1 {
		if x.redis, err = startRedis(ctx); err != nil {
			return err
		}
		shared = append(shared, "--redis-url", "redis://"+x.redis.address())
	} else {
		shared = append(shared, "--state-dir", dir)
	}
	for i := range servers {
		n := &node{name: fmt.Sprintf("server %d", i), flags: slices.Clone(shared)}
		if i == 0 {
			n.flags = append(n.flags, "--webhook-listen", net.JoinHostPort("127.0.0.1", port))
		}
		if err := n.start(ctx, x.lab, x.clerk); err != nil {
			return err
		}
		x.nodes = append(x.nodes, n)
	}
	return x.meet(ctx)
}

// meet reads all users page by page.
func (x *chaos) meet(ctx context.Context) error {
	s, _ := x.nodes[0].now()
	req := &clerkgatev1.ListUsersRequest{PageSize: 500}
	for {
		page, err := s.users(0).ListUsers(ctx, req)
		if err != nil {
			return err
		}
		for _, u := range page.Users {
			x.ids = append(x.ids, u.Id)
			for _, e := range u.EmailAddresses {
				x.emails[u.Id] = e.EmailAddress
			}
			if x.emails[u.Id] == "" {
				return fmt.Errorf("%s has no e-mail address", u.Id)
			}
		}
		if req.PageToken = page.NextPageToken; req.PageToken == "" {
			break
		}
	}
	if len(x.ids) != chaosUsers {
		return fmt.Errorf("there are %d users, want %d", len(x.ids), chaosUsers)
	}
	return nil
}

func (x *chaos) stop() {
	x.raw.close()
	for _, n := range x.nodes {
		s, _ := n.now()
		s.close()
		s.kill()
	}
	if x.redis != nil {
		x.redis.kill()
	}
	if x.clerk != nil {
		x.clerk.stop()
	}
}

// load starts the load. It ends when ctx does; wait returns after that.
func (x *chaos) load(ctx context.Context) (wait func()) {
	var all sync.WaitGroup
	for i, n := range x.nodes {
		for k, part := range parts {
			for j := range part.count {
				a := &actor{
					chaos: x, node: n, name: fmt.Sprintf("%s%d", part.name, j),
					rnd: rand.New(rand.NewPCG(x.lab.seed, uint64(1+100*i+10*k+j))),
				}
				all.Go(func() { a.run(ctx, part.act) })
			}
		}
	}
	return all.Wait
}

// recoveryTime is the time from the end of a fault to the first success.
type recoveryTime struct {
	trouble, node string
	took, allowed time.Duration
}

// pass causes one fault after the other until end.
func (x *chaos) pass(ctx context.Context, end time.Time, c *control) (all []recoveryTime, err error) {
	const limit = 15 * time.Second
	if err := wait(ctx, time.Second); err != nil {
		return nil, err
	}
	for {
		for _, t := range x.troubles() {
			if !time.Now().Before(end) {
				return all, nil
			}
			x.mu.Lock()
			x.going = t.name
			x.mu.Unlock()
			if err := t.pass(ctx); err != nil {
				return all, fmt.Errorf("%s: %w", t.name, err)
			}
			over := time.Now()
			for _, n := range x.nodes {
				r := recoveryTime{trouble: t.name, node: n.name, took: n.firstAfter(ctx, over, limit)}
				r.allowed = t.holds + recovery + 4*c.delay(over, over.Add(r.took))
				all = append(all, r)
			}
			if err := wait(ctx, 500*time.Millisecond); err != nil {
				return all, err
			}
		}
	}
}

// fault records a broken invariant.
func (x *chaos) fault(p promise, format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.broken[p] = append(x.broken[p], fmt.Sprintf(format, args...))
}

func (x *chaos) noteVersion(of map[string]int64, id string, version int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	of[id] = max(of[id], version)
}

// states measures each server.
func (x *chaos) states(ctx context.Context) ([]state, error) {
	var all []state
	for _, n := range x.nodes {
		s, _ := n.now()
		m := otherAddresses.FindStringSubmatch(s.out.String())
		if m == nil {
			return nil, errors.New("the server has not logged its addresses")
		}
		st, err := x.clerk.measure(ctx, s.cmd.Process.Pid, m[1])
		if err != nil {
			return nil, err
		}
		all = append(all, st)
	}
	return all, nil
}

// summary returns the number of calls by outcome.
func (x *chaos) summary() string {
	var lines []string
	for what, n := range x.calls {
		lines = append(lines, fmt.Sprintf("%6d %s", n, what))
	}
	slices.Sort(lines)
	slices.Reverse(lines)
	return strings.Join(lines, "\n")
}
