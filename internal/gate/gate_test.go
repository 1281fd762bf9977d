package gate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/quota"
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
		cfg.Upstream = up
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
		checkStats(t, g, clerk)
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

func TestLookupsThatWaitShareRequests(t *testing.T) {
	clerk := &fakeClerk{latency: 20 * time.Millisecond}
	cfg := Config{Quota: quota.Config{Limit: 100, Burst: 200}}
	inBubble(t, clerk, cfg, func(t *testing.T, g *Gate) {
		var callers sync.WaitGroup
		for _, id := range userIDs("", 1000) {
			callers.Go(func() {
				r := one(t.Context(), g, id, Options{Caller: id})
				if r.Err != nil || r.User.GetId() != id {
					t.Errorf("%s: got %v, %v", id, r.User, r.Err)
				}
			})
		}
		callers.Wait()
		if n := clerk.count(); n > 12 {
			t.Errorf("1,000 lookups cost %d requests, want at most 12", n)
		}
	})
}

func TestALoneLookupGoesAtOnce(t *testing.T) {
	clerk := &fakeClerk{}
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		for range 50 { // while over half of the window is free
			start := time.Now()
			r := one(t.Context(), g, "user_1", Options{})
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			if !r.FetchTime.Equal(start) {
				t.Fatalf("waited for %v", r.FetchTime.Sub(start))
			}
		}
	})
}

// TestLookupsGatherBesideOneInFlight: while less than half of the quota is free, a
// lookup that is not full waits for the one under way; while more is free, for two.
func TestLookupsGatherBesideOneInFlight(t *testing.T) {
	for _, tt := range []struct{ spent, flights int }{{60, 1}, {0, 2}} {
		clerk := &fakeClerk{}
		inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
			for range tt.spent {
				if _, err := g.List(t.Context(), clerkapi.ListParams{}, Options{}); err != nil {
					t.Fatal(err)
				}
			}
			clerk.change(func() { clerk.latency = 5 * time.Second })
			var callers sync.WaitGroup
			for _, id := range userIDs("", 8) {
				callers.Go(func() { _ = one(t.Context(), g, id, Options{}) })
				time.Sleep(250 * time.Millisecond)
			}
			if n := g.Status().InFlight; n != tt.flights {
				t.Errorf("%d lookups under way after %d requests, want %d", n, tt.spent, tt.flights)
			}
			callers.Wait()
		})
	}
}

func TestOneFlightPerID(t *testing.T) {
	clerk := &fakeClerk{latency: time.Second}
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		var callers sync.WaitGroup
		ask := func(o Options) {
			callers.Go(func() {
				if r := one(t.Context(), g, "user_1", o); r.Err != nil {
					t.Error(r.Err)
				}
			})
			synctest.Wait()
		}
		for range 10 {
			ask(Options{})
		}
		if n := clerk.count(); n != 1 {
			t.Errorf("%d requests for one id, want 1", n)
		}
		start := time.Now()
		callers.Go(func() {
			r := one(t.Context(), g, "user_1", Options{Fresh: true})
			if r.FetchTime.Before(start) {
				t.Error("a fresh lookup got an answer that was asked for before it")
			}
		})
		synctest.Wait()
		callers.Wait()
		if n := clerk.count(); n != 2 {
			t.Errorf("%d requests, want 2: a fresh lookup joins none that has left", n)
		}
	})
}

