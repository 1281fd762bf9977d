package fairqueue

// maxAside is how many peers may be passed over while a request is filled.
const maxAside = 100

// filling is a request that is being filled with shared items.
type filling struct {
	q     *Queue
	n     int     // how many items will leave together
	units float64 // the cost of each, if all pay
	all   []Taken
	aside []*peer
}

// fill fills a request for a turn with up to most shared items.
//
// In a guaranteed turn the items of the peer come first. Otherwise, and after them, first
// come the peers whose next turn is a shared item's. They pay for the request. Then
// the rest is filled with items of peers whose next turn is a whole item's. If these paid
// for a ride that they have not asked for, they might never come to that turn. Their
// lines pay, so that the names divide what their peer gets.
func (q *Queue) fill(t Turn, most int) []Taken {
	n := q.together(most)
	f := &filling{q: q, n: n, units: wholeCost / float64(n), all: make([]Taken, 0, n)}
	if t.owed != nil {
		f.payOwed(t.owed)
	}
	for _, p := range [priorities]Priority{t.Priority, 1 - t.Priority} {
		f.pay(&q.levels[p])
	}
	payers := len(f.all)
	for _, from := range f.aside {
		f.ride(from)
	}
	if more := wholeCost/float64(max(1, payers)) - f.units; more > 0 {
		for i := range f.all[:payers] {
			t := &f.all[i]
			t.Line.charge(more, more)
			t.lineUnits += more
			t.peerUnits += more
		}
	}
	return f.all
}

// payOwed takes items of a peer in its guaranteed turn. They are not counted among those
// that leave in turns by weight.
func (f *filling) payOwed(from *peer) {
	for len(f.all) < f.n && from.turns[Shared].Len() > 0 {
		f.all = append(f.all, f.q.take(from, Shared, f.units, f.units))
	}
}

// pay takes items of the peers that pay for them.
func (f *filling) pay(v *level) {
	v.begin(Shared, f.q.round)
	for len(f.all) < f.n {
		from, ok := v.turns[Shared].top()
		if !ok {
			return
		}
		if from.round != f.q.round && from.next(f.n) == Whole {
			if len(f.aside) == maxAside {
				return
			}
			v.leave(from, Shared)
			f.aside = append(f.aside, from)
			continue
		}
		v.took(&from.turn, Shared, f.units)
		f.all = append(f.all, f.q.take(from, Shared, f.units, f.units))
	}
}

// ride takes items of a peer that was passed over.
func (f *filling) ride(from *peer) {
	for len(f.all) < f.n && from.turns[Shared].Len() > 0 {
		f.all = append(f.all, f.q.take(from, Shared, f.units, 0))
	}
	if from.turns[Shared].Len() > 0 {
		from.level.wait(from, Shared)
	}
}
