package quotaredis

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// calm makes a world without random events.
func calm(t *testing.T, store *Store, cfg quota.Config, f func(w *world)) {
	t.Helper()
	store.empty(t)
	cfg = quota.New(cfg, epoch).Config() // with its defaults
	f(&world{t: t, store: store, cfg: cfg, now: epoch, delay: func() time.Duration { return 30 * time.Millisecond },
		way: func() time.Duration { return 200 * time.Microsecond }})
}

// sentIn counts the requests that r sends within a time.
func (w *world) sentIn(r *replica, d time.Duration) int {
	before := r.sent
	w.run(w.now.Add(d))
	return r.sent - before
}

func TestA429HoldsAllReplicas(t *testing.T) {
	store := newStore(t)
	calm(t, store, quota.Config{}, func(w *world) {
		a, b, c := w.add([2]int{50, 0}), w.add([2]int{50, 0}), w.add([2]int{50, 0})
		w.run(epoch.Add(15 * time.Second))
		w.refuse = func(r *replica) time.Duration { // the next request draws a 429
			w.refuse = nil
			return 3 * time.Second
		}
		w.run(w.now.Add(500 * time.Millisecond)) // until the replicas have heard of it, by the latest report
		before := a.sent + b.sent + c.sent
		w.run(w.now.Add(2500 * time.Millisecond))
		if n := a.sent + b.sent + c.sent - before; n != 0 {
			t.Errorf("%d requests left in the pause", n)
		}
		limits := map[int]bool{}
		for _, r := range w.replicas {
			limits[r.State(w.now).Limit] = true
		}
		if len(limits) != 1 || limits[100] {
			t.Errorf("the limits are %v, want one lower than before", limits)
		}
		// One probe, whose answer takes 2 s, counts for all.
		w.delay = func() time.Duration { return time.Second }
		w.run(w.now.Add(1500 * time.Millisecond))
		if n := a.sent + b.sent + c.sent - before; n != 1 {
			t.Errorf("%d requests left before the probe's answer, want 1", n)
		}
		w.delay = func() time.Duration { return 30 * time.Millisecond }
		w.run(w.now.Add(5 * time.Second))
		if n := a.sent + b.sent + c.sent - before; n < 25 || n > 60 {
			t.Errorf("%d requests left in some 5 s after the probe, want an even half of the limit", n)
		}
	})
}

// TestOneProbeAfterALoss: whatever 429s each replica knew of, an answer under the lost
// state does not stand for the probe of a new one.
func TestOneProbeAfterALoss(t *testing.T) {
	store := newStore(t)
	for seen := range 4 {
		calm(t, store, quota.Config{}, func(w *world) {
			refuse := func() {
				w.refuse = func(*replica) time.Duration {
					w.refuse = nil
					return 3 * time.Second
				}
			}
			a, b := w.add([2]int{50, 0}), w.add([2]int{50, 0})
			w.run(epoch.Add(15 * time.Second))
			b.cut, b.wants = true, [2]int{} // hears of no 429
			for range seen {
				refuse()
				w.run(w.now.Add(30 * time.Second))
			}
			store.empty(t)
			a.cut, b.cut, b.wants = true, false, a.wants // so that b begins the new state
			w.run(w.now.Add(time.Second))
			a.cut = false
			w.run(w.now.Add(40 * time.Second))
			refuse()
			w.run(w.now.Add(500 * time.Millisecond))
			before := a.sent + b.sent
			w.delay = func() time.Duration { return time.Second }
			w.run(w.now.Add(4 * time.Second))
			if n := a.sent + b.sent - before; n != 1 {
				t.Errorf("after %d 429s, %d requests left before the probe's answer, want 1", seen, n)
			}
		})
	}
}

// TestA429OfAnOutage: when Redis is back, all wait for the rest of the pause, and nobody
// waits if it is over.
func TestA429OfAnOutage(t *testing.T) {
	store := newStore(t)
	const outage = time.Minute
	for retryAfter, left := range map[time.Duration]time.Duration{outage + 30*time.Second: 15 * time.Second, outage / 2: 0} {
		calm(t, store, quota.Config{}, func(w *world) {
			a, b := w.add([2]int{50, 0}), w.add([2]int{50, 0})
			w.run(epoch.Add(20 * time.Second))
			a.cut, b.cut = true, true
			w.refuse = func(*replica) time.Duration {
				w.refuse = nil
				return retryAfter
			}
			w.run(w.now.Add(outage))
			a.cut, b.cut = false, false
			w.run(w.now.Add(15 * time.Second))
			for _, r := range w.replicas {
				s := r.State(w.now)
				if paused := max(0, s.PausedUntil.Sub(w.now)); (paused - left).Abs() > time.Second {
					t.Errorf("Retry-After %v: paused for %v more, want %v", retryAfter, paused, left)
				}
				if lowered := s.Limit < 100; lowered != (left > 0) {
					t.Errorf("Retry-After %v: the limit is %d", retryAfter, s.Limit)
				}
			}
		})
	}
}

