package usercache

import (
	"context"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// truth is what has been acknowledged of one user: no read that starts later
// may give less.
type truth struct {
	mu      sync.Mutex
	version int64 // at least
	deleted bool  // for good
}

func (h *truth) acknowledge(version int64, deleted bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.version = max(h.version, version)
	h.deleted = h.deleted || deleted
}

func (h *truth) get() (int64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.version, h.deleted
}

// step is one thing that happens to a user, in any instance, at some time.
type step struct {
	at   time.Duration
	what string
	on   int           // the instance
	late time.Duration // of a webhook after the change
}

var steps = []string{"read", "read", "read", "fresh read", "young read", "list", "change and invalidate", "webhook", "webhook twice", "delete"}

// TestNeverAnOlderCopyAfterANewer lets fetches, webhooks, invalidations,
// deletions and refreshes meet in every order.
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

// play carries a script out on replicas that share a truth.
func play(t *testing.T, clerk *fakeClerk, replicas []instance, script []step) {
	const id = "user_1"
	clerk.change(id)
	told := &truth{}
	ctx := context.Background()
	var all sync.WaitGroup
	for _, st := range script {
		all.Go(func() {
			time.Sleep(st.at)
			r := replicas[st.on%len(replicas)]
			read := func(o Options) {
				least, deleted := told.get()
				v, res := r.get(t, id, o)
				if v > 0 && v < least || v > 0 && deleted && o.MaxAge == nil || v == -1 {
					t.Errorf("at %v, %s gave version %d from %v (%v) after word of %d, deleted %v", st.at, st.what, v, res.Source, res.Err, least, deleted)
				}
			}
			switch st.what {
			case "read":
				read(Options{View: fullView})
			case "fresh read":
				read(Options{MaxAge: age(0), Options: gate.Options{Fresh: true}})
			case "young read":
				read(Options{MaxAge: age(100 * time.Millisecond)})
			case "list":
				if _, err := r.List(ctx, clerkapi.ListParams{}, false, gate.Options{}); err != nil {
					t.Error(err)
				}
			case "change and invalidate":
				if _, deleted := told.get(); deleted {
					return
				}
				v := clerk.change(id)
				if err := r.Invalidate(ctx, []string{id}); err != nil {
					t.Error(err)
				}
				told.acknowledge(v, false)
			case "webhook", "webhook twice":
				if _, deleted := told.get(); deleted {
					return
				}
				v := clerk.change(id)
				time.Sleep(st.late)
				for range len(st.what) / len("webhook") {
					if err := r.store.Updated(ctx, userOf(id, v), time.Now()); err != nil {
						t.Error(err)
					}
					told.acknowledge(v, false)
				}
			case "delete":
				clerk.remove(id)
				time.Sleep(st.late)
				if err := r.store.Deleted(ctx, id, time.Now()); err != nil {
					t.Error(err)
				}
				told.acknowledge(0, true)
			}
		})
	}
	all.Wait()
}
