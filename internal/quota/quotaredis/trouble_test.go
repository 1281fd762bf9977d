package quotaredis

import (
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/fairqueue"
	"github.com/clerkgate/clerkgate/internal/quota"
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

// TestBatchHasTheSamePart: batch's part of the requests is the same between replicas as
// within one.
func TestBatchHasTheSamePart(t *testing.T) {
	m := regexp.MustCompile(`BATCH_TURN = ([0-9]+)`).FindStringSubmatch(exchangeText())
	if m == nil {
		t.Fatal("the script does not define BATCH_TURN as it did")
	}
	if inScript, _ := strconv.Atoi(m[1]); inScript != fairqueue.BatchTurn {
		t.Errorf("BATCH_TURN is %d, and fairqueue.BatchTurn %d", inScript, fairqueue.BatchTurn)
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