func TestTheLastOneOutCancelsWhatWasNotSent(t *testing.T) {
	clerk := &fakeClerk{latency: 50 * time.Millisecond}
	cfg := Config{Quota: quota.Config{Limit: 1}}
	inBubble(t, clerk, cfg, func(t *testing.T, g *Gate) {
		if r := one(t.Context(), g, "user_first", Options{}); r.Err != nil {
			t.Fatal(r.Err)
		}
		var callers sync.WaitGroup
		ctx, leave := context.WithCancel(t.Context())
		for _, who := range []string{"a", "b"} {
			callers.Go(func() {
				if r := one(ctx, g, "user_gone", Options{Caller: who}); !errors.Is(r.Err, context.Canceled) {
					t.Errorf("got %v, want the context's error", r.Err)
				}
			})
		}
		stays, stayLeave := context.WithCancel(t.Context())
		for _, c := range []context.Context{ctx, stays} {
			callers.Go(func() {
				r := one(c, g, "user_shared", Options{})
				if c == stays && r.Err != nil {
					t.Errorf("the one who stays got %v", r.Err)
				}
			})
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		if d := g.Status().Queue[Interactive].Depth; d != 1 {
			t.Errorf("%d wants wait, want only the one that somebody still waits for", d)
		}
		callers.Wait()
		stayLeave()
		for _, ids := range clerk.requests {
			for _, id := range ids {
				if id == "user_gone" {
					t.Error("what nobody waited for was sent")
				}
			}
		}
	})
}

func TestAWantIsQueuedForEachWhoWants(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	inBubble(t, clerk, Config{Quota: quota.Config{Limit: 1}}, func(t *testing.T, g *Gate) {
		spend(t, g)
		ctx, leave := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		callers.Go(func() { _ = one(ctx, g, "user_1", Options{Caller: "leaves"}) })
		callers.Go(func() { _ = one(t.Context(), g, "user_1", Options{Caller: "stays"}) })
		queued := func() map[string]int {
			synctest.Wait()
			m := map[string]int{}
			for _, c := range g.Status().Callers {
				m[c.Name] = c.Queued
			}
			return m
		}
		if q := queued(); q["leaves"] != 1 || q["stays"] != 1 {
			t.Errorf("queued %v, want the want in the line of both", q)
		}
		leave()
		if q := queued(); q["leaves"] != 0 || q["stays"] != 1 {
			t.Errorf("queued %v after one has left", q)
		}
		callers.Wait()
	})
}

func TestA429IsNoTry(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	clerk.reply = func(n int, _ []string) error {
		if n <= 5 { // more than there are tries
			return limited
		}
		return nil
	}
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		var callers sync.WaitGroup
		callers.Go(func() {
			if r := one(t.Context(), g, "user_1", Options{}); r.Err != nil {
				t.Errorf("the patient one got %v", r.Err)
			}
		})
		callers.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			r := one(ctx, g, "user_1", Options{})
			var e *Error
			if !errors.As(r.Err, &e) || e.Kind != ErrRateLimited || e.RetryAfter != 2*time.Second {
				t.Errorf("the hurried one got %v, want to be told that the key is held for 2s", r.Err)
			}
			if took := time.Since(start); took > 100*time.Millisecond {
				t.Errorf("... and was told so after %v, want at once", took)
			}
		})
		synctest.Wait()
		callers.Wait()
		if s := g.Status(); s.Totals.RateLimited != 5 || s.Totals.Retries != 0 {
			t.Errorf("counted %+v, want 5 times limited and no retry", s.Totals)
		}
	})
}

func TestRetriesStayInsideTriesDeadlineAndBudget(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fails int
		err   error
		want  int // requests
		ok    bool
	}{
		{"a passing failure", 2, down, 3, true},
		{"a lasting failure", 99, down, 3, false},
		{"a bad answer", 1, &clerkapi.Error{Kind: clerkapi.ErrBadAnswer, Status: 200}, 2, true},
		{"a lost connection", 1, lostLink, 2, true},
		{"not sent", 1, unsent, 2, true},
		{"a refused list", 99, refused, 1, false},
		{"the plan's limit", 99, &clerkapi.Error{Kind: clerkapi.ErrPlanLimit, Status: 402}, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clerk := &fakeClerk{latency: 10 * time.Millisecond}
			clerk.reply = func(n int, _ []string) error {
				if n <= tt.fails {
					return tt.err
				}
				return nil
			}
			inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
				_, err := g.List(t.Context(), clerkapi.ListParams{}, Options{})
				if (err == nil) != tt.ok {
					t.Errorf("got %v", err)
				}
				if err != nil && !errors.Is(err, tt.err) {
					t.Errorf("got %v, want Clerk's own error", err)
				}
				if n := clerk.count(); n != tt.want {
					t.Errorf("%d requests, want %d", n, tt.want)
				}
			})
		})
	}
}

