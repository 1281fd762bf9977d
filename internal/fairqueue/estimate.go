package fairqueue

// Ahead returns how many requests leave before the last of n items of a kind, if
// they joined the back of l now and all lines kept taking turns.
func (q *Queue) Ahead(l *Line, k Kind, n int) int {
	cost := int64(n) * k.cost()
	return q.ahead(l, l.units+cost-k.cost(), l.debt(k), cost)
}

// AheadOfNewcomer is Ahead for one whole item in an interactive line that is new.
func (q *Queue) AheadOfNewcomer() int {
	return q.ahead(&Line{level: &q.levels[Interactive], weight: 1}, 0, 0, wholeCost)
}

// AheadAtFront returns how many requests leave before an item of a kind that is
// put to the front of l.
func (q *Queue) AheadAtFront(l *Line, k Kind) int { return q.ahead(l, 0, l.debt(k), k.cost()) }

// EachAhead calls f with each item in l, in the order in which they will leave,
// and how many requests leave before it.
func (q *Queue) EachAhead(l *Line, f func(it *Item, ahead int)) {
	own := int64(0)
	l.each(func(p *place) {
		cost := p.item.Kind.cost()
		f(p.item, q.ahead(l, own, 0, cost))
		own += cost
	})
}

// debt is how many units of turns an empty line has had ahead, for which others go
// before what comes into it next.
func (l *Line) debt(k Kind) int64 {
	if l.Len() > 0 {
		return 0
	}
	return int64(max(0, l.tag-l.level.joinAt(k)) * float64(l.weight))
}

// ahead is how many requests leave before what costs so many units and has own
// units ahead of it in l, which is in debt.
func (q *Queue) ahead(l *Line, own, debt, cost int64) int {
	ahead := l.level.backlog.ahead(own+debt, l.weight)
	// What l itself has not got there yet is no backlog's.
	ahead += max(0, own-l.units)
	interactive, batch := &q.levels[Interactive], &q.levels[Batch]
	if l.level == interactive {
		ahead += min(ahead/(batchTurn-1), batch.backlog.total)
	} else {
		ahead = min(ahead+interactive.backlog.total, batchTurn*(ahead+cost))
	}
	return int(ahead / wholeCost)
}

// Requests returns how many requests what waits at a priority needs.
func (q *Queue) Requests(p Priority) int {
	return int((q.levels[p].backlog.total + wholeCost - 1) / wholeCost)
}
