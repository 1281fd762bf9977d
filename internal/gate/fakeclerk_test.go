package gate

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// fakeClerk is a Clerk for tests in virtual time. It answers after latency: with the
// error that reply returns, or with the users asked for.
type fakeClerk struct {
	latency time.Duration
	reply   func(n int, ids []string) error // n counts requests from 1; ids is nil for calls; called under mu
	user    func(id string) clerkapi.UserResult

	mu       sync.Mutex
	requests [][]string // ids asked for; nil for lists and counts
	sent     []time.Time
	faults   []string
}

func (c *fakeClerk) arrive(ctx context.Context, ids []string) error {
	c.mu.Lock()
	c.requests = append(c.requests, ids)
	c.sent = append(c.sent, time.Now())
	n := len(c.requests)
	seen := map[string]bool{}
	for _, id := range ids {
		if seen[id] {
			c.faults = append(c.faults, id+" twice in a request")
		}
		seen[id] = true
	}
	if len(ids) > 100 {
		c.faults = append(c.faults, fmt.Sprint(len(ids), " ids in a request"))
	}
	c.mu.Unlock()
	c.mu.Lock()
	latency := c.latency
	c.mu.Unlock()
	select {
	case <-time.After(latency):
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.reply == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reply(n, ids)
}

// change runs f, which may change what reply reads.
func (c *fakeClerk) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *fakeClerk) LookupUsers(ctx context.Context, ids []string) (*clerkapi.Lookup, error) {
	if err := c.arrive(ctx, ids); err != nil {
		return nil, err
	}
	l := &clerkapi.Lookup{}
	for _, id := range ids {
		r := clerkapi.UserResult{User: &clerkgatev1.User{Id: id}}
		if c.user != nil {
			r = c.user(id)
		}
		l.Results = append(l.Results, r)
	}
	return l, nil
}

func (c *fakeClerk) ListUsers(ctx context.Context, _ clerkapi.ListParams) (*clerkapi.Page, error) {
	if err := c.arrive(ctx, nil); err != nil {
		return nil, err
	}
	return &clerkapi.Page{}, nil
}

func (c *fakeClerk) CountUsers(ctx context.Context, _ *clerkgatev1.UserFilter) (*clerkapi.Count, error) {
	if err := c.arrive(ctx, nil); err != nil {
		return nil, err
	}
	return &clerkapi.Count{Total: 42}, nil
}

func (c *fakeClerk) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.requests)
}

// Failures of Clerk's.
var (
	down     = &clerkapi.Error{Kind: clerkapi.ErrUnavailable, Status: 503}
	refused  = &clerkapi.Error{Kind: clerkapi.ErrRejected, Status: 422}
	tooLong  = &clerkapi.Error{Kind: clerkapi.ErrRejected, Status: 414}
	badKey   = &clerkapi.Error{Kind: clerkapi.ErrKeyRejected, Status: 401}
	limited  = &clerkapi.Error{Kind: clerkapi.ErrRateLimited, Status: 429, RetryAfter: 2 * time.Second}
	unsent   = &clerkapi.Error{Kind: clerkapi.ErrUnavailable, NotSent: true}
	lostLink = &clerkapi.Error{Kind: clerkapi.ErrUnavailable}
)

// first returns a reply that is err in the first d from the first request on.
func first(d time.Duration, err error) func(int, []string) error {
	var until time.Time
	return func(int, []string) error {
		if until.IsZero() {
			until = time.Now().Add(d)
		}
		if time.Now().Before(until) {
			return err
		}
		return nil
	}
}

// inBubble runs a gate before clerk in virtual time. When f returns, it stops the gate
// and checks that nothing is left in it.
func inBubble(t *testing.T, clerk *fakeClerk, cfg Config, f func(*testing.T, *Gate)) {
	t.Helper()
	inBubbleOf(t, clerk, clerk, cfg, f)
}

// inBubbleOf is inBubble for a Clerk that embeds a fakeClerk.
func inBubbleOf(t *testing.T, up upstream, clerk *fakeClerk, cfg Config, f func(*testing.T, *Gate)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg.Upstream, cfg.Observer = up, &recorder{}
		g := New(cfg)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = g.Run(ctx)
		}()
		f(t, g)
		stop()
		<-ended
		time.Sleep(10 * time.Second) // until callers have come to their deadlines
		checkSeen(t, g, clerk)
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.queued)+len(g.asked)+len(g.requests) != 0 {
			t.Errorf("left behind: %d queued, %d asked, %d requests", len(g.queued), len(g.asked), len(g.requests))
		}
		if g.occupancy.total != 0 || len(g.occupancy.byLine) != 0 {
			t.Errorf("left behind: %d waiters in %d lines", g.occupancy.total, len(g.occupancy.byLine))
		}
		if err := g.queue.CheckEmpty(); err != nil {
			t.Error(err)
		}
		for _, f := range clerk.faults {
			t.Error(f)
		}
	})
}

func userIDs(prefix string, n int) []string {
	s := make([]string, n)
	for i := range s {
		s[i] = fmt.Sprintf("user_%s%d", prefix, i)
	}
	return s
}

func one(ctx context.Context, g *Gate, id string, o Options) Result {
	return g.Lookup(ctx, []string{id}, o)[0]
}

// spend uses all permits that are free.
func spend(t *testing.T, g *Gate) {
	t.Helper()
	for g.Status().Available > 0 {
		if _, err := g.List(t.Context(), clerkapi.ListParams{}, Options{Caller: "first"}); err != nil {
			t.Fatal(err)
		}
	}
}