// TestASetClockForgetsNo429: the state begins anew, except for what 429s have taught.
func TestASetClockForgetsNo429(t *testing.T) {
	store := newStore(t)
	for _, skew := range []time.Duration{time.Hour, -time.Hour} {
		calm(t, store, quota.Config{}, func(w *world) {
			a, b := w.add([2]int{50, 0}), w.add([2]int{50, 0})
			w.run(epoch.Add(15 * time.Second))
			w.refuse = func(*replica) time.Duration {
				w.refuse = nil
				return 40 * time.Second
			}
			w.run(w.now.Add(2 * time.Second))
			lowered := a.State(w.now).Limit
			w.skew = skew
			sent := a.sent + b.sent
			w.run(w.now.Add(30 * time.Second))
			if n := a.sent + b.sent - sent; n != 0 {
				t.Errorf("clock set by %v: %d sent in the pause", skew, n)
			}
			if s := a.State(w.now); s.Limit != lowered || lowered > 95 {
				t.Errorf("clock set by %v: the limit is %d, before %d", skew, s.Limit, lowered)
			}
		})
	}
}

func TestTheSmallestQuotaCounts(t *testing.T) {
	store := newStore(t)
	calm(t, store, quota.Config{Limit: 100}, func(w *world) {
		big := w.add([2]int{0, 0})
		w.cfg.Limit = 20
		small := w.add([2]int{0, 0})
		w.run(epoch.Add(2 * time.Second))
		for _, r := range w.replicas {
			if got := r.State(w.now).Limit; got != 20 {
				t.Errorf("the limit is %d, want 20", got)
			}
		}
		small.bye = true
		w.run(w.now.Add(2 * time.Second))
		if got := big.State(w.now).Limit; got != 100 {
			t.Errorf("without the smaller one the limit is %d, want 100", got)
		}
	})
}

func TestAReplicaThatNeverMetRedis(t *testing.T) {
	store := newStore(t)
	for first, start := range map[quota.FirstWindow]time.Duration{
		quota.SlowWindow: 600 * time.Millisecond, quota.WaitWindow: 10650 * time.Millisecond,
	} {
		calm(t, store, quota.Config{FirstWindow: first}, func(w *world) {
			r := w.add([2]int{50, 0})
			r.cut = true
			if n := w.sentIn(r, start-time.Millisecond); n != 0 {
				t.Errorf("first window %d: %d requests left before %v", first, n, start)
			}
			if n := w.sentIn(r, 10*time.Second); n != 10 {
				t.Errorf("first window %d: %d requests left in a window, want a tenth of the quota", first, n)
			}
			if s := r.ShareState(w.now); s.Decider != quota.DecidesFallback || s.Replicas != 0 || s.Allowance != 10 {
				t.Errorf("first window %d: %+v", first, s)
			}
			r.cut = false
			w.run(w.now.Add(12 * time.Second)) // the state is new: with wait, it is not trusted at once
			if s := r.ShareState(w.now); s.Decider != quota.DecidesState {
				t.Errorf("first window %d: with Redis there, %+v", first, s)
			}
		})
	}
}

// TestOlderDataIsNotTrusted: a failover brings back the state of some seconds ago.
func TestOlderDataIsNotTrusted(t *testing.T) {
	store := newStore(t)
	calm(t, store, quota.Config{}, func(w *world) {
		r, other := w.add([2]int{50, 0}), w.add([2]int{50, 0})
		w.run(epoch.Add(5 * time.Second))
		c := store.client
		old, err := c.Do(context.Background(), c.B().Get().Key(store.key).Build()).ToString()
		if err != nil {
			t.Fatal(err)
		}
		w.run(w.now.Add(5 * time.Second))
		if err := c.Do(context.Background(), c.B().Set().Key(store.key).Value(old).Build()).Error(); err != nil {
			t.Fatal(err)
		}
		w.run(w.now.Add(time.Second))
		for _, r := range []*replica{r, other} {
			if s := r.ShareState(w.now); s.Decider != quota.DecidesLearning || s.Allowance == 0 || s.Allowance > 50 {
				t.Errorf("a second after the failover: %+v, want its share while the state learns", s)
			}
		}
		w.run(w.now.Add(12 * time.Second))
		for _, r := range []*replica{r, other} {
			if s := r.ShareState(w.now); s.Decider != quota.DecidesState {
				t.Errorf("a window after the failover: %+v", s)
			}
		}
		w.check()
	})
}

