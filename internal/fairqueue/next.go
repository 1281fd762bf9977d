package fairqueue

import "container/heap"

// Taken is an item that has left the queue.
type Taken struct {
	Item *Item
	Line *Line // the line from which it was taken

	lineUnits, peerUnits float64 // what the line and its peer were charged
}

// Turn describes whose items the next request takes.
type Turn struct {
	Priority Priority
	Kind     Kind

	owed *peer // whose guaranteed turn it is; nil: it is one by weight
}

// Next returns whose turn the next request is, and whether anything may go. A request
// takes up to most shared items; with 0, only a whole item may go. The turn is outdated
// once the queue has changed.
func (q *Queue) Next(most int) (Turn, bool) {
	batchDue := q.batchAge >= BatchTurn-1
	if batchDue {
		if k, ok := q.levels[Batch].next(q.together(most)); ok {
			return Turn{Batch, k, nil}, true
		}
	}
	if t, ok := q.owed(most); ok {
		return t, true
	}
	for p := range Priority(priorities) {
		if k, ok := q.levels[p].next(q.together(most)); ok {
			return Turn{p, k, nil}, true
		}
	}
	return Turn{}, false
}

// together returns how many shared items would go with the next request.
func (q *Queue) together(most int) int { return min(most, q.shared) }

// next returns the kind of item whose turn it is in the level, and whether there is one.
// As many shared items as given would go together; if it is 0, none may go.
func (v *level) next(together int) (Kind, bool) {
	w, whole := v.turns[Whole].top()
	s, shared := v.turns[Shared].top()
	switch {
	case !shared || together == 0:
		return Whole, whole
	case !whole:
		return Shared, true
	case s.next(together) == Whole: // w's goes first, if it is another's
		return Whole, true
	}
	return v.first(&w.turn, &s.turn, together), true
}

// next returns the kind of item whose turn it is in the peer, which must have shared
// ones.
func (from *peer) next(together int) Kind {
	w, whole := from.turns[Whole].top()
	s, _ := from.turns[Shared].top()
	switch {
	case !whole:
		return Shared
	case w != s:
		return from.first(&w.turn, &s.turn, together)
	// In one line items go in order of arrival.
	case w.heads[Whole].first.seq < w.heads[Shared].first.seq:
		return Whole
	}
	return Shared
}

// first returns the peer from which the first item of a turn is taken, nil if none has one.
func (q *Queue) first(t Turn) *peer {
	if t.owed != nil && t.owed.turns[t.Kind].Len() > 0 {
		return t.owed
	}
	from, _ := q.levels[t.Priority].turns[t.Kind].top()
	return from
}

// Head returns the item that Take would take first, nil if there is none.
func (q *Queue) Head(t Turn) *Item {
	from := q.first(t)
	if from == nil {
		return nil
	}
	l, _ := from.turns[t.Kind].top()
	return l.heads[t.Kind].first.item
}

// Take removes and returns the items of the next request, as Next has returned it: one
// whole item, or up to most shared ones. It charges the lines: of k items that leave
// together, each costs 1/k. Room that one priority leaves in a request is filled with
// items of the other, so that each of them costs less.
func (q *Queue) Take(t Turn, most int) []Taken {
	// Guaranteed turns of Batch do not count, so that it keeps its tenth for all others.
	if q.levels[Batch].all.first != nil && (t.Priority != Batch || t.owed != nil) {
		q.batchAge++
	} else {
		q.batchAge = 0
	}
	q.round++
	var all []Taken
	if t.owed != nil {
		t.owed.haveOwed(func() { all = q.turn(t, most) })
	} else {
		q.levels[t.Priority].begin(t.Kind, q.round)
		all = q.turn(t, most)
	}
	q.settle()
	return all
}

// turn takes the items of a turn.
func (q *Queue) turn(t Turn, most int) []Taken {
	if t.Kind == Shared {
		return q.fill(t, most)
	}
	from := q.first(t)
	if from == nil {
		return nil
	}
	return []Taken{q.take(from, Whole, wholeCost, wholeCost)}
}

// take removes the next item of a kind from a peer, and charges its line and the peer for
// it.
func (q *Queue) take(from *peer, k Kind, lineUnits, peerUnits float64) Taken {
	from.begin(k, q.round)
	l, _ := from.turns[k].top()
	it := l.heads[k].first.item
	from.took(&l.turn, k, lineUnits)
	q.remove(it)
	l.charge(lineUnits, peerUnits)
	return Taken{Item: it, Line: l, lineUnits: lineUnits, peerUnits: peerUnits}
}

// Charge charges l and its peer for so many requests.
func (q *Queue) Charge(l *Line, requests float64) { l.charge(requests*wholeCost, requests*wholeCost) }

// Refund reverses the charge for an item.
func (q *Queue) Refund(t Taken) { t.Line.charge(-t.lineUnits, -t.peerUnits) }

func (l *Line) charge(lineUnits, peerUnits float64) {
	from := l.peer
	from.charge(l, lineUnits)
	if peerUnits != 0 {
		from.level.charge(from, peerUnits)
		if from.guarantee != nil {
			from.guarantee.charge(peerUnits)
		}
	}
	if from.slot >= 0 {
		heap.Fix(&from.level.indebted, from.slot)
	}
	if from.units == 0 {
		from.rest()
	}
}