func TestRetriesAreATenthOfRequests(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	clerk.reply = func(n int, _ []string) error {
		if n%3 == 0 {
			return down
		}
		return nil
	}
	inBubble(t, clerk, Config{Quota: quota.Config{Limit: 1000}}, func(t *testing.T, g *Gate) {
		for range 200 {
			_, _ = g.List(t.Context(), clerkapi.ListParams{}, Options{})
		}
		if s := g.Status().Totals; s.Retries < s.Requests/20 || s.Retries > s.Requests/10+retryFloor {
			t.Errorf("%d retries among %d requests, want a tenth", s.Retries, s.Requests)
		}
	})
}

func TestTheRetryBudget(t *testing.T) {
	var b retryBudget
	now := time.Unix(1000, 0)
	for range 3 {
		if !b.spend(now) {
			t.Fatal("three retries per 10 s are always allowed")
		}
	}
	if b.spend(now) {
		t.Fatal("a fourth retry, with no requests")
	}
	for range 50 {
		b.sent(now)
	}
	for range 2 {
		if !b.spend(now) {
			t.Fatal("with 50 requests 5 retries are allowed")
		}
	}
	if b.spend(now) {
		t.Fatal("a sixth retry for 50 requests")
	}
	if !b.spend(now.Add(10 * time.Second)) {
		t.Fatal("after ten seconds all is forgotten")
	}
}

func TestTheBreakerOpensAndComesBackByItself(t *testing.T) {
	var back time.Time
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	clerk.reply = func(int, []string) error {
		if back.IsZero() || time.Now().Before(back) {
			return down
		}
		return nil
	}
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		for range 3 { // which one caller's query draws, again and again: a probe decides
			_ = one(t.Context(), g, "user_1", Options{})
		}
		r := one(t.Context(), g, "user_1", Options{})
		var e *Error
		if !errors.As(r.Err, &e) || e.Kind != ErrBreakerOpen || e.RetryAfter <= 0 || !errors.Is(r.Err, clerkapi.ErrUnavailable) {
			t.Fatalf("got %v, want the breaker open, the time to come back and the cause", r.Err)
		}
		before := clerk.count()
		time.Sleep(10 * time.Second)
		if n := clerk.count() - before; n < 9 || n > 10 {
			t.Errorf("%d probes in 10 s, want one per second", n)
		}
		if s := g.Status().Breaker; s.State != Open || s.TimesOpened < 2 {
			t.Errorf("the breaker is %+v", s)
		}
		clerk.change(func() { back = time.Now() })
		time.Sleep(1100 * time.Millisecond)
		if s := g.Status().Breaker; s.State != Closed {
			t.Errorf("the breaker is %+v after Clerk came back", s)
		}
		if r := one(t.Context(), g, "user_1", Options{}); r.Err != nil {
			t.Error(r.Err)
		}
	})
}

func TestANeutralProbeFreesItsSlot(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	var probes int
	clerk.reply = func(n int, _ []string) error {
		if n <= 7 { // five tries, the probe that these cause, and one that left beside it
			return down
		}
		if probes++; probes == 1 {
			return limited
		}
		return nil
	}
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		for range 3 {
			_ = one(t.Context(), g, "user_1", Options{})
		}
		time.Sleep(1500 * time.Millisecond)
		if s := g.Status().Breaker; s.State != HalfOpen {
			t.Errorf("the breaker is %+v after a probe that got a 429, want half open", s)
		}
		time.Sleep(3500 * time.Millisecond)
		if s := g.Status().Breaker; s.State != Closed {
			t.Errorf("the breaker is %+v, want closed by the second probe", s)
		}
	})
}

func TestARefusedKeyIsProbed(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	good := false
	clerk.reply = func(int, []string) error {
		if !good {
			return badKey
		}
		return nil
	}
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		for range 5 {
			if r := one(t.Context(), g, "user_1", Options{}); !errors.Is(r.Err, clerkapi.ErrKeyRejected) {
				t.Errorf("got %v", r.Err)
			}
		}
		if n := clerk.count(); n != 2 {
			t.Errorf("%d requests with a refused key, want 1 and the probe that believes it", n)
		}
		time.Sleep(31 * time.Second)
		if n := clerk.count() - 2; n < 30 || n > 31 {
			t.Errorf("%d probes in 31 s, want one each second", n)
		}
		time.Sleep(2 * time.Minute)
		before := clerk.count()
		time.Sleep(time.Minute)
		if n := clerk.count() - before; n < 5 || n > 6 {
			t.Errorf("%d probes in a minute of a key that has been refused for long, want one per 10 s", n)
		}
		clerk.change(func() { good = true })
		time.Sleep(keyProbeLast + time.Second)
		if r := one(t.Context(), g, "user_1", Options{}); r.Err != nil {
			t.Errorf("after the key was accepted: %v", r.Err)
		}
	})
}

