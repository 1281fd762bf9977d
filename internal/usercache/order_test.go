package usercache

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// truth records what was acknowledged of one user: later reads must not return less, at
// once in the replica that acknowledged it, and after a grace period in the others.
type truth struct {
	grace time.Duration
	mu    sync.Mutex
	words []word // guarded by mu
}

type word struct {
	version int64
	deleted bool
	on      int // the replica
	at      time.Time
}

func (h *truth) acknowledge(w word) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w.at = time.Now()
	h.words = append(h.words, w)
}

// least returns the oldest version that a read in a replica may return now, and whether
// the user must be known as deleted.
func (h *truth) least(on int) (version int64, deleted bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.words {
		if w.on == on || time.Since(w.at) > h.grace {
			version, deleted = max(version, w.version), deleted || w.deleted
		}
	}
	return version, deleted
}

// step is one event in a user's life, in any instance, at some time.
type step struct {
	at   time.Duration
	what string
	on   int           // the instance
	late time.Duration // delay of a webhook after the change
}

var steps = []string{"read", "read", "read", "fresh read", "young read", "list", "change and invalidate", "webhook", "webhook twice", "delete"}

// TestNeverAnOlderCopyAfterANewer runs fetches, webhooks, invalidations, deletions and
// refreshes in every order.
func TestNeverAnOlderCopyAfterANewer(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{
				at:   time.Duration(rapid.IntRange(0, 3000).Draw(t, "at")) * time.Millisecond,
				what: rapid.SampledFrom(steps).Draw(t, "what"),
				late: time.Duration(rapid.IntRange(0, 500).Draw(t, "late")) * time.Millisecond,
			}
		}), 1, 60).Draw(rt, "script")
		clerk := &fakeClerk{latency: 300 * time.Millisecond}
		inBubble(t, clerk, Config{TTL: 500 * time.Millisecond}, func(t *testing.T, r instance) {
			play(t, clerk, []instance{r}, script)
		})
	})
}

// play runs a script on replicas that share a truth. A change that Redis did not accept
// counts as not acknowledged.
func play(t *testing.T, clerk *fakeClerk, replicas []instance, script []step) {
	const id = "user_1"
	clerk.change(id)
	told := &truth{grace: 500 * time.Millisecond}
	ctx := context.Background()
	var all sync.WaitGroup
	for _, st := range script {
		all.Go(func() {
			time.Sleep(st.at)
			on := st.on % len(replicas)
			r := replicas[on]
			read := func(o Options) {
				least, deleted := told.least(on)
				v, res := r.get(t, id, o)
				if v > 0 && v < least || v > 0 && deleted && o.MaxAge == nil || v == -1 {
					t.Errorf("at %v, %s in %d gave version %d from %v (%v) after word of %d, deleted %v", st.at, st.what, on, v, from(res), res.Err, least, deleted)
				}
			}
			tell := func(err error, w word) {
				switch w.on = on; {
				case err == nil:
					told.acknowledge(w)
				case !errors.Is(err, ErrRedisAway):
					t.Error(err)
				}
			}
			switch st.what {
			case "read":
				read(Options{View: fullView})
			case "fresh read":
				read(Options{MaxAge: age(0)})
			case "young read":
				read(Options{MaxAge: age(100 * time.Millisecond)})
			case "list":
				if _, err := r.List(ctx, clerkapi.ListParams{}, false, gate.Options{}); err != nil {
					t.Error(err)
				}
			case "change and invalidate":
				v := clerk.change(id)
				tell(r.Invalidate(ctx, []string{id}), word{version: v})
			case "webhook", "webhook twice":
				v := clerk.change(id)
				time.Sleep(st.late)
				for range len(st.what) / len("webhook") {
					tell(r.store.Updated(ctx, userOf(id, v), time.Now()), word{version: v})
				}
			case "delete":
				clerk.remove(id)
				time.Sleep(st.late)
				tell(r.store.Deleted(ctx, id, time.Now()), word{deleted: true})
			}
		})
	}
	all.Wait()
}
