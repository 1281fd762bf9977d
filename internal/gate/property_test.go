package gate

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/fairqueue"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// TestEveryWaiterIsAnsweredOnce combines everything that can happen to a gate: errors of
// all kinds, cancels, deadlines, fresh lookups, lists, both priorities, and a shutdown
// in the middle. A result that is set twice panics (waitingCall.done is closed twice) or
// leaves another without an answer, which the bubble reports as a deadlock.
func TestEveryWaiterIsAnsweredOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		replies := []error{nil, nil, nil, nil, down, refused, tooLong, limited, unsent, lostLink, badKey,
			&clerkapi.Error{Kind: clerkapi.ErrBadAnswer, Status: 200}}
		script := rapid.SliceOfN(rapid.SampledFrom(replies), 1, 40).Draw(rt, "replies")
		clerk := &fakeClerk{latency: time.Duration(rapid.IntRange(0, 300).Draw(rt, "latency")) * time.Millisecond}
		clerk.reply = func(n int, _ []string) error {
			err := script[n%len(script)]
			var e *clerkapi.Error
			if errors.As(err, &e) && n > 200 { // let even the unluckiest run end
				return nil
			}
			return err
		}
		cfg := Config{
			Quota: quota.Config{
				Limit:  rapid.IntRange(1, 30).Draw(rt, "limit"),
				Window: time.Second,
				Burst:  rapid.SampledFrom([]int{0, 0, 50}).Draw(rt, "burst"),
			},
			MaxInFlight:      rapid.IntRange(1, 8).Draw(rt, "in flight"),
			QueueLimit:       rapid.SampledFrom([]int{0, 40}).Draw(rt, "queue limit"),
			CallerQueueLimit: rapid.SampledFrom([]int{0, 20}).Draw(rt, "caller limit"),
		}
		type call struct {
			at, timeout time.Duration
			o           Options
			ids         []string
			list        bool
		}
		id := rapid.Map(rapid.IntRange(0, 150), func(i int) string { return userIDs("", 151)[i] })
		callsToMake := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) call {
			return call{
				at:      time.Duration(rapid.IntRange(0, 3000).Draw(t, "at")) * time.Millisecond,
				timeout: time.Duration(rapid.IntRange(1, 5000).Draw(t, "timeout")) * time.Millisecond,
				o: Options{
					Caller:   rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "caller"),
					Priority: Priority(rapid.IntRange(0, 1).Draw(t, "priority")),
					Fresh:    rapid.Bool().Draw(t, "fresh"),
				},
				ids:  rapid.SliceOfNDistinct(id, 1, 100, rapid.ID).Draw(t, "ids"),
				list: rapid.IntRange(0, 3).Draw(t, "list") == 0,
			}
		}), 1, 20).Draw(rt, "calls")
		patience := time.Duration(rapid.IntRange(0, 9000).Draw(rt, "shutdown after")) * time.Millisecond

		inBubble(t, clerk, cfg, func(t *testing.T, g *Gate) {
			for _, c := range callsToMake {
				go func() {
					time.Sleep(c.at)
					start := time.Now()
					ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
					defer cancel()
					if c.list {
						_, _ = g.List(ctx, clerkapi.ListParams{}, c.o)
					} else {
						for i, r := range g.Lookup(ctx, c.ids, c.o) {
							switch {
							case r.Err == nil && r.User.GetId() != c.ids[i]:
								t.Errorf("asked for %s, got %v", c.ids[i], r.User)
							case r.Err == nil && c.o.Fresh && r.FetchTime.Before(start):
								t.Errorf("a fresh lookup got an answer asked for %v before it", start.Sub(r.FetchTime))
							}
						}
					}
					if late := time.Since(start) - c.timeout; late > 0 {
						t.Errorf("a call came back %v after its deadline", late)
					}
				}()
			}
			time.Sleep(patience)
			synctest.Wait()
		})
		window := time.Second
		if cfg.Quota.Burst == 0 {
			for i := cfg.Quota.Limit; i < len(clerk.sent); i++ {
				if unsentAmong(script, i-cfg.Quota.Limit, i) {
					continue // what was not sent did not arrive
				}
				if span := clerk.sent[i].Sub(clerk.sent[i-cfg.Quota.Limit]); span <= window {
					rt.Fatalf("%d requests within %v", cfg.Quota.Limit+1, span)
				}
			}
		}
	})
}

func unsentAmong(script []error, from, to int) bool {
	for n := from + 1; n <= to+1; n++ {
		if script[n%len(script)] == unsent {
			return true
		}
	}
	return false
}

// TestEstimatesHold: under a steady load the estimate for a newcomer is right within a
// fifth.
func TestEstimatesHold(t *testing.T) {
	clerk := &fakeClerk{latency: 50 * time.Millisecond}
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		spend(t, g)
		for caller, n := range map[string]int{"a": 300, "b": 600, "c": 230} {
			for range n {
				go func() { _, _ = g.List(ctx, clerkapi.ListParams{}, Options{Caller: caller}) }()
			}
		}
		for range 5000 {
			go func() { _ = g.Lookup(ctx, userIDs("batch", 1), Options{Caller: "d", Priority: Batch}) }()
		}
		time.Sleep(30 * time.Second) // until the load is steady
		for _, who := range []string{"new", "c", "a", "b"} {
			for _, p := range []Priority{Interactive, Batch} {
				g.mu.Lock()
				l := g.queue.Line(Party{Name: who}, p)
				want := g.estimate(g.queue.Ahead(l, fairqueue.Whole, 1), time.Now())
				l.Release()
				g.mu.Unlock()
				start := time.Now()
				if _, err := g.List(ctx, clerkapi.ListParams{}, Options{Caller: who, Priority: p}); err != nil {
					t.Error(err)
				}
				got := time.Since(start) - clerk.latency
				if diff := (got - want).Abs(); diff > got/5+200*time.Millisecond { // or two permits
					t.Errorf("%s at priority %d waited for %v, the estimate was %v", who, p, got, want)
				}
			}
		}
	})
}