// TestALateReplyIsNoJumpOfTheClock: all keep the state, and at most one replica does
// without it for a moment.
func TestALateReplyIsNoJumpOfTheClock(t *testing.T) {
	store := newStore(t)
	for _, late := range []time.Duration{140 * time.Millisecond, 250 * time.Millisecond, 450 * time.Millisecond, 2 * time.Second} {
		calm(t, store, quota.Config{}, func(w *world) {
			w.add([2]int{50, 0})
			w.add([2]int{50, 0})
			w.run(epoch.Add(20 * time.Second))
			w.late = late
			for range 30 {
				w.run(w.now.Add(100 * time.Millisecond))
				for _, r := range w.replicas {
					s := r.ShareState(w.now)
					if s.Decider == quota.DecidesLearning || s.Decider == quota.DecidesFallback && late < 300*time.Millisecond {
						t.Fatalf("a reply that was %v late: %+v", late, s)
					}
				}
			}
			for _, r := range w.replicas {
				if s := r.ShareState(w.now); s.Decider != quota.DecidesState {
					t.Errorf("some time after a reply that was %v late: %+v", late, s)
				}
			}
			w.check()
		})
	}
}

func TestGoodbye(t *testing.T) {
	store := newStore(t)
	calm(t, store, quota.Config{FirstWindow: quota.WaitWindow}, func(w *world) {
		stays, goes := w.add([2]int{50, 0}), w.add([2]int{50, 0})
		w.run(epoch.Add(5 * time.Second))
		store.empty(t) // a new state waits for those that were there, but not after their goodbye
		w.run(epoch.Add(25 * time.Second))
		goes.bye, goes.wants = true, [2]int{}
		w.run(w.now.Add(time.Second))
		if got := stays.ShareState(w.now).Replicas; got != 1 {
			t.Errorf("%d replicas after one said goodbye, want 1", got)
		}
		w.run(w.now.Add(11 * time.Second))
		if n := w.sentIn(stays, 10*time.Second); n < 97 {
			t.Errorf("the other one sent %d in a window, want all of the quota", n)
		}
		w.check()
	})
}

// TestACrashCostsAShare: for ten windows, and no more.
func TestACrashCostsAShare(t *testing.T) {
	store := newStore(t)
	calm(t, store, quota.Config{}, func(w *world) {
		stays, dies := w.add([2]int{50, 0}), w.add([2]int{50, 0})
		w.run(epoch.Add(25 * time.Second))
		dies.dead = true
		w.run(w.now.Add(12 * time.Second))
		if n := w.sentIn(stays, 10*time.Second); n < 47 || n > 51 {
			t.Errorf("beside a dead one %d were sent in a window, want half of the quota", n)
		}
		w.run(w.now.Add(90 * time.Second))
		if n := w.sentIn(stays, 10*time.Second); n < 97 {
			t.Errorf("ten windows later %d were sent in a window, want all of the quota", n)
		}
		w.check()
	})
}

// TestWaitingCostsFewExchanges: of a replica that can't send, or has nothing to send.
func TestWaitingCostsFewExchanges(t *testing.T) {
	store := newStore(t)
	for name, wants := range map[string][2]int{"waiting": {50, 0}, "idle": {}} {
		calm(t, store, quota.Config{}, func(w *world) {
			for range 4 {
				w.add(wants)
			}
			w.refuse = func(*replica) time.Duration { return time.Minute }
			w.run(epoch.Add(5 * time.Second))
			before := w.calls
			w.run(w.now.Add(20 * time.Second))
			if perSecond := float64(w.calls-before) / 4 / 20; perSecond > 4 || perSecond < 2 {
				t.Errorf("%s: %.1f exchanges per second and replica, want 2 to 4", name, perSecond)
			}
		})
	}
}

// TestBatchLeavesTheRestToInteractive: batch gets a tenth while others want interactive
// permits.
func TestBatchLeavesTheRestToInteractive(t *testing.T) {
	store := newStore(t)
	calm(t, store, quota.Config{}, func(w *world) {
		batch, interactive := w.add([2]int{0, 50}), w.add([2]int{50, 0})
		w.run(epoch.Add(20 * time.Second))
		if n := w.sentIn(batch, 30*time.Second); n < 25 || n > 45 {
			t.Errorf("batch had %d of some 296, want about a tenth", n)
		}
		interactive.wants = [2]int{}
		w.run(w.now.Add(15 * time.Second))
		if n := w.sentIn(batch, 10*time.Second); n < 95 {
			t.Errorf("with nobody else batch had %d in a window, want all", n)
		}
	})
}

