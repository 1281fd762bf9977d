package fairqueue

// Ahead returns how many requests leave before the last of n items of a kind, if
// they joined the back of l now and all lines kept taking turns.
func (q *Queue) Ahead(l *Line, k Kind, n int) int {
	cost := int64(n) * k.cost()
	return q.ahead(l, l.units+cost-k.cost(), k, cost)
}

// AheadOfNewcomer is Ahead for one whole item of an interactive party that is new.
func (q *Queue) AheadOfNewcomer() int {
	v := &q.levels[Interactive]
	l := newLine(&peer{turn: newTurn(1), level: v}, Interactive, 1)
	return q.ahead(l, 0, Whole, wholeCost)
}

// AheadAtFront returns how many requests leave before an item of a kind that is
// put to the front of l.
func (q *Queue) AheadAtFront(l *Line, k Kind) int { return q.ahead(l, 0, k, k.cost()) }

// each calls f with the peer's lines.
func (from *peer) each(f func(*Line)) {
	for _, l := range from.lines {
		f(l)
	}
	if from.others != nil {
		f(from.others)
	}
}

// ahead is how many requests leave before what is of a kind, costs so many units and
// has own units ahead of it in l.
func (q *Queue) ahead(l *Line, own int64, k Kind, cost int64) int {
	from, v := l.peer, l.peer.level
	place := own
	if l.units == 0 {
		place += from.debt(&l.turn, k)
	}
	inPeer := from.ahead(l, place)
	// What l itself has not got there yet is no backlog's.
	missing := max(0, own-l.units)
	place = inPeer + missing
	if from.units == 0 {
		place += v.debt(&from.turn, k)
	}
	ahead := v.backlog.ahead(place, from.weight) + missing
	interactive, batch := &q.levels[Interactive], &q.levels[Batch]
	if v == interactive {
		ahead += min(ahead/(batchTurn-1), batch.backlog.total)
	} else {
		ahead = min(ahead+interactive.backlog.total, batchTurn*(ahead+cost))
	}
	return int(ahead / wholeCost)
}

// ahead is how many of the units that wait here go before what has own units ahead of
// it in l, if all lines keep taking turns.
func (from *peer) ahead(l *Line, own int64) (sum int64) {
	x := float64(own) / float64(l.weight)
	from.each(func(m *Line) { sum += min(m.units, int64(x*float64(m.weight))) })
	return sum
}

// Requests returns how many requests what waits at a priority needs.
func (q *Queue) Requests(p Priority) int {
	return int((q.levels[p].backlog.total + wholeCost - 1) / wholeCost)
}
