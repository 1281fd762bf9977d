package gate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// The answers of a proxy or CDN to one query, and of Clerk to a limit on its size.
var (
	aPage    = &clerkapi.Error{Kind: clerkapi.ErrRefused, Status: 403}
	noPage   = &clerkapi.Error{Kind: clerkapi.ErrRefused, Status: 404}
	tooLarge = &clerkapi.Error{Kind: clerkapi.ErrRejected, Status: 413}
	stale    = &clerkapi.Error{Kind: clerkapi.ErrUnavailable, Stale: true}
	tooMany  = &clerkapi.Error{Kind: clerkapi.ErrRateLimited, Status: 429} // without Retry-After
)

func filter(query string) *clerkgatev1.UserFilter { return &clerkgatev1.UserFilter{Query: &query} }

// badQuery is a Clerk that answers the lists of one caller with err, and everything else
// without an error.
type badQuery struct {
	*fakeClerk
	err error
}

func (c badQuery) ListUsers(ctx context.Context, p clerkapi.ListParams) (*clerkapi.Page, error) {
	page, err := c.fakeClerk.ListUsers(ctx, p)
	if err == nil && p.Filter != nil {
		return nil, c.err
	}
	return page, err
}

// TestOneQueryStopsNobodyElse: one caller repeats a query that fails, twice a second.
// All calls of another caller succeed meanwhile.
func TestOneQueryStopsNobodyElse(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want error // for the caller that asks
		most int   // requests for each of its calls
	}{
		{"a CDN's rule", aPage, clerkapi.ErrRefused, 1},
		{"a 404 of a proxy", noPage, clerkapi.ErrRefused, 1},
		{"refused arguments", refused, clerkapi.ErrRejected, 1},
		{"a code about the key", badKey, clerkapi.ErrRefused, 1},
		{"a 429 of its own", limited, clerkapi.ErrRateLimited, 3},
		{"a 429 without Retry-After", tooMany, clerkapi.ErrRateLimited, 4}, // it may be one of a limit on concurrency
		{"a 503", down, clerkapi.ErrUnavailable, 3},
		{"an answer that can't be used", &clerkapi.Error{Kind: clerkapi.ErrBadAnswer, Status: 200}, clerkapi.ErrBadAnswer, 3},
		{"no answer", lostLink, clerkapi.ErrUnavailable, 3},
		{"an answer that is too large", &clerkapi.Error{Kind: clerkapi.ErrTooLarge, Status: 200}, clerkapi.ErrTooLarge, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clerk := badQuery{&fakeClerk{latency: 20 * time.Millisecond}, tt.err}
			inBubbleOf(t, clerk, clerk.fakeClerk, Config{}, func(t *testing.T, g *Gate) {
				const calls = 26
				var callers sync.WaitGroup
				callers.Go(func() {
					for range calls {
						callers.Go(func() {
							_, err := g.List(t.Context(), clerkapi.ListParams{Limit: 1, Filter: filter("<script>")}, Options{Caller: "one"})
							if !errors.Is(err, tt.want) {
								t.Errorf("the one who asks got %v, want %v", err, tt.want)
							}
						})
						time.Sleep(500 * time.Millisecond)
					}
				})
				for i := range 2 * calls {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					if r := one(ctx, g, fmt.Sprint("user_", i), Options{Caller: "other", Fresh: true}); r.Err != nil {
						t.Errorf("the other one got %v", r.Err)
					}
					cancel()
					time.Sleep(250*time.Millisecond - 20*time.Millisecond)
				}
				callers.Wait()
				if s := g.Status(); s.Breaker.TimesOpened != 0 {
					t.Errorf("the breaker has opened: %+v", s.Breaker)
				}
				probes := seenAt(g).probes
				if n := clerk.count() - 2*calls - probes; n > calls*tt.most {
					t.Errorf("%d requests for %d calls, want at most %d for each", n, calls, tt.most)
				}
				if probes > calls/2 {
					t.Errorf("%d probes for %d calls", probes, calls)
				}
			})
		})
	}
}

