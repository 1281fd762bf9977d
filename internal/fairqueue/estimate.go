package fairqueue

// Ahead returns how many requests leave before the last of n items of a kind, if
// they joined the back of l now and all lines kept taking turns.
func (q *Queue) Ahead(l *Line, k Kind, n int) int {
	cost := int64(n) * k.cost()
	return q.ahead(l, l.units+cost-k.cost(), k, cost)
}

// AheadOfNewcomer returns the same for one whole item of a new interactive party.
func (q *Queue) AheadOfNewcomer() int {
	v := &q.levels[Interactive]
	l := newLine(&peer{turn: newTurn(1), level: v}, Interactive)
	return q.ahead(l, 0, Whole, wholeCost)
}

// AheadAtFront returns how many requests leave before an item of a kind that is put at
// the front of l.
func (q *Queue) AheadAtFront(l *Line, k Kind) int { return q.ahead(l, 0, k, k.cost()) }

// each calls f with each line of the peer.
func (from *peer) each(f func(*Line)) {
	for _, l := range from.lines {
		f(l)
	}
	if from.others != nil {
		f(from.others)
	}
}

// ahead returns how many requests leave before an item of a kind and cost that has own
// units ahead of it in l.
func (q *Queue) ahead(l *Line, own int64, k Kind, cost int64) int {
	from, v := l.peer, l.peer.level
	place := own
	if l.units == 0 {
		place += from.debt(&l.turn, k)
	}
	inPeer := from.ahead(place)
	// The backlog does not know of units that are not in l yet.
	missing := max(0, own-l.units)
	place = inPeer + missing
	if from.units == 0 {
		place += v.debt(&from.turn, k)
	}
	ahead := v.backlog.ahead(place, from.weight) + missing
	turns := float64(place) / float64(from.weight)
	interactive, batch := &q.levels[Interactive], &q.levels[Batch]
	if v == interactive {
		ahead = q.withGuarantees(from, turns, ahead, batch.backlog.total)
	} else {
		ahead = min(q.withGuarantees(from, turns, ahead+interactive.backlog.total, 0), BatchTurn*(ahead+cost))
	}
	if from.guarantee != nil {
		ahead = min(ahead, from.guarantee.ahead(inPeer+missing, v))
	}
	return int(ahead / wholeCost)
}

// ahead returns how many of the units that wait at the peer go before an item with own
// units ahead of it in its line, if all lines keep taking turns.
func (from *peer) ahead(own int64) (sum int64) {
	from.each(func(m *Line) { sum += min(m.units, own) })
	return sum
}

// Requests returns how many requests the items that wait at a priority need.
func (q *Queue) Requests(p Priority) int {
	return int((q.levels[p].backlog.total + wholeCost - 1) / wholeCost)
}
