package gate

import (
	"time"
)

// finish answers w and forgets it.
func (g *Gate) finish(w *want, r Result, value any) {
	g.drop(w)
	w.answer(r, value)
}

// fail answers w with err and forgets it.
func (g *Gate) fail(w *want, err error) {
	for _, x := range w.waiters {
		g.reportRefused(x.call.caller, w.permits(), err)
	}
	g.finish(w, Result{Err: err}, nil)
}

// failRequest answers all wants of r with err.
func (g *Gate) failRequest(r *request, err error) {
	for _, w := range r.wants {
		g.fail(w, err)
	}
}

// refuseBefore answers those waiters of w with err whose deadlines are before t.
func (g *Gate) refuseBefore(w *want, t time.Time, err error) {
	for i := len(w.waiters) - 1; i >= 0; i-- {
		x := w.waiters[i]
		if d := x.call.deadline; !d.IsZero() && d.Before(t) {
			g.leave(x)
			g.reportRefused(x.call.caller, w.permits(), err)
			x.call.fill(x.index, Result{Err: err})
		}
	}
}

// leave removes one waiter, and with the last one a want that has not been sent.
func (g *Gate) leave(x *waiter) {
	w := x.want
	x.detach()
	if pt := w.part; pt != nil {
		if g.queue.Leave(&pt.item, x.call.line); !pt.item.Waiting() { // all of them have left
			g.unpark(pt)
		}
		return
	}
	g.queue.Leave(&w.item, x.call.line)
	if len(w.waiters) == 0 && (w.id == "" || g.asked[w.id] != w) {
		g.drop(w)
	}
}

// drop forgets w, wherever it is.
func (g *Gate) drop(w *want) {
	g.queue.Remove(&w.item)
	if w.lease != nil {
		g.dropLease(w.lease, time.Now())
	}
	if w.id == "" {
		return
	}
	if g.queued[w.id] == w {
		delete(g.queued, w.id)
	}
	g.notAsked(w)
}

// unpark removes pt from the queue.
func (g *Gate) unpark(pt *part) {
	g.queue.Remove(&pt.item)
	delete(g.parts, pt)
	for _, w := range pt.wants {
		w.part = nil
	}
}

// notAsked records that no request carries w any more.
func (g *Gate) notAsked(w *want) {
	if g.asked[w.id] == w {
		delete(g.asked, w.id)
	}
}
