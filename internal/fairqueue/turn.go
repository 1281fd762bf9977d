package fairqueue

import "container/heap"

// Taken is an item that has left the queue.
type Taken struct {
	Item *Item
	Line *Line   // which gave it
	Cost float64 // what the line was charged for it, in requests
}

// Next returns what the next request is for, and whether there is anything.
// Without shared, only a whole item may go.
func (q *Queue) Next(shared bool) (Priority, Kind, bool) {
	order := [priorities]Priority{Interactive, Batch}
	if q.batchAge >= batchTurn-1 {
		order = [priorities]Priority{Batch, Interactive}
	}
	for _, p := range order {
		if k, ok := q.levels[p].next(shared); ok {
			return p, k, true
		}
	}
	return 0, 0, false
}

// next is the kind of item whose turn it is in the level, of those allowed, and
// whether there is one.
func (v *level) next(shared bool) (Kind, bool) {
	w, s := v.turns[Whole].top(), v.turns[Shared].top()
	if !shared {
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
	// Between the kinds the one that would end first, so that an id, which is
	// nearly free, does not wait for the lists of all who began at the same time.
	case w.tag+float64(wholeCost)/float64(w.weight) < s.tag+float64(sharedCost)/float64(s.weight):
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

// Take takes what goes with the next request, as Next has returned it, and charges
// the lines for it: one whole item, or up to most shared ones. Room that the
// priority leaves in a request is filled with the other's items, since it costs
// nothing.
func (q *Queue) Take(p Priority, k Kind, most int) []Taken {
	if q.levels[Batch].all.first != nil && p != Batch {
		q.batchAge++
	} else {
		q.batchAge = 0
	}
	if k == Whole {
		most = 1
	}
	var all []Taken
	for _, p := range [priorities]Priority{p, 1 - p} {
		for len(all) < most {
			it, l := q.take(&q.levels[p], k)
			if it == nil {
				break
			}
			all = append(all, Taken{Item: it, Line: l, Cost: float64(k.cost()) / wholeCost})
		}
	}
	return all
}

// take removes the next item of a kind from the level and charges its line.
func (q *Queue) take(v *level, k Kind) (*Item, *Line) {
	l := v.turns[k].top()
	if l == nil {
		return nil, nil
	}
	it := l.heads[k].first.item
	v.vtime = max(v.vtime, l.tag)
	q.Remove(it)
	q.charge(l, float64(k.cost()))
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
