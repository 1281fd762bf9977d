package gate

import (
	"container/heap"
	"slices"
	"time"

	"github.com/clerkgate/clerkgate/internal/fairqueue"
)

// lineUp adds x's want to the back of x's line, if it is not there already.
func (g *Gate) lineUp(x *waiter, now time.Time) {
	g.queue.Add(&x.want.item, x.call.line, now)
	x.count(true)
}

// comeBack puts w, which has been under way, back to the front of the line of x, one of
// its waiters.
func (g *Gate) comeBack(w *want, x *waiter, now time.Time) {
	g.queue.Return(&w.item, x.call.line, x.call.since, now)
	x.count(true)
}

// requeue puts w back to the front of the lines of all its waiters. If a want for the
// same user has come meanwhile, it merges w with that one.
func (g *Gate) requeue(w *want, now time.Time) {
	if len(w.waiters) == 0 {
		g.drop(w)
		return
	}
	if w.id != "" {
		g.notAsked(w)
		if twin := g.queued[w.id]; twin != nil && twin != w {
			g.merge(w, twin, now)
			return
		}
		g.queued[w.id] = w
	}
	for _, x := range w.waiters {
		g.comeBack(w, x, now)
	}
}

// merge makes the waiters of w wait for its twin, which is queued.
func (g *Gate) merge(w, twin *want, now time.Time) {
	twin.tries = max(twin.tries, w.tries)
	for _, x := range w.waiters {
		x.count(false)
		x = twin.join(x.call, x.index)
		x.count(true)
		if twin.item.Waiting() {
			g.comeBack(twin, x, now)
		}
	}
	w.waiters = nil
}

// requeueAll puts the wants of r back to the front of the queue, and refunds the turns
// that they were charged.
func (g *Gate) requeueAll(r *request, now time.Time) {
	if r.part != nil {
		r.part.wants = r.wants
		g.park(r.part, now)
		return
	}
	for _, t := range r.turns {
		g.queue.Refund(t)
	}
	for _, w := range slices.Backward(r.wants) {
		g.requeue(w, now)
	}
}

// putOff delays w until its next try, and answers the waiters whose deadlines are
// earlier with err. It returns false if nothing is delayed: no waiter is left, or w
// goes earlier, together with a twin.
func (g *Gate) putOff(w *want, until, now time.Time, err error) bool {
	g.refuseBefore(w, until, err)
	if len(w.waiters) == 0 || w.id != "" && g.queued[w.id] != nil {
		g.requeue(w, now)
		return false
	}
	if w.id != "" {
		g.notAsked(w)
		g.queued[w.id] = w
	}
	g.delayed.add(w, until)
	for _, x := range w.waiters {
		x.count(true)
	}
	return true
}

// outsideQueue returns the wants that wait outside the queue: for their next try, or for the
// permits of a lease. All waiters of one may have left.
func (g *Gate) outsideQueue() []*want {
	var all []*want
	for _, d := range g.delayed.heap {
		all = append(all, d.want)
	}
	return append(all, g.leases.gathering...)
}

// park puts pt at the front of the lines of all who wait for its wants. It drops the
// wants that have no waiters.
func (g *Gate) park(pt *part, now time.Time) {
	pt.wants = slices.DeleteFunc(pt.wants, func(w *want) bool {
		if len(w.waiters) > 0 {
			return false
		}
		g.drop(w)
		return true
	})
	if len(pt.wants) == 0 {
		return
	}
	pt.item = fairqueue.Item{Value: pt, Kind: fairqueue.Whole}
	g.parts[pt] = struct{}{}
	for _, w := range pt.wants {
		w.part = pt
		g.notAsked(w) // so that newcomers do not wait behind the part
		for _, x := range w.waiters {
			g.queue.Return(&pt.item, x.call.line, x.call.since, now)
			x.count(true)
		}
	}
}

// retryQueue holds wants until their next try.
type retryQueue struct{ heap delayHeap }

type delay struct {
	until time.Time
	want  *want
}

// delayHeap orders delays by their ends.
type delayHeap []delay

func (h delayHeap) Len() int           { return len(h) }
func (h delayHeap) Less(i, j int) bool { return h[i].until.Before(h[j].until) }
func (h delayHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *delayHeap) Push(x any)        { *h = append(*h, x.(delay)) }
func (h *delayHeap) Pop() any {
	d := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = delay{}
	*h = (*h)[:len(*h)-1]
	return d
}

func (d *retryQueue) add(w *want, until time.Time) { heap.Push(&d.heap, delay{until, w}) }

// due removes and returns the wants whose delay is over.
func (d *retryQueue) due(now time.Time) []*want {
	var due []*want
	for len(d.heap) > 0 && !d.heap[0].until.After(now) {
		due = append(due, heap.Pop(&d.heap).(delay).want)
	}
	return due
}

// next returns when the next delay ends, zero if there is none.
func (d *retryQueue) next() time.Time {
	if len(d.heap) == 0 {
		return time.Time{}
	}
	return d.heap[0].until
}