func TestARefusedBatchIsHalved(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	clerk.reply = func(_ int, ids []string) error {
		for _, id := range ids {
			if id == "user_37" {
				return refused
			}
		}
		return nil
	}
	inBubble(t, clerk, Config{Quota: quota.Config{Limit: 1000}}, func(t *testing.T, g *Gate) {
		for i, r := range g.Lookup(t.Context(), userIDs("", 100), Options{}) {
			if i == 37 {
				if !errors.Is(r.Err, clerkapi.ErrRejected) {
					t.Errorf("the culprit got %v", r.Err)
				}
			} else if r.Err != nil {
				t.Errorf("user %d got %v", i, r.Err)
			}
		}
		if n := clerk.count(); n > 1+maxSearch {
			t.Errorf("%d requests, want at most %d", n, 1+maxSearch)
		}
		if s := g.Status(); s.Totals.Retries != 0 {
			t.Errorf("%d retries, halves are none", s.Totals.Retries)
		}
	})
}

func TestABatchThatIsTooLongIsRemembered(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	clerk.reply = func(_ int, ids []string) error {
		if len(ids) > 60 {
			return tooLong
		}
		return nil
	}
	inBubble(t, clerk, Config{Quota: quota.Config{Limit: 1000}}, func(t *testing.T, g *Gate) {
		const rounds = 50
		for round := range rounds {
			for _, r := range g.Lookup(t.Context(), userIDs(fmt.Sprint(round, "x"), 100), Options{}) {
				if r.Err != nil {
					t.Error(r.Err)
				}
			}
		}
		// Two each, and the cost of the search for the size.
		if n := clerk.count(); n > 2*rounds+20 {
			t.Errorf("%d rounds cost %d requests, want little more than two each", rounds, n)
		}
	})
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

func TestCallersTakeTurns(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	inBubble(t, clerk, Config{Quota: quota.Config{Limit: 10, Window: time.Second}}, func(t *testing.T, g *Gate) {
		var callers sync.WaitGroup
		done := map[string]int{}
		var mu sync.Mutex
		ctx, stop := context.WithCancel(t.Context())
		spend(t, g) // so that all are there before the first turn
		for who, n := range map[string]int{"flood": 500, "light": 50, "heavy": 200} {
			o := Options{Caller: who, Party: Party{Peer: who, Weight: 1}}
			if who == "heavy" {
				o.Party.Weight = 3
			}
			for range n {
				callers.Go(func() {
					if _, err := g.List(ctx, clerkapi.ListParams{}, o); err == nil {
						mu.Lock()
						done[who]++
						mu.Unlock()
					}
				})
			}
		}
		time.Sleep(10 * time.Second)
		stop()
		callers.Wait()
		// 5 turns in a round: 1 flood's, 1 light's, 3 heavy's.
		if d := done["flood"] - done["light"]; d < -1 || d > 1 {
			t.Errorf("got %v, want flood and light to get the same", done)
		}
		if r := float64(done["heavy"]) / float64(done["light"]); r < 2.7 || r > 3.3 {
			t.Errorf("got %v, want heavy to get three times as much", done)
		}
	})
}

func TestEveryTenthPermitIsBatchs(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	inBubble(t, clerk, Config{Quota: quota.Config{Limit: 10, Window: time.Second}}, func(t *testing.T, g *Gate) {
		var callers sync.WaitGroup
		var done [2]int
		var mu sync.Mutex
		ctx, stop := context.WithCancel(t.Context())
		spend(t, g)
		for _, p := range []Priority{Interactive, Batch} {
			for range 200 {
				callers.Go(func() {
					if _, err := g.List(ctx, clerkapi.ListParams{}, Options{Priority: p}); err == nil {
						mu.Lock()
						done[p]++
						mu.Unlock()
					}
				})
			}
		}
		time.Sleep(10 * time.Second)
		stop()
		callers.Wait()
		if sum := done[0] + done[1]; done[Batch] < sum/10-1 || done[Batch] > sum/10+1 {
			t.Errorf("batch got %d of %d, want a tenth", done[Batch], sum)
		}
	})
}

func TestRefusedOnArrival(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	cfg := Config{Quota: quota.Config{Limit: 10}, QueueLimit: 30, CallerQueueLimit: 20}
	inBubble(t, clerk, cfg, func(t *testing.T, g *Gate) {
		var callers sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		ask := func(who string, n int) {
			for range n {
				callers.Go(func() { _, _ = g.List(ctx, clerkapi.ListParams{}, Options{Caller: who}) })
			}
			synctest.Wait()
		}
		refusal := func(who string, timeout time.Duration) *Error {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			start := time.Now()
			_, err := g.List(ctx, clerkapi.ListParams{}, Options{Caller: who})
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%s got %v, want a refusal", who, err)
			}
			if took := time.Since(start); took != 0 {
				t.Errorf("refused after %v, want at once", took)
			}
			if e.RetryAfter <= 0 {
				t.Errorf("refused with %v and no time to come back", e)
			}
			return e
		}
		spend(t, g)
		ask("a", 20)
		if e := refusal("b", time.Second); e.Kind != ErrDeadlineTooShort {
			t.Errorf("got %v, want %v", e, ErrDeadlineTooShort)
		}
		if e := refusal("a", time.Hour); e.Kind != ErrCallerQueueFull {
			t.Errorf("got %v, want %v", e, ErrCallerQueueFull)
		}
		ask("b", 10)
		if e := refusal("c", time.Hour); e.Kind != ErrQueueFull {
			t.Errorf("got %v, want %v", e, ErrQueueFull)
		}
		stop()
		callers.Wait()
	})
}