// TestFailuresOfDifferentCallersOpenTheBreaker: different queries of different callers
// fail at once.
func TestFailuresOfDifferentCallersOpenTheBreaker(t *testing.T) {
	for callers, probes := range map[int]int{1: 1, 2: 0} {
		clerk := &fakeClerk{latency: 10 * time.Millisecond, reply: func(int, []string) error { return down }}
		inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
			for i := range 5 {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				_, _ = g.List(ctx, clerkapi.ListParams{Limit: 1, Filter: filter(fmt.Sprint(i))}, Options{Caller: fmt.Sprint(i % callers)})
				cancel()
				time.Sleep(time.Millisecond)
			}
			time.Sleep(15 * time.Millisecond)
			s := g.Status()
			if s.Breaker.State != Open {
				t.Errorf("%d callers: the breaker is %+v", callers, s.Breaker)
			}
			if n := seenAt(g).probes; n != probes {
				t.Errorf("%d callers: %d probes, want %d", callers, n, probes)
			}
		})
	}
}

// TestOneQueryOfDifferentCallersCountsOnce: a query counts once, however many callers
// make it.
func TestOneQueryOfDifferentCallersCountsOnce(t *testing.T) {
	clerk := badQuery{&fakeClerk{latency: 10 * time.Millisecond}, down}
	inBubbleOf(t, clerk, clerk.fakeClerk, Config{}, func(t *testing.T, g *Gate) {
		for i := range 30 {
			_, _ = g.List(t.Context(), clerkapi.ListParams{Limit: 1, Filter: filter("x")}, Options{Caller: fmt.Sprint(i)})
		}
		if s := g.Status(); s.Breaker.TimesOpened != 0 {
			t.Errorf("the breaker has opened: %+v", s.Breaker)
		}
	})
}

