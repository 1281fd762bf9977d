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

	"google.golang.org/grpc/codes"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// What the chaos scenarios put on the servers.
const (
	chaosUsers    = 1200 // three pages of a walk
	chaosBusy     = 300  // of these are asked for by id
	chaosInFlight = 64
	chaosLatency  = 20 * time.Millisecond
)

// What they promise their callers.
const (
	lateness = 50 * time.Millisecond // beyond a deadline, on an idle machine
	// leadOfAnswers is how long before its deadline a call is answered, or a tenth of
	// its time if that is less.
	leadOfAnswers = 50 * time.Millisecond
	// resetShare is the share of the calls ending at their deadlines, besides one, that
	// may be reset though the control was not slow; twice as many on a busy machine.
	resetShare = 0.05
	// lateShare is the share of all calls that may be late on a busy machine.
	lateShare = 0.01
	recovery  = 2 * time.Second // to the first success
	// mostMemory is how much more a server may take than at the beginning, in bytes:
	// what is read from Clerk at once (docs/limits.md), as much of garbage, and users.
	mostMemory = 2*128*mib + 64*mib
	// kept are the goroutines and descriptors of one connection to Clerk, which stay open
	// for a while.
	keptGoroutines, keptDescriptors = 2, 1
)

// chaosQuota is short of window, so that its edges come often.
var chaosQuota = clerksim.Quota{Limit: 100, Window: time.Second, Kind: clerksim.Fixed, Headers: clerksim.RetryAfter}

// promise is something that must hold at all times.
type promise string

// The promises.
const (
	outcomes     promise = "one outcome per call, with its reason"
	deadlines    promise = "in time"
	identity     promise = "nobody else's user"
	versions     promise = "no older version at a replica"
	acknowledged promise = "no version older than acknowledged"
)

// chaos is servers under load while faults come and go, and what was seen.
type chaos struct {
	lab    *lab
	clerk  *clerk
	redis  *redis // nil: one server alone
	nodes  []*node
	raw    *rawClient
	rnd    *rand.Rand // of the goroutine that makes trouble
	ids    []string
	emails map[string]string // by id
	busy   int

	mu      sync.Mutex
	written map[string]int64     // by user: its newest version at Clerk; guarded by mu
	acked   map[string]int64     // ... that InvalidateUsers was answered for; guarded by mu
	going   string               // the last trouble that came; guarded by mu
	calls   map[string]int       // by what became of them; guarded by mu
	made    int                  // calls; guarded by mu
	late    []callMade           // those that ended after their deadlines; guarded by mu
	broken  map[promise][]string // guarded by mu
}

// callMade is a call as it went.
type callMade struct {
	method, node  string
	going         string // what trouble there was last
	begin         time.Time
	took, timeout time.Duration // without the time that the server was frozen for
	frozen        time.Duration // how long it was
	killed        bool          // the server was, meanwhile
	ending        ending
}

func chaosScenarios() []scenario {
	return []scenario{
		{"chaos/alone", true, func(ctx context.Context, l *lab) ([]row, error) { return l.chaos(ctx, "chaos/alone", 1) }},
		{"chaos/three", true, func(ctx context.Context, l *lab) ([]row, error) { return l.chaos(ctx, "chaos/three", 3) }},
	}
}

// chaos lets trouble pass for the lab's duration, over one server alone or so many
// that share a Redis.
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

// start runs everything, and reads everybody once.
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

// meet reads everybody by one page after the other.
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

// load begins the load, which goes on until ctx ends and wait returns.
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

// recovered is how long the first success took after a trouble had ended.
type recovered struct {
	trouble, node string
	took, allowed time.Duration
}

// pass lets one trouble after the other pass until end.
func (x *chaos) pass(ctx context.Context, end time.Time, c *control) (all []recovered, err error) {
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
				r := recovered{trouble: t.name, node: n.name, took: n.firstAfter(ctx, over, limit)}
				r.allowed = t.holds + recovery + 4*c.delay(over, over.Add(r.took))
				all = append(all, r)
			}
			if err := wait(ctx, 500*time.Millisecond); err != nil {
				return all, err
			}
		}
	}
}

