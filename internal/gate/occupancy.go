package gate

import "github.com/clerkgate/clerkgate/internal/fairqueue"

// occupancy counts the waiters, for the limits of the queue. It counts all that wait in
// the queue or until a retry. Of those that a request under way serves, it counts the
// ones that have joined it, but not the ones that pay for it: MaxInFlight bounds these.
type occupancy struct {
	total  int
	byLine map[*fairqueue.Line]int
}

// crowded returns the error for one more waiter in l, nil if there is room.
//
// The last hundredth of the queue is kept for lines with few waiters, so that a few
// callers that fill the queue do not keep the others out.
func (g *Gate) crowded(l *fairqueue.Line) error {
	room := g.cfg.QueueLimit - g.occupancy.total
	here := g.occupancy.byLine[l]
	switch {
	case room <= 0, room <= g.cfg.QueueLimit/100 && here >= max(1, room/10):
		return ErrQueueFull
	case here >= g.cfg.CallerQueueLimit:
		return ErrCallerQueueFull
	}
	return nil
}

// count sets whether the occupancy counts x.
func (x *waiter) count(counted bool) {
	if x.counted == counted {
		return
	}
	x.counted = counted
	o, who, l := x.call.occupancy, x.call.caller, x.call.line
	if counted {
		o.total++
		o.byLine[l]++
		who.Wait()
		return
	}
	o.total--
	if o.byLine[l]--; o.byLine[l] == 0 {
		delete(o.byLine, l)
	}
	who.Leave()
}
