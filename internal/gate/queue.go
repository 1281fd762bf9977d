package gate

import (
	"container/heap"
	"time"
)

// The cost of a want in units of a hundredth of a request: an id shares its
// request with 99 others.
const (
	idCost   = 1
	callCost = 100
)

// kind tells wants that share requests from those that take one for themselves.
type kind int

const (
	ids kind = iota
	calls
)

func (k kind) cost() int64 {
	if k == ids {
		return idCost
	}
	return callCost
}

// queue holds what waits, in the order in which it will be sent.
//
// Each priority is a level of its own. In a level every caller has a line, and
// lines take turns by start-time fair queueing (Goyal, Vin and Cheng, 1996): a
// line's tag is the virtual time at which its head may start, it moves on by
// cost/weight with each want taken, and the line with the least tag is next. A
// line that was empty joins at the level's own virtual time, so that nobody
// saves up turns or pays for a lull.
//
// Adding, removing and taking cost O(log lines), however much waits.
type queue struct {
	levels [2]level
	seq    uint64
	depth  int // wants in lines, each counted once
	ids    int // ... of those, ids
	urgent int // ... of those, wanted by interactive callers, if by others too
}

// level is one priority's part of the queue.
type level struct {
	vtime   float64     // the tag of the line last served
	turns   [2]lineHeap // by kind: lines in which such wants wait
	backlog backlog     // of all lines, for estimates
	all     entryList   // every entry, for the oldest wait: what came back, then the others in order of arrival
}

// line is one caller's part of a level.
type line struct {
	caller   *caller
	level    *level
	priority Priority
	weight   int64
	tag      float64
	joined   uint64 // breaks ties between tags
	places   map[*want]*entry
	heads    [2]entryList // by kind
	units    int64        // cost of all that waits here
	slots    [2]int       // by kind: index in level.turns, -1 if not there
}

// entry is a want's place in a line. A want has one in each line from which it is wanted.
type entry struct {
	want    *want
	line    *line
	seq     uint64
	waiters int
	since   time.Time // when the first who waits here came
	back    bool      // the want has been under way since
	inLine  links
	inAll   links
}

type links struct{ prev, next *entry }

// entryList is a list through one of an entry's links.
type entryList struct {
	first, last *entry
	of          func(*entry) *links
}

func linksInLine(e *entry) *links { return &e.inLine }
func linksInAll(e *entry) *links  { return &e.inAll }

func (l *entryList) pushBack(e *entry) {
	n := l.of(e)
	n.prev, n.next = l.last, nil
	if l.last != nil {
		l.of(l.last).next = e
	} else {
		l.first = e
	}
	l.last = e
}

func (l *entryList) pushFront(e *entry) {
	n := l.of(e)
	n.prev, n.next = nil, l.first
	if l.first != nil {
		l.of(l.first).prev = e
	} else {
		l.last = e
	}
	l.first = e
}

func (l *entryList) remove(e *entry) {
	n := l.of(e)
	if n.prev != nil {
		l.of(n.prev).next = n.next
	} else {
		l.first = n.next
	}
	if n.next != nil {
		l.of(n.next).prev = n.prev
	} else {
		l.last = n.prev
	}
	*n = links{}
}

// lineHeap orders lines by their tags.
type lineHeap struct {
	kind  kind
	lines []*line
}

func (h *lineHeap) Len() int           { return len(h.lines) }
func (h *lineHeap) Less(i, j int) bool { return h.lines[i].before(h.lines[j]) }
func (h *lineHeap) Swap(i, j int) {
	h.lines[i], h.lines[j] = h.lines[j], h.lines[i]
	h.lines[i].slots[h.kind], h.lines[j].slots[h.kind] = i, j
}
func (h *lineHeap) Push(x any) {
	l := x.(*line)
	l.slots[h.kind] = len(h.lines)
	h.lines = append(h.lines, l)
}
func (h *lineHeap) Pop() any {
	l := h.lines[len(h.lines)-1]
	h.lines = h.lines[:len(h.lines)-1]
	l.slots[h.kind] = -1
	return l
}

func (h *lineHeap) top() *line {
	if len(h.lines) == 0 {
		return nil
	}
	return h.lines[0]
}

func (l *line) before(m *line) bool {
	if l.tag != m.tag {
		return l.tag < m.tag
	}
	return l.joined < m.joined
}

// each calls f with what waits in the line, in the order in which it will go.
func (l *line) each(f func(*entry)) {
	a, b := l.heads[ids].first, l.heads[calls].first
	for a != nil || b != nil {
		if b == nil || a != nil && a.seq < b.seq {
			f(a)
			a = a.inLine.next
		} else {
			f(b)
			b = b.inLine.next
		}
	}
}

func (l *line) empty() bool { return len(l.places) == 0 }

func (q *queue) init() {
	for i := range q.levels {
		v := &q.levels[i]
		v.turns[ids].kind = ids
		v.turns[calls].kind = calls
		v.all.of = linksInAll
	}
}

