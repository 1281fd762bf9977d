package gate

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/quota"
)

func TestCallersTakeTurns(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	inBubble(t, clerk, Config{Quota: quota.Config{Limit: 10, Window: time.Second}}, func(t *testing.T, g *Gate) {
		var callers sync.WaitGroup
		done := map[string]int{}
		var mu sync.Mutex
		ctx, stop := context.WithCancel(t.Context())
		spend(t, g) // so that all are there before the first turn
		g.SetShares(map[string]Share{"heavy": {Weight: 3}})
		for who, n := range map[string]int{"flood": 500, "light": 50, "heavy": 200} {
			o := Options{Caller: who, Party: Party{Peer: who}}
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
		if held, requests := g.Status().Held, seenAt(g).requests; held != 1 || requests != 1 {
			t.Errorf("%d permits held and %d requests counted, want 1 of each: the others were not sent", held, requests)
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
