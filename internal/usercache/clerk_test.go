package usercache

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/usage"
)

// fakeClerk holds users by version; each change creates the next version. It reads at a
// random moment of a request, like Clerk.
type fakeClerk struct {
	latency time.Duration // maximum, split at random before and after the read
	back    time.Duration // additional time between the read and the answer

	mu       sync.Mutex
	users    map[string]int64 // versions; guarded by mu
	gone     map[string]bool  // the deleted ones; guarded by mu
	fail     error            // guarded by mu
	requests int              // guarded by mu
	asked    int              // ids; guarded by mu
}

// userOf returns a user whose updated_at, in seconds, is its version, which both views
// show.
func userOf(id string, version int64) *clerkgatev1.User {
	return &clerkgatev1.User{
		Id:                  id,
		UpdatedAt:           timestamppb.New(time.Unix(version, 0)),
		PublicMetadataJson:  fmt.Sprintf(`{"version":%d}`, version),
		PrivateMetadataJson: proto.String(fmt.Sprintf(`{"secret":%d}`, version)),
	}
}

func (c *fakeClerk) pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	select {
	case <-time.After(rand.N(d)):
		return nil
	case <-ctx.Done():
		return &clerkapi.Error{Kind: clerkapi.ErrAbandoned, Err: ctx.Err()}
	}
}

func (c *fakeClerk) LookupUsers(ctx context.Context, ids []string) (*clerkapi.Lookup, error) {
	if err := c.pause(ctx, c.latency/2); err != nil {
		return nil, err
	}
	c.mu.Lock()
	fail, users := c.fail, maps.Clone(c.users)
	maps.DeleteFunc(users, func(id string, _ int64) bool { return c.gone[id] })
	c.requests++
	c.asked += len(ids)
	c.mu.Unlock()
	if err := c.pause(ctx, c.latency/2); err != nil {
		return nil, err
	}
	time.Sleep(c.back)
	if fail != nil {
		return nil, fail
	}
	l := &clerkapi.Lookup{}
	for _, id := range ids {
		if v, ok := users[id]; ok {
			l.Results = append(l.Results, clerkapi.UserResult{User: userOf(id, v)})
		} else {
			l.Results = append(l.Results, clerkapi.UserResult{Err: clerkapi.ErrNotFound})
		}
	}
	return l, nil
}

func (c *fakeClerk) ListUsers(ctx context.Context, _ clerkapi.ListParams) (*clerkapi.Page, error) {
	c.mu.Lock()
	ids, fail := make([]string, 0, len(c.users)), c.fail
	for id := range c.users {
		ids = append(ids, id)
	}
	c.mu.Unlock()
	if fail != nil {
		return nil, fail
	}
	p := &clerkapi.Page{}
	if len(ids) == 0 {
		return p, nil
	}
	l, err := c.LookupUsers(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, r := range l.Results {
		if r.Err == nil {
			p.Users = append(p.Users, r.User)
		}
	}
	return p, nil
}

func (c *fakeClerk) CountUsers(context.Context, *clerkgatev1.UserFilter) (*clerkapi.Count, error) {
	return &clerkapi.Count{}, nil
}

// change creates and returns the next version of a user. A deleted user stays deleted.
func (c *fakeClerk) change(id string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users == nil {
		c.users = make(map[string]int64)
	}
	c.users[id]++
	return c.users[id]
}

func (c *fakeClerk) remove(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone == nil {
		c.gone = make(map[string]bool)
	}
	c.gone[id] = true
}

func (c *fakeClerk) setFail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = err
}

func (c *fakeClerk) count() (requests, asked int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests, c.asked
}

// instance is a cache with a gate and a Clerk of its own.
type instance struct {
	*Cache
	gate *gate.Gate
}

// newInstance runs an instance until the test, or the bubble, ends; stop ends it earlier.
func newInstance(t testing.TB, clerk *fakeClerk, cfg Config, redis sharedLevel) (r instance, stop func()) {
	t.Helper()
	store, err := NewStore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if redis != nil {
		store.redis = redis
	}
	g := gate.New(gate.Config{Upstream: clerk, Quota: quota.Config{Limit: 100_000, Window: time.Second}, Stamp: store.Stamp, Keep: store.Keep})
	c := New(store, g, usage.New())
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{store.Run, c.Run, g.Run} {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	return instance{c, g}, func() {
		cancel()
		wg.Wait()
	}
}

// get looks one user up and returns the version: 0 if there is no such user, -1 if
// the lookup failed.
func (r instance) get(t testing.TB, id string, o Options) (int64, Result) {
	t.Helper()
	res := r.Lookup(context.Background(), []string{id}, o)[0]
	switch {
	case isNotFound(res.Err):
		return 0, res
	case res.Err != nil:
		return -1, res
	}
	u := decodeEntry(t, res.Entry, o.View)
	want := userOf(id, u.UpdatedAt.AsTime().Unix())
	if o.View != clerkgatev1.UserView_USER_VIEW_FULL {
		want.PrivateMetadataJson = nil
	}
	if u.Id != id || u.PublicMetadataJson != want.PublicMetadataJson || u.GetPrivateMetadataJson() != want.GetPrivateMetadataJson() {
		t.Errorf("an answer of mixed halves: %v", u)
	}
	return u.UpdatedAt.AsTime().Unix(), res
}