// fault notes that a promise was broken.
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

// note counts a call, and judges its outcome. Only a server that was killed may leave
// calls without one.
func (x *chaos) note(c callMade) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.made++
	c.going = x.going
	e := c.ending
	switch {
	case c.killed && e.lost != nil:
		x.calls["lost with their server"]++
		return
	case e.lost != nil:
		x.calls["lost"]++
	case e.code == codes.OK:
		x.calls["OK"]++
	case e.reason == "":
		x.broken[outcomes] = append(x.broken[outcomes], c.String()+", without a reason")
		fallthrough
	default:
		x.calls[e.code.String()+" "+e.reason]++
	}
	if e.lost != nil || c.took > c.timeout+lateness && !c.killed {
		x.late = append(x.late, c)
	}
}

func (c callMade) String() string {
	how := fmt.Sprintf("%s %s %s", c.ending.code, c.ending.reason, c.ending.message)
	if c.ending.lost != nil {
		how = c.ending.lost.Error()
	}
	return fmt.Sprintf("%s at %s, %s with %s to go, and %s frozen, at or after %s: %s", c.method, c.node,
		c.took.Round(time.Millisecond), c.timeout, c.frozen.Round(time.Millisecond), c.going, how)
}

// judgeDeadlines judges the calls that were late or lost, as the control allows. gRPC
// resets a call at its deadline, so that a server that was delayed by more than the
// time that it keeps for the answer is no longer asked for it. Of the calls that end
// at their deadlines a few may be so anyway, and on a busy machine a few of all calls
// may be late.
func (x *chaos) judgeDeadlines(c *control) {
	var late, resets []string
	atDeadline := 0
	for what, n := range x.calls {
		if strings.HasPrefix(what, codes.DeadlineExceeded.String()) {
			atDeadline += n
		}
	}
	for _, l := range x.late {
		delay := c.delay(l.begin, l.begin.Add(l.took+l.frozen))
		switch {
		case l.took > l.timeout+lateness+delay:
			late = append(late, fmt.Sprintf("%s; %s after its deadline were allowed", l, (lateness+delay).Round(time.Millisecond)))
		case l.ending.lost == nil:
		case l.took+l.frozen < l.timeout:
			x.fault(outcomes, "%s", l)
		case delay+l.frozen < min(leadOfAnswers, l.timeout/10):
			resets = append(resets, l.String())
			atDeadline++
		default:
			x.calls["lost"]--
			x.calls["reset at their deadlines by a server that was as slow as the control"]++
		}
	}
	mostLate, mostResets := 0.0, resetShare
	if c.busy() {
		mostLate, mostResets = lateShare, 2*resetShare
	}
	x.judgeShare(deadlines, late, int(mostLate*float64(x.made)))
	x.judgeShare(outcomes, resets, 1+int(mostResets*float64(atDeadline)))
}

// judgeShare breaks a promise for all that failed to keep it, if those are more than most.
func (x *chaos) judgeShare(p promise, failed []string, most int) {
	if len(failed) <= most {
		return
	}
	for _, f := range failed {
		x.fault(p, "%s", f)
	}
}

// states measures each server.
func (x *chaos) states(ctx context.Context) ([]state, error) {
	var all []state
	for _, n := range x.nodes {
		s, _ := n.now()
		m := otherAddresses.FindStringSubmatch(s.out.String())
		if m == nil {
			return nil, errors.New("the server does not tell its addresses")
		}
		st, err := x.clerk.measure(ctx, s.cmd.Process.Pid, m[1])
		if err != nil {
			return nil, err
		}
		all = append(all, st)
	}
	return all, nil
}

// summary returns how often each outcome occurred.
func (x *chaos) summary() string {
	var lines []string
	for what, n := range x.calls {
		lines = append(lines, fmt.Sprintf("%6d %s", n, what))
	}
	slices.Sort(lines)
	slices.Reverse(lines)
	return strings.Join(lines, "\n")
}
