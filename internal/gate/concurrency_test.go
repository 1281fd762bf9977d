package gate

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// crowded is a Clerk that serves a number of requests at once, and answers further ones
// with a 429 without Retry-After.
type crowded struct {
	*fakeClerk
	mu           sync.Mutex
	serves       int
	now          int
	done, denied int
}

func (c *crowded) ListUsers(ctx context.Context, p clerkapi.ListParams) (*clerkapi.Page, error) {
	c.mu.Lock()
	if c.now >= c.serves {
		c.denied++
		c.mu.Unlock()
		_ = c.arriveNow()
		return nil, tooMany
	}
	c.now++
	c.mu.Unlock()
	page, err := c.fakeClerk.ListUsers(ctx, p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now--
	c.done++
	return page, err
}

// arriveNow counts a request that is answered at once.
func (c *crowded) arriveNow() error {
	c.fakeClerk.mu.Lock()
	defer c.fakeClerk.mu.Unlock()
	c.requests = append(c.requests, nil)
	c.sent = append(c.sent, time.Now())
	return nil
}

func (c *crowded) counts() (done, denied int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done, c.denied
}

// TestConcurrencyAdapts: a hundred callers call in a loop, before a Clerk that serves
// ten requests at once. In the steady state nearly all of that is used, 429s are rare,
// no call is refused, and no 429 is taken for one of the quota. When Clerk begins to
// serve more, the gate finds out.
func TestConcurrencyAdapts(t *testing.T) {
	for _, serves := range []int{2, 10, 40} {
		t.Run(fmt.Sprint(serves), func(t *testing.T) {
			const rtt = 300 * time.Millisecond
			clerk := &crowded{fakeClerk: &fakeClerk{latency: rtt}, serves: serves}
			inBubbleOf(t, clerk, clerk.fakeClerk, Config{Quota: quota.Config{Limit: 1000 * max(1, serves/10)}}, func(t *testing.T, g *Gate) {
				ctx, stop := context.WithCancel(t.Context())
				var callers sync.WaitGroup
				for i := range 100 {
					callers.Go(func() {
						for ctx.Err() == nil {
							one, cancel := context.WithTimeout(ctx, time.Minute)
							_, err := g.List(one, clerkapi.ListParams{Limit: i + 1}, Options{Caller: fmt.Sprint(i), Party: Party{Peer: fmt.Sprint(i)}})
							cancel()
							if err != nil && ctx.Err() == nil {
								t.Errorf("after %v: %v", time.Since(epoch()), err)
							}
						}
					})
				}
				steady := func(serves int) {
					t.Helper()
					const span = 5 * time.Minute
					done, denied := clerk.counts()
					time.Sleep(span)
					done2, denied2 := clerk.counts()
					done, denied = done2-done, denied2-denied
					used := float64(done) / (float64(serves) * float64(span) / float64(rtt))
					t.Logf("%d at once: %.1f %% used, %d answers and %d 429s, %d in flight allowed", serves, 100*used, done, denied, g.Status().InFlightLimit)
					if used < 0.9 {
						t.Errorf("%d at once: %.1f %% used, want 90 at least", serves, 100*used)
					}
					if 200*denied > done {
						t.Errorf("%d at once: %d 429s for %d answers, want one per 200 at most", serves, denied, done)
					}
				}
				time.Sleep(30 * time.Second)
				steady(serves)
				if s := g.Status(); s.EffectiveLimit != s.Limit || !s.PausedUntil.IsZero() {
					t.Errorf("the quota is %d of %d, paused until %v", s.EffectiveLimit, s.Limit, s.PausedUntil)
				}
				if serves == 10 {
					// Twenty at a time hold two thirds of the quota: from 90 % on, a 429
					// may come from the quota.
					clerk.mu.Lock()
					clerk.serves = 20
					clerk.mu.Unlock()
					time.Sleep(5 * time.Minute)
					steady(20)
				}
				stop()
				callers.Wait()
			})
		})
	}
}

func epoch() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

// TestASpentQuotaIsNotTakenForConcurrency: if every request is answered 429, the key is
// paused after a few, and the number in flight is as before.
func TestASpentQuotaIsNotTakenForConcurrency(t *testing.T) {
	clerk := &fakeClerk{latency: 50 * time.Millisecond, reply: first(5*time.Second, tooMany)}
	inBubble(t, clerk, Config{Quota: quota.Config{Limit: 1000}}, func(t *testing.T, g *Gate) {
		var callers sync.WaitGroup
		for i := range 30 {
			callers.Go(func() {
				if _, err := g.List(t.Context(), clerkapi.ListParams{Limit: 1}, Options{Caller: fmt.Sprint(i)}); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Second)
		s := g.Status()
		if s.PausedUntil.IsZero() || s.InFlightLimit != 64 || clerk.count() > 100 {
			t.Errorf("after %d requests: paused until %v, %d in flight allowed", clerk.count(), s.PausedUntil, s.InFlightLimit)
		}
		callers.Wait()
	})
}

// TestConcurrencyCountsWhatWasBorne: an answer counts if the limit was reached while its
// request was under way. How many were under way when it left does not matter: requests
// that are answered together leave together, so only the last of them finds the limit
// reached.
func TestConcurrencyCountsWhatWasBorne(t *testing.T) {
	c := newConcurrency(64)
	for i := range 11 {
		c.launch(i + 1)
	}
	c.refuse(11, 11, 11) // ten are borne
	if c.limit != 10 {
		t.Fatalf("limit = %d, want 10", c.limit)
	}
	for round := range firstPatience {
		if c.limit != 10 {
			t.Fatalf("limit = %d after %d rounds of ten, want 10 until %d are answered", c.limit, round, firstPatience)
		}
		var numbers []uint64
		for i := range 10 {
			numbers = append(numbers, c.launch(i+1))
		}
		for _, n := range numbers {
			c.answer(n)
		}
	}
	if c.limit != 11 {
		t.Errorf("limit = %d after %d answers while ten were under way, want 11", c.limit, 10*firstPatience)
	}
	alone := c.launch(1)
	for range 1000 {
		c.answer(alone)
	}
	if c.limit != 11 {
		t.Errorf("limit = %d after answers to a request that was under way alone, want 11", c.limit)
	}
}

// TestConcurrencyConcernsTheFirstOfMany: of requests that are under way together, Clerk
// may refuse the one that left first.
func TestConcurrencyConcernsTheFirstOfMany(t *testing.T) {
	c := newConcurrency(64)
	c.refuse(c.launch(20), 20, 20)
	c.answers = 0
	first := c.launch(1)
	if c.concerns(first, 1) {
		t.Error("a request alone is refused for the number of requests under way")
	}
	for i := range c.limit - 1 {
		c.launch(i + 2)
	}
	if !c.concerns(first, 1) {
		t.Errorf("the first of %d requests under way is not", c.limit)
	}
}

// TestUndoKeepsAConfirmedLimit: a 429 of the quota's reverts the last event only while no
// later request was answered.
func TestUndoKeepsAConfirmedLimit(t *testing.T) {
	for _, confirmed := range []bool{false, true} {
		c := newConcurrency(64)
		for i := range 11 {
			c.launch(i + 1)
		}
		c.refuse(11, 11, 11)
		c.answer(10) // it left before the event
		want := 64
		if confirmed {
			want = 10
			c.answer(c.launch(1))
		}
		if c.undo(); c.limit != want {
			t.Errorf("confirmed: %v: the limit is %d, want %d", confirmed, c.limit, want)
		}
	}
}

// TestAProbeRevertsALimitOnConcurrency: of many requests that are answered 429, the one
// that left alone is settled first. So a probe decides about it, and meanwhile the others
// lower the number in flight. The probe draws a 429, so that was the quota.
func TestAProbeRevertsALimitOnConcurrency(t *testing.T) {
	var answered atomic.Int64
	clerk := &fakeClerk{latency: 50 * time.Millisecond, reply: first(5*time.Second, tooMany)}
	inBubbleOf(t, slowAfterTheFirst{clerk, &answered}, clerk, Config{Quota: quota.Config{Limit: 1000}}, func(t *testing.T, g *Gate) {
		var callers sync.WaitGroup
		for i := range 30 {
			callers.Go(func() {
				if _, err := g.List(t.Context(), clerkapi.ListParams{Limit: 1}, Options{Caller: fmt.Sprint(i)}); err != nil {
					t.Error(err)
				}
			})
			if i == 0 {
				synctest.Wait() // it leaves before the others come
			}
		}
		time.Sleep(time.Second)
		if s := g.Status(); s.PausedUntil.IsZero() || s.InFlightLimit != 64 {
			t.Errorf("paused until %v, %d in flight allowed", s.PausedUntil, s.InFlightLimit)
		}
		callers.Wait()
	})
}

// slowAfterTheFirst is a Clerk that answers all lists but the first a little later.
type slowAfterTheFirst struct {
	*fakeClerk
	lists *atomic.Int64
}

func (c slowAfterTheFirst) ListUsers(ctx context.Context, p clerkapi.ListParams) (*clerkapi.Page, error) {
	if c.lists.Add(1) > 1 {
		time.Sleep(time.Millisecond)
	}
	return c.fakeClerk.ListUsers(ctx, p)
}
