package quotaredis

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
)

// TestNoReleaseIsUsedTwice: a permit that comes free for a replica is not promised to
// another for a time at which the first may still use it. Only chance shows that.
func TestNoReleaseIsUsedTwice(t *testing.T) {
	store := newStore(t)
	for i := range 40 {
		calm(t, store, quota.Config{Limit: 40, FirstWindow: quota.WaitWindow}, func(w *world) {
			w.vary(rand.New(rand.NewPCG(uint64(i), 0)))
			for range 4 {
				w.add([2]int{50, 0})
			}
			w.run(epoch.Add(30*time.Second + time.Duration(i)*167*time.Millisecond))
			w.replicas[i%4].cut = true
			w.run(w.now.Add(25 * time.Second))
			w.check()
		})
	}
}

// TestAReservedReleaseIsNotUsedTwice: a replica that has reserved the next release of its own
// permits holds one permit, not two, if it is cut off before that.
func TestAReservedReleaseIsNotUsedTwice(t *testing.T) {
	store := newStore(t)
	for i := range 40 {
		calm(t, store, quota.Config{Limit: 40, FirstWindow: quota.WaitWindow}, func(w *world) {
			w.vary(rand.New(rand.NewPCG(uint64(i), 0)))
			w.add([2]int{50, 0})
			w.add([2]int{50, 0})
			w.run(epoch.Add(20 * time.Second))
			w.replicas[0].deaf = true
			w.run(w.now.Add(2 * time.Second))
			w.add([2]int{50, 0})
			w.run(w.now.Add(15*time.Second + time.Duration(i)*67*time.Millisecond))
			for _, r := range w.replicas {
				r.cut = true
			}
			w.run(w.now.Add(25 * time.Second))
			w.check()
		})
	}
}

// TestNewcomersToAStateThatLearns: while a new state learns what is held, newcomers get what
// the others' shares leave, even if that is less than the tenth of the quota that a replica
// without any state has. All are cut off before the state has learned.
func TestNewcomersToAStateThatLearns(t *testing.T) {
	store := newStore(t)
	for _, tt := range []struct {
		limit, newcomers int
		bye              bool // one of the three others leaves its share to the newcomers
	}{
		{limit: 100, newcomers: 1},
		{limit: 120, newcomers: 2, bye: true},
		{limit: 120, newcomers: 4, bye: true},
	} {
		calm(t, store, quota.Config{Limit: tt.limit, FirstWindow: quota.WaitWindow}, func(w *world) {
			for range 3 {
				w.add([2]int{50, 0})
			}
			w.run(epoch.Add(30 * time.Second))
			store.empty(t)
			w.run(w.now.Add(2 * time.Second))
			if tt.bye {
				w.replicas[0].wants, w.replicas[0].bye = [2]int{}, true
				w.run(w.now.Add(2 * time.Second))
			}
			for range tt.newcomers {
				w.add([2]int{50, 0})
				w.run(w.now.Add(500 * time.Millisecond))
			}
			for _, r := range w.replicas {
				if s := r.ShareState(w.now); !r.dead && s.Decider != quota.DecidesLearning {
					t.Errorf("%+v: the state does not learn any more: %+v", tt, s)
				}
				r.cut = true
			}
			w.run(w.now.Add(40 * time.Second))
			w.check()
			sum := 0
			for _, r := range w.replicas {
				if !r.dead {
					sum += r.ShareState(w.now).Allowance
				}
			}
			if sum > tt.limit {
				t.Errorf("%+v: %d may be held", tt, sum)
			}
		})
	}
}