// TestABatchIsSplitBetweenCallers: whatever is wrong with one caller's ids, the other
// callers in the lookup get their answers and in the end pay nothing for the search.
func TestABatchIsSplitBetweenCallers(t *testing.T) {
	for _, err := range []error{refused, aPage, badKey, limited, tooMany, down, lostLink, tooLarge,
		&clerkapi.Error{Kind: clerkapi.ErrNotFound, Status: 404}, &clerkapi.Error{Kind: clerkapi.ErrBadAnswer, Status: 200}} {
		t.Run(err.Error(), func(t *testing.T) {
			clerk := &fakeClerk{latency: 20 * time.Millisecond}
			clerk.reply = func(_ int, ids []string) error {
				if strings.Contains(strings.Join(ids, " "), "bad") {
					return err
				}
				return nil
			}
			inBubble(t, clerk, Config{Quota: quota.Config{Limit: 1000}}, func(t *testing.T, g *Gate) {
				clerk.change(func() { clerk.latency = 100 * time.Millisecond })
				var callers sync.WaitGroup
				for i := range 2 { // so that the others gather
					callers.Go(func() { _ = one(t.Context(), g, fmt.Sprint("user_first", i), Options{Caller: "first"}) })
				}
				time.Sleep(time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				for i := range 9 {
					callers.Go(func() {
						who, ids := fmt.Sprint("good", i), userIDs(fmt.Sprint("good", i), 8)
						if i == 4 {
							who, ids = "bad", userIDs("bad", 30)
						}
						for j, r := range g.Lookup(ctx, ids, Options{Caller: who}) {
							if (r.Err != nil) != (who == "bad") {
								t.Errorf("%s: id %d got %v", who, j, r.Err)
							}
						}
					})
				}
				callers.Wait()
			})
		})
	}
}

// TestLongIDsAreCutByLength: no request line is longer than the client sends, and nobody
// pays for ids that had to stay.
func TestLongIDsAreCutByLength(t *testing.T) {
	clerk := &fakeClerk{latency: 20 * time.Millisecond}
	clerk.reply = func(_ int, ids []string) error {
		if n := clerkapi.LookupLine(ids...); len(ids) > 1 && n > clerkapi.MaxRequestLine {
			return &clerkapi.ParamError{Field: "ids", Description: fmt.Sprint(n, " bytes")}
		}
		return nil
	}
	inBubble(t, clerk, Config{Quota: quota.Config{Limit: 1000}}, func(t *testing.T, g *Gate) {
		for i, r := range g.Lookup(t.Context(), userIDs(strings.Repeat("x", 120), 500), Options{}) {
			if r.Err != nil {
				t.Fatalf("id %d: %v", i, r.Err)
			}
		}
		if n := clerk.count(); n > 11 {
			t.Errorf("%d requests for 500 ids of 128 bytes, want 10 or 11", n)
		}
	})
}

// TestADeadKeptConnectionCostsNoRetry: each request that failed because of a dead
// connection is sent once more at once, whatever the retry budget.
func TestADeadKeptConnectionCostsNoRetry(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	clerk.reply = func(n int, _ []string) error {
		if n%2 == 1 {
			return stale
		}
		return nil
	}
	inBubble(t, clerk, Config{Quota: quota.Config{LostHold: 20 * time.Second}}, func(t *testing.T, g *Gate) {
		for i := range 7 {
			start := time.Now()
			if r := one(t.Context(), g, fmt.Sprint("user_", i), Options{}); r.Err != nil {
				t.Errorf("call %d: %v", i, r.Err)
			}
			if took := time.Since(start); took > 25*time.Millisecond {
				t.Errorf("call %d took %v, want two round trips", i, took)
			}
			if left := g.retries.allows(time.Now()); !left {
				t.Error("the budget of retries is spent")
			}
		}
		if s := g.Status(); s.Held != 14 || s.Breaker.TimesOpened != 0 {
			t.Errorf("%d permits are held, want two for each call; the breaker is %+v", s.Held, s.Breaker)
		}
	})
}

// TestASpellOfRefusalsIsSoonForgotten: for three seconds every lookup is too large.
// After that, a thousand ids take few more requests than before.
func TestASpellOfRefusalsIsSoonForgotten(t *testing.T) {
	for _, spell := range []error{tooLarge, tooLong} {
		clerk := &fakeClerk{latency: 20 * time.Millisecond, reply: first(3*time.Second, spell)}
		inBubble(t, clerk, Config{Quota: quota.Config{Limit: 1000}}, func(t *testing.T, g *Gate) {
			for end := time.Now().Add(3100 * time.Millisecond); time.Now().Before(end); {
				_ = g.Lookup(t.Context(), userIDs(fmt.Sprint("spell", clerk.count(), "x"), 100), Options{})
			}
			before := clerk.count()
			for i, r := range g.Lookup(t.Context(), userIDs("after", 1000), Options{}) {
				if r.Err != nil {
					t.Errorf("id %d: %v", i, r.Err)
				}
			}
			if n := clerk.count() - before; n > 20 {
				t.Errorf("a thousand lookups took %d requests after a spell, want at most 20", n)
			}
		})
	}
}

// TestHalvesKeepNobodyWaiting: 25 lookups are refused for two seconds. The lookups of a
// quiet caller meanwhile, and lookups of the same ids afterwards, do not wait behind
// their halves.
func TestHalvesKeepNobodyWaiting(t *testing.T) {
	for _, limit := range []int{100, 1000} {
		clerk := &fakeClerk{latency: 100 * time.Millisecond}
		spell := first(2*time.Second, refused)
		clerk.reply = func(n int, ids []string) error {
			if strings.Contains(strings.Join(ids, " "), "quiet") {
				return nil
			}
			return spell(n, ids)
		}
		inBubble(t, clerk, Config{Quota: quota.Config{Limit: limit}}, func(t *testing.T, g *Gate) {
			var callers sync.WaitGroup
			for i := range 25 {
				callers.Go(func() { _ = g.Lookup(t.Context(), userIDs(fmt.Sprint("busy", i, "x"), 100), Options{Caller: "busy"}) })
			}
			quietly := func(when, ids string, n int, most time.Duration) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				start := time.Now()
				for _, r := range g.Lookup(ctx, userIDs(ids, n), Options{Caller: "quiet"}) {
					if r.Err != nil {
						t.Errorf("quota %d, %s: %v", limit, when, r.Err)
						break
					}
				}
				if took := time.Since(start); took > most {
					t.Errorf("quota %d, %s: took %v, want at most %v", limit, when, took, most)
				}
			}
			time.Sleep(500 * time.Millisecond)
			quietly("a lookup in the spell", "quiet1x", 1, time.Second)
			quietly("a batch in the spell", "quiet2x", 100, time.Second)
			time.Sleep(2 * time.Second)
			quietly("a lookup after it", "quiet3x", 1, time.Second)
			for i := range 25 {
				quietly("a lookup of one of the ids", fmt.Sprint("busy", i, "x"), 1, 2*time.Second)
			}
			callers.Wait()
		})
	}
}

