package gate

import (
	"container/heap"
	"math/rand/v2"
	"time"
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

func (b *retryBudget) spend(now time.Time) bool {
	if b.retries.sum(now) >= max(retryFloor, b.requests.sum(now)/10) {
		return false
	}
	b.retries.add(now)
	return true
}

// retry puts f's wants off to try them again, where that is worth it and the
// budget allows, and answers the others with err.
func (g *Gate) retry(f *flight, now time.Time, err error) {
	again := f.wants[:0:0]
	for _, w := range f.wants {
		if w.tries++; w.tries < maxTries && !g.shut.refusing() {
			again = append(again, w)
		} else {
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
		g.refuseBefore(w, at, err)
		if len(w.waiters) == 0 || w.id != "" && g.queued[w.id] != nil {
			g.enqueue(w, now) // forgets it, or merges it with a twin that goes sooner
			continue
		}
		if w.id != "" {
			if g.flying[w.id] == w {
				delete(g.flying, w.id)
			}
			g.queued[w.id] = w
		}
		g.delayed.add(w, at)
		put = true
	}
	if put {
		g.figures.Retries[ended(err)]++
	}
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
