package quotaredis

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// errCut is the error of exchanges of a replica that is cut off.
var errCut = errors.New("cut off")

// world is a number of replicas, each with callers that always want more, a Clerk, and
// one real Redis that uses the world's time.
type world struct {
	t        rapid.TB
	store    *Store
	cfg      quota.Config
	now      time.Time
	skew     time.Duration // of Redis's clock
	events   events
	rnd      *rand.Rand
	seq      int
	replicas []*replica
	arrivals []time.Time
	delay    func() time.Duration         // of one way to Clerk or back
	way      func() time.Duration         // of one way to Redis or back
	lose     func() bool                  // says whether a reply of Redis's gets lost; nil: none does
	late     time.Duration                // by which the next reply of Redis's is read late
	refuse   func(*replica) time.Duration // nil, or how long the next request is refused for by a 429
	calls    int
	grants   int
}

type replica struct {
	*quota.Shared
	world  *world
	name   int
	cut    bool // from Redis
	deaf   bool // to Redis's replies
	dead   bool
	wants  [2]int
	bye    bool // stops as soon as nothing is under way
	sent   int
	flying int
	borrow func(quota.Permit) bool // nil, or takes a permit for a lease
	sends  time.Time               // when it sends next by itself; zero: not known
}

type event struct {
	at  time.Time
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	if !e[i].at.Equal(e[j].at) {
		return e[i].at.Before(e[j].at)
	}
	return e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.events, event{w.now.Add(d), w.seq, do})
}

