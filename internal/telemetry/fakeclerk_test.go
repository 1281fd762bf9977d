package telemetry

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// fakeClerk answers a gate after latency: with the error that reply returns, or with the
// users asked for.
type fakeClerk struct {
	latency time.Duration
	reply   func(n int, ids []string) error // n counts requests from 1; ids is nil for calls; called under mu

	mu sync.Mutex
	n  int // requests; guarded by mu
}

func (c *fakeClerk) arrive(ctx context.Context, ids []string) error {
	c.mu.Lock()
	c.n++
	n := c.n
	c.mu.Unlock()
	select {
	case <-time.After(c.latency):
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

func (c *fakeClerk) LookupUsers(ctx context.Context, ids []string) (*clerkapi.Lookup, error) {
	if err := c.arrive(ctx, ids); err != nil {
		return nil, err
	}
	l := &clerkapi.Lookup{}
	for _, id := range ids {
		l.Results = append(l.Results, clerkapi.UserResult{User: &clerkgatev1.User{Id: id}})
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

// Failures of Clerk's.
var (
	down    = &clerkapi.Error{Kind: clerkapi.ErrUnavailable, Status: 503}
	refused = &clerkapi.Error{Kind: clerkapi.ErrRejected, Status: 422}
	badKey  = &clerkapi.Error{Kind: clerkapi.ErrKeyRejected, Status: 401}
	limited = &clerkapi.Error{Kind: clerkapi.ErrRateLimited, Status: 429, RetryAfter: 2 * time.Second}
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

// atGate runs a gate before clerk in virtual time until f returns.
func atGate(t *testing.T, clerk *fakeClerk, cfg gate.Config, f func(*testing.T, *gate.Gate)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg.Upstream = clerk
		g := gate.New(cfg)
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
	})
}

func userIDs(n int) []string {
	s := make([]string, n)
	for i := range s {
		s[i] = fmt.Sprint("user_", i)
	}
	return s
}

func lookUp(ctx context.Context, g *gate.Gate, id string) gate.Result {
	return g.Lookup(ctx, []string{id}, gate.Options{})[0]
}
