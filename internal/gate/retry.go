package gate

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
)

const (
	maxTries   = 3
	retryBase  = 200 * time.Millisecond // the longest first backoff, doubled by each try
	retryFloor = 3                      // retries per 10 s that are always allowed
)

// retryBudget keeps retries to a tenth of recent requests, so that they never
// feed an outage.
type retryBudget struct {
	requests recent
	retries  recent
}

func (b *retryBudget) sent(now time.Time) { b.requests.add(now) }

// left says whether there is any of it.
func (b *retryBudget) left(now time.Time) bool {
	return b.retries.sum(now) < max(retryFloor, b.requests.sum(now)/10)
}

func (b *retryBudget) spend(now time.Time) bool {
	if !b.left(now) {
		return false
	}
	b.retries.add(now)
	return true
}

// retry puts f's wants off to try them again, where that is worth it and the
// budget allows, and answers the others with err. A batch that fails again is split,
// since the fault may be that of one id; so is one of several callers where its
// wants can't be tried again together, or it drew no answer at all.
func (g *Gate) retry(f *flight, v clerkapi.Verdict, now time.Time, err error) {
	if f.lookup() && len(f.wants) > 1 && v.Split && !g.shut.refusing() &&
		(f.failedBefore() || f.shared() && (v.Spent == clerkapi.SpentLost || !g.retries.left(now))) {
		for _, w := range f.wants {
			w.tries++
		}
		if !g.split(f, now) {
			g.failFlight(f, err)
		}
		return
	}
	again := f.wants[:0:0]
	for _, w := range f.wants {
		if w.tries++; w.tries < maxTries && !g.shut.refusing() {
			if f.alone() {
				w.askAlone()
			}
			again = append(again, w)
		} else {
			if f.lookup() && v.Split {
				g.culprits.add(w.query, now)
			}
			g.fail(w, err)
		}
	}
	if len(again) == 0 {
		return
	}
	if !g.retries.spend(now) {
		for _, w := range again {
			g.fail(w, err)
		}
		return
	}
	// Full jitter, but one draw for all: they go together again.
	at := now.Add(rand.N(retryBase << (again[0].tries - 1)))
	put := false // any of them
	for _, w := range again {
		put = g.putOff(w, at, now, err) || put
	}
	if put {
		g.figures.Retries[ended(err)]++
	}
}

// putOff has w tried again at a time, and answers those who can't wait for that with
// err. It returns false if that was not necessary: nobody waits, or w goes sooner
// together with a twin.
func (g *Gate) putOff(w *want, at, now time.Time, err error) bool {
	g.refuseBefore(w, at, err)
	if len(w.waiters) == 0 || w.id != "" && g.queued[w.id] != nil {
		g.enqueue(w, now)
		return false
	}
	if w.id != "" {
		if g.flying[w.id] == w {
			delete(g.flying, w.id)
		}
		g.queued[w.id] = w
	}
	g.delayed.add(w, at)
	for _, x := range w.waiters {
		x.count(true)
	}
	return true
}

// delayed holds wants until their next try.
type delayed struct{ heap delayHeap }

type delay struct {
	at   time.Time
	want *want
}

type delayHeap []delay

func (h delayHeap) Len() int           { return len(h) }
func (h delayHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h delayHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *delayHeap) Push(x any)        { *h = append(*h, x.(delay)) }
func (h *delayHeap) Pop() any {
	d := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = delay{}
	*h = (*h)[:len(*h)-1]
	return d
}

func (d *delayed) add(w *want, at time.Time) { heap.Push(&d.heap, delay{at, w}) }

// due takes out the wants whose time has come.
func (d *delayed) due(now time.Time) []*want {
	var due []*want
	for len(d.heap) > 0 && !d.heap[0].at.After(now) {
		due = append(due, heap.Pop(&d.heap).(delay).want)
	}
	return due
}

func (d *delayed) next() time.Time {
	if len(d.heap) == 0 {
		return time.Time{}
	}
	return d.heap[0].at
}
