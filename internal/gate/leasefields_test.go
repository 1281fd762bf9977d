package gate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/quota/statefile"
)

// TestARepeatedRequestIsTheSameLease: while it waits, once it is granted, and until it
// ends.
func TestARepeatedRequestIsTheSameLease(t *testing.T) {
	clerk := &fakeClerk{latency: 50 * time.Millisecond}
	inBubble(t, clerk, Config{Quota: quota.Config{Limit: 10}}, func(t *testing.T, g *Gate) {
		ask := LeaseRequest{Permits: 3, TTL: time.Minute, ID: "one"}
		spend(t, g) // so that both wait
		var ids [3]string
		var calls sync.WaitGroup
		for i := range ids {
			ctx := t.Context()
			if i == 1 { // leaves; the others are granted it all the same
				var cancel context.CancelFunc
				ctx, cancel = context.WithCancel(ctx)
				time.AfterFunc(time.Second, cancel)
			}
			calls.Go(func() {
				le, err := g.Acquire(ctx, ask, Options{Caller: "a", Priority: Priority(i % 2)})
				if (err != nil) != (i == 1) {
					t.Errorf("call %d: %v", i, err)
				}
				ids[i] = le.ID
			})
		}
		calls.Wait()
		if ids[0] == "" || ids[0] != ids[2] {
			t.Errorf("leases %q for one request", ids)
		}
		acquire := func(r LeaseRequest, o Options) (Lease, error) { return g.Acquire(t.Context(), r, o) }
		if le, err := acquire(ask, Options{Caller: "a"}); err != nil || le.ID != ids[0] {
			t.Errorf("again: %v, %v", le, err)
		}
		if s := g.Status(); s.Leased != 3 {
			t.Errorf("%d permits are lent", s.Leased)
		}
		other, err := acquire(LeaseRequest{Permits: 1, TTL: time.Minute, ID: "one"}, Options{Caller: "b"})
		if err != nil || other.ID == ids[0] {
			t.Errorf("another caller's: %v, %v", other, err)
		}
		for _, r := range []LeaseRequest{{Permits: 2, TTL: time.Minute, ID: "one"}, {Permits: 3, TTL: time.Second, ID: "one"}} {
			if _, err := acquire(r, Options{Caller: "a"}); !errors.Is(err, ErrRequestID) {
				t.Errorf("%+v: %v", r, err)
			}
		}
		if err := g.Release(t.Context(), ids[0], LeaseUse{}); err != nil {
			t.Fatal(err)
		}
		if le, err := acquire(ask, Options{Caller: "a"}); !errors.Is(err, ErrNoLease) {
			t.Errorf("after the release: %v, %v, want no second lease", le, err)
		}
		time.Sleep(time.Minute)
		if le, err := acquire(ask, Options{Caller: "a"}); err != nil || le.ID == ids[0] {
			t.Errorf("after its end: %v, %v, want a new lease", le, err)
		}
	})
}

// TestARefusedRequestMayBeMadeAgain: with the same id.
func TestARefusedRequestMayBeMadeAgain(t *testing.T) {
	inBubble(t, &fakeClerk{}, Config{Quota: quota.Config{Limit: 10}}, func(t *testing.T, g *Gate) {
		spend(t, g)
		for _, within := range []time.Duration{time.Second, 8 * time.Second} { // refused; left alone
			ctx, cancel := context.WithTimeout(t.Context(), within)
			if within > time.Second {
				ctx, cancel = context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
			}
			if le, err := g.Acquire(ctx, LeaseRequest{Permits: 5, ID: "one"}, Options{}); err == nil {
				t.Errorf("got %v", le)
			}
			cancel()
		}
		if _, err := g.Acquire(t.Context(), LeaseRequest{Permits: 5, ID: "one"}, Options{}); err != nil {
			t.Error(err)
		}
	})
}