// TestAStateThatCannotBeReadIsALostOne: whatever is stored there.
func TestAStateThatCannotBeReadIsALostOne(t *testing.T) {
	store := newStore(t)
	for _, there := range [][]string{
		{"SET", "rubbish"}, {"SET", ""}, {"SET", "\x80"}, {"SET", "\xc1"},
		{"SET", "\x81\xa5epoch\xa1e"}, // a map of nothing but an epoch
		{"RPUSH", "a list"}, {"SADD", "a set"}, {"HSET", "a", "hash"},
		// Of this version, but with nothing else, or with other values than there should
		// be.
		{"SET", "\x81\xa7version\x01"}, {"SET", "\x81\xa7version\x02"}, {"SET", "\x81\xa7version\x03"},
		{"SET", "\x82\xa7version\x01\xa3now\xa1x"}, {"SET", "\x83\xa7version\x01\xa3now\x01\xa8replicas\x05"},
	} {
		calm(t, store, quota.Config{}, func(w *world) {
			r := w.add([2]int{1, 0})
			w.run(epoch.Add(time.Second))
			c := store.client
			put := append([]string{there[0], store.key}, there[1:]...)
			for _, command := range [][]string{{"DEL", store.key}, put, {"SCRIPT", "FLUSH"}} {
				if err := c.Do(context.Background(), c.B().Arbitrary(command...).Build()).Error(); err != nil {
					t.Fatal(err)
				}
			}
			w.run(w.now.Add(time.Second))
			if s := r.ShareState(w.now); s.Decider != quota.DecidesLearning {
				t.Errorf("%q: a second later %+v, want a new state", there, s)
			}
			w.run(w.now.Add(14 * time.Second))
			if s := r.ShareState(w.now); s.Decider != quota.DecidesState {
				t.Errorf("%q: %+v", there, s)
			}
		})
	}
}

// TestAStateThatMayNotBeReadIsNotALostOne: the exchange fails, and nothing is changed.
func TestAStateThatMayNotBeReadIsNotALostOne(t *testing.T) {
	server := redistest.Start(t)
	store, err := New(server.URL(), "test", redislink.Access{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	calm(t, store, quota.Config{}, func(w *world) {
		r := w.add([2]int{1, 0})
		w.run(epoch.Add(time.Second))
		client := server.Client()
		get := client.B().Get().Key(store.key).Build().Pin()
		before, err := client.Do(t.Context(), get).ToString()
		if err != nil {
			t.Fatal(err)
		}
		if got := server.Ask("ACL SETUSER default -get"); got != "+OK" {
			t.Fatal(got)
		}
		if reply, err := store.Exchange(t.Context(), r.Report(w.now, r.wants)); err == nil {
			t.Errorf("the reply is %+v, want an error", reply)
		}
		if got := server.Ask("ACL SETUSER default +get"); got != "+OK" {
			t.Fatal(got)
		}
		if after, err := client.Do(t.Context(), get).ToString(); err != nil || after != before {
			t.Errorf("the state has changed, %v", err)
		}
	})
}

// TestTheStateStaysSmall: however large the quota is.
func TestTheStateStaysSmall(t *testing.T) {
	store := newStore(t)
	for _, cfg := range []quota.Config{{}, {Limit: 1000}, {Limit: 100_000, Window: time.Minute}} {
		calm(t, store, cfg, func(w *world) {
			w.add([2]int{100, 0})
			w.add([2]int{100, 0})
			w.run(epoch.Add(10 * time.Second))
			c := store.client
			size, err := c.Do(context.Background(), c.B().Strlen().Key(store.key).Build()).AsInt64()
			if err != nil || size > 32<<10 {
				t.Errorf("%d per %v: %d bytes after %d requests, %v", cfg.Limit, cfg.Window, size, w.grants, err)
			}
		})
	}
}

func BenchmarkExchange(b *testing.B) {
	for _, limit := range []int{100, 1000} {
		b.Run(fmt.Sprint(limit), func(b *testing.B) {
			store, err := New(redistest.Start(b).URL(), "test", redislink.Access{})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(store.Close)
			s := quota.NewShared(quota.Config{Limit: limit}, "a", time.Now())
			for b.Loop() {
				now := time.Now()
				if p, ok, _ := s.Take(now); ok {
					s.Answered(p, now, now, now, nil)
				}
				r := s.Report(now, [2]int{10, 0})
				reply, err := store.Exchange(context.Background(), r)
				if err != nil {
					b.Fatal(err)
				}
				s.Reply(r, now, time.Now(), reply, nil)
			}
		})
	}
}