func TestShutdownAnswersAll(t *testing.T) {
	clerk := &fakeClerk{latency: time.Minute}
	cfg := Config{Quota: quota.Config{Limit: 1}}
	inBubble(t, clerk, cfg, func(t *testing.T, g *Gate) {
		for _, id := range userIDs("", 10) {
			go func() { // the bubble waits for it
				if r := one(context.Background(), g, id, Options{}); !errors.Is(r.Err, ErrShuttingDown) {
					t.Errorf("%s got %v, want %v", id, r.Err, ErrShuttingDown)
				}
			}()
		}
		synctest.Wait()
	})
}

func TestAPanicInReadingAnAnswerIsABadAnswer(t *testing.T) {
	clerk := &fakeClerk{}
	clerk.user = func(string) clerkapi.UserResult { panic("boom") }
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		if r := one(t.Context(), g, "user_1", Options{}); !errors.Is(r.Err, clerkapi.ErrBadAnswer) {
			t.Errorf("got %v, want %v", r.Err, clerkapi.ErrBadAnswer)
		}
	})
}

func TestAPermitThatWasNotUsedGoesBack(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	clerk.reply = func(n int, _ []string) error {
		if n <= 2 {
			return unsent
		}
		return nil
	}
	inBubble(t, clerk, Config{Quota: quota.Config{Limit: 5}}, func(t *testing.T, g *Gate) {
		if _, err := g.List(t.Context(), clerkapi.ListParams{}, Options{}); err != nil {
			t.Fatal(err)
		}
		if s := g.Status(); s.Held != 1 || s.Totals.Requests != 1 {
			t.Errorf("%d permits held and %d requests counted, want 1 of each: the others were not sent", s.Held, s.Totals.Requests)
		}
	})
}

func TestALostRequestKeepsItsPermit(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	clerk.reply = func(int, []string) error { return lostLink }
	cfg := Config{Quota: quota.Config{Limit: 5, LostHold: 20 * time.Second}}
	inBubble(t, clerk, cfg, func(t *testing.T, g *Gate) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, _ = g.List(ctx, clerkapi.ListParams{}, Options{}) // once: the deadline leaves no time for retries
		time.Sleep(25 * time.Second)
		if s := g.Status(); s.Held != 1 {
			t.Errorf("%d permits held after 25 s, want the lost one for twice the timeout and a window", s.Held)
		}
	})
}
