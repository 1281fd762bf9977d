package fairqueue

import "container/heap"

// Taken is an item that has left the queue.
type Taken struct {
	Item *Item
	Line *Line   // which gave it
	Cost float64 // what the line was charged for it, in requests
}

// Next returns what the next request is for, and whether there is anything. A
// request takes up to most shared items; with 0, only a whole item may go.
func (q *Queue) Next(most int) (Priority, Kind, bool) {
	order := [priorities]Priority{Interactive, Batch}
	if q.batchAge >= batchTurn-1 {
		order = [priorities]Priority{Batch, Interactive}
	}
	for _, p := range order {
		if k, ok := q.levels[p].next(q.together(most)); ok {
			return p, k, true
		}
	}
	return 0, 0, false
}

// together is how many shared items would go with the next request.
func (q *Queue) together(most int) int { return min(most, q.shared) }

// next is the kind of item whose turn it is in the level, and whether there is one.
// So many shared items would go together; if it is 0, none may.
func (v *level) next(together int) (Kind, bool) {
	w, s := v.turns[Whole].top(), v.turns[Shared].top()
	if together == 0 {
		s = nil
	}
	switch {
	case w == nil && s == nil:
		return 0, false
	case w == nil:
		return Shared, true
	case s == nil:
		return Whole, true
	case w == s: // in one line they go in order of arrival
		if w.heads[Whole].first.seq < w.heads[Shared].first.seq {
			return Whole, true
		}
		return Shared, true
	// Between the kinds the one that would end first, so that an item which is
	// nearly free does not wait for the whole ones of all who began at the same time.
	case w.tag+wholeCost/float64(w.weight) < s.tag+wholeCost/float64(together)/float64(s.weight):
		return Whole, true
	}
	return Shared, true
}

// Head returns the item that Take would take first, nil if there is none.
func (q *Queue) Head(p Priority, k Kind) *Item {
	l := q.levels[p].turns[k].top()
	if l == nil {
		return nil
	}
	return l.heads[k].first.item
}

// Take takes what goes with the next request, as Next has returned it: one whole
// item, or up to most shared ones. It charges the lines for the request: of k
// items that leave together, each costs 1/k. Room that the priority leaves in a
// request is filled with the other's items, so that it costs each of them less.
func (q *Queue) Take(p Priority, k Kind, most int) []Taken {
	if q.levels[Batch].all.first != nil && p != Batch {
		q.batchAge++
	} else {
		q.batchAge = 0
	}
	n := 1
	if k == Shared {
		n = q.together(most)
	}
	all := make([]Taken, 0, n)
	for _, p := range [priorities]Priority{p, 1 - p} {
		v := &q.levels[p]
		v.begin(k)
		for len(all) < n {
			it, l := q.take(v, k, wholeCost/float64(n))
			if it == nil {
				break
			}
			all = append(all, Taken{Item: it, Line: l, Cost: 1 / float64(n)})
		}
	}
	return all
}

// begin moves the level's time on to the turn of the line that is next. If another
// priority's request takes its items along, they leave before what waits for a turn
// of its own, which must not lose it.
func (v *level) begin(k Kind) {
	l := v.turns[k].top()
	if l == nil {
		return
	}
	at := l.tag
	if w := v.turns[Whole].top(); w != nil {
		at = min(at, w.tag)
	}
	v.vtime = max(v.vtime, at)
}

// take removes the next item of a kind from the level and charges its line so many
// units.
func (q *Queue) take(v *level, k Kind, units float64) (*Item, *Line) {
	l := v.turns[k].top()
	if l == nil {
		return nil, nil
	}
	it := l.heads[k].first.item
	if k == Shared {
		v.filled = max(v.filled, l.tag)
	}
	q.Remove(it)
	q.charge(l, units)
	return it, l
}

// Charge moves l's turn on by so many requests; a negative number gives turns back.
func (q *Queue) Charge(l *Line, requests float64) { q.charge(l, requests*wholeCost) }

func (q *Queue) charge(l *Line, units float64) {
	l.tag += units / float64(l.weight)
	for k := range l.slots {
		if l.slots[k] >= 0 {
			heap.Fix(&l.level.turns[k], l.slots[k])
		}
	}
}