// TestRequestIDsAreBounded: there are no more than a number of them, and they are
// forgotten after a time.
func TestRequestIDsAreBounded(t *testing.T) {
	inBubble(t, &fakeClerk{}, Config{Quota: quota.Config{Limit: 100}}, func(t *testing.T, g *Gate) {
		for i := range maxRequestIDs + 100 {
			le, err := g.Acquire(t.Context(), LeaseRequest{Permits: 1, TTL: MaxLeaseTTL, ID: fmt.Sprint(i)}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := g.Release(t.Context(), le.ID, LeaseUse{}); err != nil {
				t.Fatal(err)
			}
		}
		g.mu.Lock()
		if n := len(g.leases.byRequest); n > maxRequestIDs || len(g.leases.order) > maxRequestIDs {
			t.Errorf("%d request ids, %d leases remembered", n, len(g.leases.order))
		}
		g.mu.Unlock()
		time.Sleep(MaxLeaseTTL + time.Millisecond)
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.endLeases(time.Now()); len(g.leases.byRequest)+len(g.leases.order)+len(g.leases.byID) != 0 {
			t.Errorf("%d request ids are remembered for ever", len(g.leases.byRequest))
		}
	})
}

func TestALeaseLastsAsLongAsWasAsked(t *testing.T) {
	inBubble(t, &fakeClerk{}, Config{}, func(t *testing.T, g *Gate) {
		for ask, want := range map[time.Duration]time.Duration{0: 30 * time.Second, time.Second: time.Second, MaxLeaseTTL: MaxLeaseTTL} {
			le, err := g.Acquire(t.Context(), LeaseRequest{Permits: 1, TTL: ask}, Options{})
			if err != nil || time.Until(le.Expires) != want {
				t.Errorf("%v asked: it lasts %v, %v", ask, time.Until(le.Expires), err)
			}
		}
	})
}

func TestRequestsWithoutAnAnswerAreHeldLonger(t *testing.T) {
	cfg := Config{Quota: quota.Config{Limit: 10, LostHold: 20 * time.Second}}
	inBubble(t, &fakeClerk{}, cfg, func(t *testing.T, g *Gate) {
		le, err := g.Acquire(t.Context(), LeaseRequest{Permits: 4}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, use := range []LeaseUse{{Used: 2, Unanswered: 3}, {Used: AllUsed, Unanswered: 5}, {Used: 1, Unanswered: -1}} {
			if err := g.Release(t.Context(), le.ID, use); !errors.Is(err, ErrUnanswered) {
				t.Errorf("%+v: %v", use, err)
			}
		}
		if err := g.Release(t.Context(), le.ID, LeaseUse{Used: 3, Unanswered: 2}); err != nil {
			t.Fatal(err)
		}
		if s := g.Status(); s.Held != 3 {
			t.Errorf("%d held after the release, want the 3 used", s.Held)
		}
		time.Sleep(11 * time.Second)
		if s := g.Status(); s.Held != 2 {
			t.Errorf("%d held after a window, want the 2 without an answer", s.Held)
		}
		time.Sleep(20 * time.Second)
		if s := g.Status(); s.Held != 0 {
			t.Errorf("%d held in the end", s.Held)
		}
	})
}

// TestAReported429CausesOneProbe: and no pause, since Clerk limits writes by the user.
func TestAReported429CausesOneProbe(t *testing.T) {
	clerk := &fakeClerk{latency: 50 * time.Millisecond}
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		report := func(n int) {
			for range n {
				le, err := g.Acquire(t.Context(), LeaseRequest{Permits: 1}, Options{})
				if err == nil {
					err = g.Release(t.Context(), le.ID, LeaseUse{Used: 1, RateLimited: true})
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		report(1)
		if s := g.Status(); !s.PausedUntil.IsZero() {
			t.Error("a report pauses the key")
		}
		if _, err := g.List(t.Context(), clerkapi.ListParams{}, Options{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if n := clerk.count(); n != 2 {
			t.Errorf("%d requests, want the list and one probe", n)
		}
		report(10)
		time.Sleep(5 * time.Second)
		if n := clerk.count() - 2; n < 1 || n > 2 {
			t.Errorf("%d probes for ten reports at once, want one, or two", n)
		}
		if s := g.Status(); !s.PausedUntil.IsZero() || s.EffectiveLimit != 100 {
			t.Errorf("a probe that is answered leaves %+v", s)
		}
		// Only the answer to the probe itself counts.
		clerk.change(func() { clerk.reply = func(int, []string) error { return limited } })
		report(1)
		time.Sleep(100 * time.Millisecond)
		if s := g.Status(); s.PausedUntil.IsZero() {
			t.Error("a probe that draws a 429 does not pause the key")
		}
	})
}

// TestALeaseSurvivesARestart: after a crash or a stop its permits stay held, it can be
// released, and its request id is known.
func TestALeaseSurvivesARestart(t *testing.T) {
	for _, crash := range []bool{false, true} {
		dir, crashed := t.TempDir(), t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			run := func(dir string, f func(g *Gate)) {
				ledger, err := statefile.Open(dir, "test")
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(t.Context())
				g := New(Config{Upstream: &fakeClerk{latency: 50 * time.Millisecond}, StateFile: ledger, Quota: quota.Config{LostHold: 20 * time.Second}})
				done := make(chan struct{})
				go func() { _ = g.Run(ctx); close(done) }()
				f(g)
				stop()
				<-done
			}
			ask := LeaseRequest{Permits: 50, TTL: 30 * time.Second, ID: "one"}
			var le Lease
			run(dir, func(g *Gate) {
				var err error
				if le, err = g.Acquire(t.Context(), ask, Options{Caller: "a"}); err != nil {
					t.Fatal(err)
				}
				text, err := os.ReadFile(filepath.Join(dir, statefile.Name)) // as a crash leaves it
				if err == nil {
					err = os.WriteFile(filepath.Join(crashed, statefile.Name), text, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			})
			time.Sleep(11 * time.Second)
			if crash {
				dir = crashed
			}
			run(dir, func(g *Gate) {
				time.Sleep(11 * time.Second)
				if s := g.Status(); s.Held != 50 || s.Leased != 50 || s.Available > 50 {
					t.Errorf("crash %v: %d held, %d lent, %d available", crash, s.Held, s.Leased, s.Available)
				}
				again, err := g.Acquire(t.Context(), ask, Options{Caller: "a"})
				if err != nil || again.ID != le.ID {
					t.Errorf("crash %v: the same request: %v, %v", crash, again, err)
				}
			})
			run(dir, func(g *Gate) {
				if err := g.Release(t.Context(), le.ID, LeaseUse{Used: 10}); err != nil {
					t.Errorf("crash %v: release: %v", crash, err)
				}
				if s := g.Status(); s.Held != 10 || s.Leased != 0 {
					t.Errorf("crash %v: after the release %d held, %d lent", crash, s.Held, s.Leased)
				}
			})
			run(dir, func(g *Gate) { // released for good
				if again, err := g.Acquire(t.Context(), ask, Options{Caller: "a"}); !errors.Is(err, ErrNoLease) {
					t.Errorf("crash %v: the same request after the release: %v, %v", crash, again, err)
				}
				time.Sleep(12 * time.Second)
				if s := g.Status(); s.Held != 0 || s.Leased != 0 {
					t.Errorf("crash %v: in the end %d held, %d lent", crash, s.Held, s.Leased)
				}
			})
		})
	}
}