func (w *world) run(until time.Time) {
	for w.events.Len() > 0 && !w.events[0].at.After(until) {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
	w.now = until
}

func (w *world) add(wants [2]int) *replica { return w.addAt("", wants) }

// addAt adds a replica that runs at a place.
func (w *world) addAt(place string, wants [2]int) *replica {
	w.seq++
	r := &replica{world: w, name: len(w.replicas), wants: wants}
	r.Shared = quota.NewShared(w.cfg, fmt.Sprintf("%s/replica-%d-%d", place, r.name, w.seq), w.now)
	w.replicas = append(w.replicas, r)
	w.after(0, r.exchange)
	return r
}

// exchange sends a report and evaluates the reply, each after a delay.
func (r *replica) exchange() {
	w := r.world
	if r.dead {
		return
	}
	if due := r.Due(w.now, r.wants); due.After(w.now) {
		w.after(due.Sub(w.now), r.exchange)
		return
	}
	report, sent := r.Report(w.now, r.wants), w.now
	if r.bye && r.flying == 0 {
		report.Bye, r.dead = true, true
	}
	w.calls++
	way := w.way()
	w.after(way, func() {
		var reply quota.Reply
		err := errCut
		if !r.cut {
			w.store.setTime(w.now.Add(w.skew))
			reply, err = w.store.Exchange(context.Background(), report)
			if err != nil {
				w.t.Fatal(err)
			}
			if r.deaf || w.lose != nil && w.lose() {
				err = errCut
			}
		}
		back := way + w.late
		w.late = 0
		w.after(back, func() {
			if r.dead {
				return
			}
			r.Reply(report, sent, w.now, reply, err)
			r.send()
			w.after(time.Millisecond, r.exchange)
		})
	})
}

// send sends all requests that may be sent.
func (r *replica) send() {
	w := r.world
	if r.dead || r.wants == [2]int{} {
		return
	}
	for {
		p, ok, again := r.Take(w.now)
		if !ok {
			if !again.IsZero() {
				if !again.After(w.now) {
					w.t.Fatalf("told at %v to ask again at %v", w.now, again)
				}
				r.sendAt(again)
			}
			return
		}
		if r.borrow != nil && r.borrow(p) {
			continue
		}
		r.sent++
		r.flying++
		w.grants++
		there, back := w.delay(), w.delay()
		sent := w.now
		w.after(there, func() { w.arrivals = append(w.arrivals, w.now) })
		w.after(there+back, func() {
			if r.dead {
				return
			}
			r.flying--
			if w.refuse != nil {
				r.Limited(p, w.now, w.refuse(r), nil)
			} else {
				r.Answered(p, sent, w.now, w.now, nil)
			}
			r.send()
		})
	}
}

// sendAt makes r send at a time, unless it does so before.
func (r *replica) sendAt(at time.Time) {
	if !r.sends.IsZero() && !at.Before(r.sends) {
		return
	}
	r.sends = at
	r.world.after(at.Sub(r.world.now), func() {
		if r.sends.Equal(at) { // else it was called earlier
			r.sends = time.Time{}
			r.send()
		}
	})
}

// check fails if any window held more than the quota.
func (w *world) check() {
	w.t.Helper()
	n := w.cfg.Limit
	for i := n; i < len(w.arrivals); i++ {
		if span := w.arrivals[i].Sub(w.arrivals[i-n]); span <= w.cfg.Window {
			w.t.Fatalf("%d arrivals until %v span %v", n+1, w.arrivals[i].Sub(epoch), span)
		}
	}
}

func newWorld(t *rapid.T, store *Store, cfg quota.Config) *world {
	store.empty(t)
	// If delays were drawn one by one, rapid would be slow.
	rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	w := &world{t: t, store: store, cfg: cfg, now: epoch, rnd: rnd}
	w.vary(rnd)
	return w
}

// vary makes all delays random.
func (w *world) vary(rnd *rand.Rand) {
	w.delay = func() time.Duration { return time.Duration(rnd.IntN(100)) * time.Millisecond }
	w.way = func() time.Duration { return time.Duration(50+rnd.IntN(1950)) * time.Microsecond }
}

// empty empties Redis.
func (s *Store) empty(t rapid.TB) {
	t.Helper()
	if s.client == nil {
		return
	}
	if err := s.client.Do(context.Background(), s.client.B().Flushall().Build()).Error(); err != nil {
		t.Fatal(err)
	}
}

// setTime replaces Redis's time.
func (s *Store) setTime(t time.Time) { s.time = strconv.FormatInt(t.UnixMicro(), 10) }

func newStore(t *testing.T) *Store {
	s, err := New(redistest.Start(t).URL(), "test", redislink.Access{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestReplicasTogetherKeepToTheQuota(t *testing.T) {
	store := newStore(t)
	rapid.Check(t, func(t *rapid.T) {
		// If there are more replicas than permits, they do not keep to each window
		// without the state, which lost replies can cause: see
		// TestMoreReplicasThanPermits.
		limit := rapid.IntRange(1, 40).Draw(t, "limit")
		n := rapid.IntRange(1, min(5, limit)).Draw(t, "replicas")
		w := newWorld(t, store, quota.Config{Limit: limit, Window: 10 * time.Second})
		if rapid.Bool().Draw(t, "lossy") {
			w.lose = func() bool { return w.rnd.IntN(10) == 0 }
		}
		for range n {
			w.add([2]int{50, 0})
		}
		w.run(epoch.Add(60 * time.Second))
		w.check()
		t.Logf("%d replicas, limit %d: %d arrivals in 60 s, %d calls", n, w.cfg.Limit, len(w.arrivals), w.calls)
	})
}

// TestNothingThatHappensSpendsTheQuotaTwice: replicas crash, are cut off from Redis,
// come and go, and Redis loses its data or has its clock set.
func TestNothingThatHappensSpendsTheQuotaTwice(t *testing.T) {
	store := newStore(t)
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, store, quota.Config{
			// The quota is not safe with fewer permits than replicas, nor with a replica
			// that takes an empty state for unspent.
			Limit:       rapid.SampledFrom([]int{10, 25, 40, 100}).Draw(t, "limit"),
			Window:      10 * time.Second,
			FirstWindow: quota.WaitWindow,
		})
		for range rapid.IntRange(1, 4).Draw(t, "replicas") {
			w.add([2]int{50, 0})
		}
		// Replicas that are cut off before they know of each other can't leave each
		// other a share.
		const meeting = 2 * time.Second
		w.run(w.now.Add(meeting + time.Duration(rapid.IntRange(1, 30000).Draw(t, "quiet ms"))*time.Millisecond))
		for range rapid.IntRange(1, 4).Draw(t, "events") {
			r := w.replicas[rapid.IntRange(0, len(w.replicas)-1).Draw(t, "who")]
			switch what := rapid.SampledFrom([]string{"crash", "cut", "deaf", "all cut", "heal", "loss", "skew", "join", "bye", "pause"}).Draw(t, "what"); what {
			case "crash":
				r.dead = true
			case "cut":
				r.cut = true
			case "deaf":
				r.deaf = true
			case "all cut":
				for _, r := range w.replicas {
					r.cut = true
				}
			case "heal":
				for _, r := range w.replicas {
					r.cut, r.deaf = false, false
				}
			case "loss":
				w.store.empty(t)
			case "skew":
				// Less than 150 ms can't be told from a slow reply.
				step := time.Duration(rapid.IntRange(160, 20000).Draw(t, "skew ms")) * time.Millisecond
				if rapid.Bool().Draw(t, "back") {
					step = -step
				}
				w.skew += step
			case "join":
				if !slices.ContainsFunc(w.replicas, func(r *replica) bool { return !r.dead && !r.cut && !r.deaf }) {
					for _, r := range w.replicas {
						r.cut, r.deaf = false, false // to newcomers alone some is left, whatever the others have
					}
				}
				w.run(w.now.Add(meeting))
				w.add([2]int{50, 0})
				w.run(w.now.Add(meeting))
			case "bye":
				r.bye = true
				r.wants = [2]int{}
			case "pause":
				r.wants[0] = 50 - r.wants[0]
				r.send()
			}
			w.run(w.now.Add(time.Duration(rapid.IntRange(1, 20000).Draw(t, "quiet ms")) * time.Millisecond))
			w.check()
		}
		w.run(w.now.Add(30 * time.Second))
		w.check()
	})
}

func TestSaturatedReplicasUseTheQuota(t *testing.T) {
	store := newStore(t)
	for _, n := range []int{1, 2, 8} {
		calm(t, store, quota.Config{}, func(w *world) {
			for range n {
				w.add([2]int{50, 0})
			}
			w.run(epoch.Add(10 * time.Second))
			arrived, calls, before := len(w.arrivals), w.calls, make([]int, n)
			for i, r := range w.replicas {
				before[i] = r.sent
			}
			w.run(w.now.Add(100 * time.Second))
			w.check()
			arrived, calls = len(w.arrivals)-arrived, w.calls-calls
			if arrived < 970 {
				t.Errorf("%d replicas: %d of 1,000 used, want 97 %%", n, arrived)
			}
			if each := float64(calls) / float64(arrived); each > 3 {
				t.Errorf("%d replicas: %.2f exchanges per request, want 3 at most", n, each)
			}
			for i, r := range w.replicas {
				if got, mean := r.sent-before[i], arrived/n; got < mean*7/10 || got > mean*13/10 {
					t.Errorf("%d replicas: one sent %d, the mean is %d", n, got, mean)
				}
			}
		})
	}
}
