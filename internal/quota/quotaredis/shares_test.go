package quotaredis

import (
	"fmt"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
)

// TestAnIdleReplicaNeedsNoRedisToSend: some of the quota is kept ready for replicas
// without permits, so that nobody waits for a window when Redis goes away.
func TestAnIdleReplicaNeedsNoRedisToSend(t *testing.T) {
	store := newStore(t)
	for _, tt := range []struct {
		name         string
		limit, busy  int // of the first replica, how many requests before
		replicas     int
		least, share int // sent by an idle one within a second (then it paces itself), and in a window later
	}{
		{"all idle", 100, 0, 3, 8, 33},
		{"one busy", 100, 10_000, 3, 1, 33},
		{"a large quota, one busy", 1000, 10_000, 4, 6, 250},
	} {
		calm(t, store, quota.Config{Limit: tt.limit, FirstWindow: quota.WaitWindow}, func(w *world) {
			for range tt.replicas {
				w.add([2]int{})
			}
			w.run(epoch.Add(12 * time.Second))
			w.replicas[0].wants[0] = min(tt.busy, 100)
			w.replicas[0].send()
			w.run(w.now.Add(30 * time.Second))
			for _, r := range w.replicas {
				r.cut = true
			}
			w.run(w.now.Add(2 * time.Second))
			for _, r := range w.replicas {
				r.wants[0] = 100
				r.send()
			}
			w.run(w.now.Add(time.Second))
			for i, r := range w.replicas[1:] {
				if r.sent < tt.least {
					t.Errorf("%s: replica %d sent %d at once, want %d", tt.name, i+1, r.sent, tt.least)
				}
			}
			w.run(w.now.Add(20 * time.Second))
			for i, r := range w.replicas {
				if got := w.sentIn(r, 10*time.Second); got < tt.share*9/10 {
					t.Errorf("%s: replica %d sent %d in a window, want its share, %d", tt.name, i, got, tt.share)
				}
			}
			w.check()
		})
	}
}

// TestOneBusyReplicaHasNearlyAll: little is kept ready for idle ones.
func TestOneBusyReplicaHasNearlyAll(t *testing.T) {
	store := newStore(t)
	for _, tt := range []struct{ replicas, least int }{{2, 96}, {8, 91}} {
		calm(t, store, quota.Config{}, func(w *world) {
			busy := w.add([2]int{50, 0})
			for range tt.replicas - 1 {
				w.add([2]int{})
			}
			w.run(epoch.Add(30 * time.Second))
			if n := w.sentIn(busy, 10*time.Second); n < tt.least {
				t.Errorf("one of %d sent %d in a window, want %d", tt.replicas, n, tt.least)
			}
		})
	}
}

// TestWindowsAndBucketsTogether: while one replica has a window, it applies to all.
func TestWindowsAndBucketsTogether(t *testing.T) {
	store := newStore(t)
	for _, burst := range []int{20, 200} {
		calm(t, store, quota.Config{}, func(w *world) {
			bucket := w.cfg
			bucket.Burst = burst
			window := w.cfg

			w.cfg = bucket
			w.add([2]int{50, 0})
			w.run(epoch.Add(30 * time.Second))
			w.arrivals = nil
			w.cfg = window
			strict := w.add([2]int{50, 0})
			w.run(w.now.Add(60 * time.Second))
			w.check()
			if s := strict.State(w.now); s.Capacity != min(100, burst) {
				t.Errorf("burst %d beside a window: %d at once", burst, s.Capacity)
			}
			if n := len(w.arrivals); n < 4*min(100, burst) {
				t.Errorf("burst %d beside a window: %d sent in 60 s", burst, n)
			}
			strict.bye, strict.wants = true, [2]int{}
			w.run(w.now.Add(30 * time.Second))
			if s := w.replicas[0].State(w.now); s.Capacity != burst {
				t.Errorf("burst %d, and no window any more: %d at once", burst, s.Capacity)
			}
		})
	}
}

// TestTheLargestWindowCounts: also if replies get lost, so that reports are complete.
func TestTheLargestWindowCounts(t *testing.T) {
	store := newStore(t)
	calm(t, store, quota.Config{}, func(w *world) {
		n := 0
		w.lose = func() bool { n++; return n%20 == 0 }
		w.add([2]int{50, 0})
		long := w.cfg
		w.cfg.Window = time.Second
		w.add([2]int{50, 0})
		w.cfg = long
		w.run(epoch.Add(60 * time.Second))
		w.check()
	})
}

