package quotaredis

import (
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
)

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