func (q *queue) newLine(c *caller, p Priority, weight int) *line {
	l := &line{
		caller:   c,
		level:    &q.levels[p],
		priority: p,
		weight:   int64(max(1, weight)),
		places:   make(map[*want]*entry),
		slots:    [2]int{-1, -1},
	}
	l.heads[ids].of = linksInLine
	l.heads[calls].of = linksInLine
	return l
}

// add gives w a place in l, at the back or, for what comes back, at the front.
// If it has one there already, that one gets a waiter more.
func (q *queue) add(w *want, l *line, now time.Time, front bool) {
	if e := l.places[w]; e != nil {
		e.waiters++
		return
	}
	if l.empty() {
		l.tag = max(l.tag, l.level.vtime)
		q.seq++
		l.joined = q.seq
	}
	q.seq++
	e := &entry{want: w, line: l, seq: q.seq, waiters: 1, since: now}
	k := w.kind()
	if front {
		if first := l.heads[k].first; first != nil {
			e.seq = first.seq
		}
		l.heads[k].pushFront(e)
	} else {
		l.heads[k].pushBack(e)
	}
	if len(w.places) == 0 {
		w.since = now
		q.depth++
		if k == ids {
			q.ids++
		}
	}
	w.places = append(w.places, e)
	if l.priority == Interactive {
		if w.urgent++; w.urgent == 1 {
			q.urgent++
		}
	}
	l.places[w] = e
	l.level.all.pushBack(e)
	l.caller.queued++
	l.level.backlog.move(l.units, l.units+k.cost(), l.weight)
	l.units += k.cost()
	if l.slots[k] < 0 {
		heap.Push(&l.level.turns[k], l)
	}
}

// comeBack gives w, which has been under way, the place of one of its waiters again.
func (q *queue) comeBack(w *want, x *waiter, now time.Time) {
	q.add(w, x.line, now, true)
	e := x.line.places[w]
	if since := x.pending.since; since.Before(e.since) {
		e.since = since
	}
	e.back = true
	all := &e.line.level.all
	all.remove(e)
	all.pushFront(e)
}

// leave takes one waiter from w's place in l, and the place itself with the last.
func (q *queue) leave(w *want, l *line) {
	e := l.places[w]
	if e.waiters--; e.waiters > 0 {
		return
	}
	q.dropEntry(e)
	for i, f := range w.places {
		if f == e {
			w.places[i] = w.places[len(w.places)-1]
			w.places = w.places[:len(w.places)-1]
			break
		}
	}
	if len(w.places) == 0 {
		q.forget(w)
	}
}

// remove takes w out of all its lines.
func (q *queue) remove(w *want) {
	if len(w.places) == 0 {
		return
	}
	for _, e := range w.places {
		q.dropEntry(e)
	}
	w.places = nil
	q.forget(w)
}

func (q *queue) forget(w *want) {
	q.depth--
	if w.kind() == ids {
		q.ids--
	}
}

func (q *queue) dropEntry(e *entry) {
	l, k := e.line, e.want.kind()
	l.heads[k].remove(e)
	l.level.all.remove(e)
	if l.priority == Interactive {
		if e.want.urgent--; e.want.urgent == 0 {
			q.urgent--
		}
	}
	l.caller.queued--
	delete(l.places, e.want)
	l.level.backlog.move(l.units, l.units-k.cost(), l.weight)
	l.units -= k.cost()
	if l.heads[k].first == nil {
		heap.Remove(&l.level.turns[k], l.slots[k])
	}
}

// charge moves l's turn on by units of cost; negative units give turns back.
func (q *queue) charge(l *line, units int64) {
	l.tag += float64(units) / float64(l.weight)
	for k := range l.slots {
		if l.slots[k] >= 0 {
			heap.Fix(&l.level.turns[k], l.slots[k])
		}
	}
}

// oldest is how long the longest wait in the level has lasted, 0 if there is none.
func (v *level) oldest(now time.Time) (d time.Duration) {
	for e := v.all.first; e != nil; e = e.inAll.next {
		d = max(d, now.Sub(e.since))
		if !e.back { // no later one is older
			break
		}
	}
	return d
}

// next is the kind of want whose turn it is in the level, of those allowed, and
// whether there is one.
func (v *level) next(lookups bool) (kind, bool) {
	c, i := v.turns[calls].top(), v.turns[ids].top()
	if !lookups {
		i = nil
	}
	switch {
	case c == nil && i == nil:
		return 0, false
	case c == nil:
		return ids, true
	case i == nil:
		return calls, true
	case c == i: // in one line they go in order of arrival
		if c.heads[calls].first.seq < c.heads[ids].first.seq {
			return calls, true
		}
		return ids, true
	// Between the kinds the one that would end first, so that an id, which is
	// nearly free, does not wait for the lists of all who began at the same time.
	case c.tag+float64(callCost)/float64(c.weight) < i.tag+float64(idCost)/float64(i.weight):
		return calls, true
	}
	return ids, true
}

// take removes the next want of a kind from the level and charges its line.
func (q *queue) take(v *level, k kind) (*want, *line) {
	l := v.turns[k].top()
	if l == nil {
		return nil, nil
	}
	w := l.heads[k].first.want
	v.vtime = max(v.vtime, l.tag)
	q.remove(w)
	q.charge(l, k.cost())
	return w, l
}