// TestSharesAreNeverMoreThanTheQuota: a replica that is cut off goes on with its last
// share, however many others come, and whether Redis remembers it or not.
func TestSharesAreNeverMoreThanTheQuota(t *testing.T) {
	store := newStore(t)
	for _, loss := range []bool{false, true} {
		for joins := 1; joins <= 3; joins++ {
			calm(t, store, quota.Config{}, func(w *world) {
				w.add([2]int{50, 0})
				w.add([2]int{50, 0})
				cut := w.add([2]int{50, 0})
				w.run(epoch.Add(20 * time.Second))
				cut.cut = true
				if loss {
					store.empty(t)
				}
				w.run(w.now.Add(2 * time.Second))
				for range joins {
					w.add([2]int{50, 0})
				}
				w.run(w.now.Add(60 * time.Second))
				w.check()
				sum := 0
				for _, r := range w.replicas {
					sum += r.ShareState(w.now).Allowance
					r.cut = true
				}
				w.run(w.now.Add(30 * time.Second))
				w.check()
				if sum != 33 {
					t.Errorf("the one that is cut off may hold %d, want 33", sum)
				}
				if n := len(w.arrivals); n < 700 {
					t.Errorf("loss %v, %d joins: %d arrivals in 112 s", loss, joins, n)
				}
			})
		}
	}
}

// TestAShareCountsUntilASmallerOneIsKnown: a replica whose replies get lost still
// reports, and goes on with the share that it knows.
func TestAShareCountsUntilASmallerOneIsKnown(t *testing.T) {
	calm(t, newStore(t), quota.Config{}, func(w *world) {
		w.add([2]int{50, 0})
		deaf := w.add([2]int{50, 0})
		w.run(epoch.Add(20 * time.Second))
		deaf.deaf = true
		w.add([2]int{50, 0})
		w.run(w.now.Add(60 * time.Second))
		w.check()
	})
}

// TestNothingIsReadyThatOthersHold: a newcomer beside a replica that has all of the
// quota has nothing to send when it is cut off a moment later.
func TestNothingIsReadyThatOthersHold(t *testing.T) {
	calm(t, newStore(t), quota.Config{Window: 100 * time.Second}, func(w *world) {
		w.add([2]int{50, 0})
		w.run(epoch.Add(200 * time.Second))
		newcomer := w.add([2]int{})
		w.run(w.now.Add(time.Second))
		newcomer.cut = true
		newcomer.wants[0] = 50
		newcomer.send()
		w.run(w.now.Add(300 * time.Second))
		w.check()
		if newcomer.sent == 0 {
			t.Error("it has sent nothing in three windows")
		}
	})
}

// TestABucketIsNotFilledByALoss: for a replica that has known another state, the bucket
// of the new one is not full.
func TestABucketIsNotFilledByALoss(t *testing.T) {
	store := newStore(t)
	for _, replicas := range []int{1, 3} {
		calm(t, store, quota.Config{Limit: 100, Burst: 200}, func(w *world) {
			for range replicas {
				w.add([2]int{50, 0})
			}
			w.run(epoch.Add(60 * time.Second))
			store.empty(t)
			w.run(w.now.Add(60 * time.Second))
			level, at := 200.0, epoch
			for _, a := range w.arrivals {
				level, at = min(200, level+a.Sub(at).Seconds()*10), a
				if level--; level < -1e-6 {
					t.Fatalf("%d replicas: Clerk's bucket is at %.2f after %v", replicas, level, a.Sub(epoch))
				}
			}
		})
	}
}

// TestWhoRestartsTakesItsPlace: of two replicas one crashes again and again. If it comes
// back at the same place, that costs next to nothing; if at others, the living one keeps
// its permits.
func TestWhoRestartsTakesItsPlace(t *testing.T) {
	store := newStore(t)
	for _, tt := range []struct {
		same  bool
		least int // sent in a window, after six crashes
	}{{true, 85}, {false, 12}} {
		calm(t, store, quota.Config{}, func(w *world) {
			w.addAt("a:9090", [2]int{50, 0})
			w.addAt("b:9090", [2]int{50, 0})
			w.run(epoch.Add(20 * time.Second))
			for i := range 6 {
				w.replicas[len(w.replicas)-1].dead = true
				w.run(w.now.Add(3 * time.Second))
				place := "b:9090"
				if !tt.same {
					place = fmt.Sprintf("b%d:9090", i)
				}
				w.addAt(place, [2]int{50, 0})
				w.run(w.now.Add(10 * time.Second))
			}
			w.check()
			before := len(w.arrivals)
			w.run(w.now.Add(10 * time.Second))
			if n := len(w.arrivals) - before; n < tt.least {
				t.Errorf("at the same place %v: %d sent in a window, want %d", tt.same, n, tt.least)
			}
		})
	}
}