// TestBackSoonAfterAHang: Clerk hangs for a while, and never answers the requests that
// arrive meanwhile. The first success comes within two seconds after the hang, even if
// all places in flight are taken until the client gives up after 10 s.
func TestBackSoonAfterAHang(t *testing.T) {
	for _, places := range []int{64, 32, 4, 1} {
		for hang := 2 * time.Second; hang <= 24*time.Second; hang += 700 * time.Millisecond {
			for _, patience := range []time.Duration{2 * time.Second, 15 * time.Second} {
				late, most := backAfter(t, places, hang, patience)
				if late > 2*time.Second {
					t.Errorf("%d places, hung for %v, callers wait for %v: the first success came %v after that", places, hang, patience, late)
				}
				if beyond := most - places; beyond > 1+max(1, places/2) {
					t.Errorf("%d places, hung for %v, callers wait for %v: %d were under way", places, hang, patience, most)
				}
			}
		}
	}
}

// backAfter returns how long after a hang the first success comes to one of many
// callers, and the largest number of requests that were under way at once.
func backAfter(t *testing.T, places int, hang, patience time.Duration) (late time.Duration, most int) {
	clerk := &hanging{fakeClerk: &fakeClerk{latency: 100 * time.Millisecond}}
	inBubbleOf(t, clerk, clerk.fakeClerk, Config{MaxInFlight: places, Quota: quota.Config{Limit: 1000}}, func(t *testing.T, g *Gate) {
		for i := range 5 {
			_ = one(t.Context(), g, fmt.Sprint("user_before", i), Options{})
		}
		from := time.Now()
		until := from.Add(hang)
		clerk.hang(from, until)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		succeeded := make(chan time.Time, 1)
		var callers sync.WaitGroup
		callers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				callers.Go(func() {
					call, cancel := context.WithTimeout(ctx, patience)
					defer cancel()
					o := Options{Caller: fmt.Sprint(i % 3)}
					var err error
					if i%2 == 0 {
						_, err = g.List(call, clerkapi.ListParams{}, o)
					} else {
						err = one(call, g, fmt.Sprint("user_", i%100), o).Err
					}
					if err == nil && time.Now().After(until) {
						select {
						case succeeded <- time.Now():
						default:
						}
					}
				})
				synctest.Wait()
				most = max(most, g.Status().InFlight)
				time.Sleep(max(50*time.Millisecond, 300*time.Millisecond/time.Duration(places))) // fewer than are answered
			}
		})
		late = (<-succeeded).Sub(until)
		stop()
		callers.Wait()
	})
	return late, most
}

// hanging is a Clerk that never answers requests that arrive during a hang. The client
// gives them up after 10 s.
type hanging struct {
	*fakeClerk
	mu          sync.Mutex
	from, until time.Time
}

func (c *hanging) hang(from, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.from, c.until = from, until
}

func (c *hanging) lost(ctx context.Context) error {
	c.mu.Lock()
	now := time.Now()
	hangs := !now.Before(c.from) && now.Before(c.until)
	c.mu.Unlock()
	if !hangs {
		return nil
	}
	select {
	case <-time.After(10 * time.Second):
		return lostLink
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *hanging) LookupUsers(ctx context.Context, ids []string) (*clerkapi.Lookup, error) {
	l, err := c.fakeClerk.LookupUsers(ctx, ids)
	if lost := c.lost(ctx); lost != nil {
		return nil, lost
	}
	return l, err
}

func (c *hanging) ListUsers(ctx context.Context, p clerkapi.ListParams) (*clerkapi.Page, error) {
	page, err := c.fakeClerk.ListUsers(ctx, p)
	if lost := c.lost(ctx); lost != nil {
		return nil, lost
	}
	return page, err
}