// TestTwoAtOnePlace: hosts with the same name do not push each other out while they
// live.
func TestTwoAtOnePlace(t *testing.T) {
	calm(t, newStore(t), quota.Config{}, func(w *world) {
		w.addAt("a:9090", [2]int{50, 0})
		w.addAt("a:9090", [2]int{50, 0})
		w.run(epoch.Add(30 * time.Second))
		before := len(w.arrivals)
		w.run(w.now.Add(20 * time.Second))
		w.check()
		if n := len(w.arrivals) - before; n < 190 {
			t.Errorf("%d sent in two windows", n)
		}
	})
}

// TestWhatACrashedReplicaHadUnderWayCounts: also if another has taken its place.
func TestWhatACrashedReplicaHadUnderWayCounts(t *testing.T) {
	calm(t, newStore(t), quota.Config{}, func(w *world) {
		usual := w.delay
		w.addAt("a:9090", [2]int{50, 0})
		crashes := w.addAt("b:9090", [2]int{50, 0})
		w.run(epoch.Add(60 * time.Second))
		w.delay = func() time.Duration { return 9 * time.Second }
		w.run(w.now.Add(2 * time.Second))
		w.delay, crashes.dead = usual, true
		w.run(w.now.Add(time.Second))
		w.addAt("b:9090", [2]int{50, 0})
		w.run(w.now.Add(60 * time.Second))
		w.check()
	})
}

// TestWhoTakesOverFromAllIsNotLeftWithNothing: all replicas crash while they have all of
// the quota as shares, and others come, at other places.
func TestWhoTakesOverFromAllIsNotLeftWithNothing(t *testing.T) {
	store := newStore(t)
	for _, burst := range []int{0, 200} {
		for n := 1; n <= 3; n++ {
			calm(t, store, quota.Config{Burst: burst}, func(w *world) {
				for range n {
					w.add([2]int{50, 0})
				}
				w.run(epoch.Add(20 * time.Second))
				for _, r := range w.replicas {
					r.dead = true
				}
				w.run(w.now.Add(2 * time.Second))
				for range n {
					w.add([2]int{50, 0})
				}
				w.run(w.now.Add(11 * time.Second))
				before := len(w.arrivals)
				w.run(w.now.Add(60 * time.Second))
				if got := len(w.arrivals) - before; got < 6*22 {
					t.Errorf("burst %d, %d crashed: %d sent in six windows, want a quarter", burst, n, got)
				}
				if burst == 0 {
					w.check()
				}
			})
		}
	}
}

// TestAfterTenWindowsASilentReplicaIsForgotten: whether it has ended or not.
func TestAfterTenWindowsASilentReplicaIsForgotten(t *testing.T) {
	calm(t, newStore(t), quota.Config{}, func(w *world) {
		a, cut := w.add([2]int{50, 0}), w.add([2]int{50, 0})
		w.run(epoch.Add(20 * time.Second))
		cut.cut = true
		w.run(w.now.Add(95 * time.Second))
		w.check()
		if n := a.ShareState(w.now).Replicas; n != 2 {
			t.Errorf("%d replicas, within ten windows", n)
		}
		w.run(w.now.Add(20 * time.Second))
		if n := a.ShareState(w.now).Replicas; n != 1 {
			t.Errorf("%d replicas, after ten windows", n)
		}
		if n := w.sentIn(a, 10*time.Second); n < 95 {
			t.Errorf("%d sent in a window, want all of the quota", n)
		}
	})
}

// TestMoreReplicasThanPermits: without Redis they keep to the rate, though not to each
// window.
func TestMoreReplicasThanPermits(t *testing.T) {
	calm(t, newStore(t), quota.Config{Limit: 5}, func(w *world) {
		for range 8 {
			w.add([2]int{50, 0})
		}
		w.run(epoch.Add(30 * time.Second))
		w.check()
		for _, r := range w.replicas {
			r.cut = true
		}
		w.run(w.now.Add(20 * time.Second))
		before := len(w.arrivals)
		w.run(w.now.Add(160 * time.Second))
		if n := len(w.arrivals) - before; n > 16*5 || n < 16*5*9/10 {
			t.Errorf("%d sent in 16 windows of 5", n)
		}
	})
}
