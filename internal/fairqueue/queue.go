package fairqueue

import (
	"fmt"
	"time"
)

// Priority orders lines: interactive ones go first.
type Priority int

// The priorities.
const (
	Interactive Priority = iota
	Batch
	priorities = 2
)

// BatchTurn is the number of requests of which one is Batch's while anything waits
// there.
const BatchTurn = 10

// Queue holds the waiting items, in the order in which they will leave. It is not safe
// for concurrent use.
type Queue struct {
	levels     [priorities]level
	shares     map[string]Share // by Party.Peer
	guarantees []*guarantee     // of those with one, in the order of their keys
	seq        uint64
	depth      int    // items in lines, each counted once
	shared     int    // the shared ones of these
	urgent     int    // those of them that are in an interactive line
	batchAge   int    // requests since Batch had one, while anything waits there
	round      uint64 // requests taken
	scan       scan
}

// level is one priority's part of the queue.
type level struct {
	schedule[*peer]
	priority Priority
	peers    map[string]*peer
	indebted peerHeap  // peers without items or holders that have had turns in advance
	backlog  backlog   // of all peers, for estimates
	all      placeList // every place: those that returned, then the others in order of arrival
}

// New returns an empty queue.
func New() *Queue {
	q := &Queue{}
	for i := range q.levels {
		v := &q.levels[i]
		v.init()
		v.priority = Priority(i)
		v.peers = make(map[string]*peer)
		v.all.of = linksInLevel
	}
	return q
}

// Add adds one waiter for it to the back of l. If the item is in l already, it
// keeps its place.
func (q *Queue) Add(it *Item, l *Line, now time.Time) { q.add(it, l, now, false) }

// Return adds one waiter, who came at since, for an item that has been taken. The item
// goes to the front of l, unless it is in l already.
func (q *Queue) Return(it *Item, l *Line, since, now time.Time) {
	q.add(it, l, now, true)
	p := it.in(l)
	if since.Before(p.since) {
		p.since = since
	}
	p.back = true
	all := &l.peer.level.all
	q.scan.skip(p)
	all.remove(p)
	all.pushFront(p)
}

func (q *Queue) add(it *Item, l *Line, now time.Time, front bool) {
	if p := it.in(l); p != nil {
		p.waiters++
		return
	}
	q.seq++
	from, v := l.peer, l.peer.level
	if from.units == 0 {
		v.join(&from.turn, it.Kind, q.seq)
	}
	if l.units == 0 {
		from.join(&l.turn, it.Kind, q.seq)
	}
	p := &place{item: it, line: l, seq: q.seq, waiters: 1, since: now}
	k := it.Kind
	if front {
		if first := l.heads[k].first; first != nil {
			p.seq = first.seq
		}
		l.heads[k].pushFront(p)
	} else {
		l.heads[k].pushBack(p)
	}
	if !it.Waiting() {
		it.since = now
		q.depth++
		if k == Shared {
			q.shared++
		}
	}
	it.enter(p)
	if l.priority == Interactive {
		if it.urgent++; it.urgent == 1 {
			q.urgent++
		}
	}
	l.len++
	v.all.pushBack(p)
	l.move(k.cost())
	from.wait(l, k)
	v.wait(from, k)
}

// move adds units to what waits in l; they may be negative.
func (l *Line) move(units int64) {
	from := l.peer
	from.level.backlog.move(from.units, from.units+units, from.weight)
	from.units += units
	l.units += units
}

// Leave removes one waiter from the item's place in l, and the place with its last
// waiter. It does nothing if the item is not in l.
func (q *Queue) Leave(it *Item, l *Line) {
	p := it.in(l)
	if p == nil {
		return
	}
	if p.waiters--; p.waiters > 0 {
		return
	}
	q.drop(p)
	it.exit(p)
	if !it.Waiting() {
		q.forget(it)
	}
	q.settle()
}

// Remove removes the item from all its lines.
func (q *Queue) Remove(it *Item) {
	if it.Waiting() {
		q.remove(it)
		q.settle()
	}
}

// settle forgets the peers that need not be remembered.
func (q *Queue) settle() {
	for p := range q.levels {
		q.levels[p].settle()
	}
}

func (q *Queue) remove(it *Item) {
	for _, p := range it.places {
		q.drop(p)
	}
	clear(it.places)
	it.places, it.byLine = it.places[:0], nil
	q.forget(it)
}

func (q *Queue) forget(it *Item) {
	q.depth--
	if it.Kind == Shared {
		q.shared--
	}
}

func (q *Queue) drop(p *place) {
	l, k := p.line, p.item.Kind
	l.heads[k].remove(p)
	q.scan.skip(p)
	l.peer.level.all.remove(p)
	if l.priority == Interactive {
		if p.item.urgent--; p.item.urgent == 0 {
			q.urgent--
		}
	}
	p.line.len--
	l.move(-k.cost())
	if l.heads[k].first == nil {
		from := l.peer
		from.leave(l, k)
		if from.turns[k].Len() == 0 {
			from.level.leave(from, k)
		}
	}
}

// Len returns how many items wait, each counted once.
func (q *Queue) Len() int { return q.depth }

// Shared returns how many shared items wait, each counted once.
func (q *Queue) Shared() int { return q.shared }

// Depth returns how many items wait at a priority. An item that waits at both counts as
// Interactive.
func (q *Queue) Depth(p Priority) int {
	if p == Interactive {
		return q.urgent
	}
	return q.depth - q.urgent
}

// First returns an item that waits at a priority, nil if there is none.
func (q *Queue) First(p Priority) *Item {
	if first := q.levels[p].all.first; first != nil {
		return first.item
	}
	return nil
}

// Oldest returns how long the longest wait at a priority has lasted, 0 if nothing
// waits there.
func (q *Queue) Oldest(p Priority, now time.Time) (d time.Duration) {
	for e := q.levels[p].all.first; e != nil; e = e.inLevel.next {
		d = max(d, now.Sub(e.since))
		if !e.back { // no later one is older
			break
		}
	}
	return d
}

// CheckEmpty returns an error if the queue is not empty. It is for tests of packages that
// use the queue.
func (q *Queue) CheckEmpty() error {
	if q.depth != 0 || q.shared != 0 || q.urgent != 0 {
		return fmt.Errorf("%d items are in the queue, %d of them shared, %d interactive", q.depth, q.shared, q.urgent)
	}
	for p := range q.levels {
		v := &q.levels[p]
		if len(v.peers) != 0 || v.indebted.Len() != 0 {
			return fmt.Errorf("priority %d remembers %d peers, %d of them indebted", p, len(v.peers), v.indebted.Len())
		}
		if v.backlog != (backlog{}) || v.all.first != nil || v.all.last != nil || v.turns[Shared].Len()+v.turns[Whole].Len() != 0 {
			return fmt.Errorf("priority %d is not empty: %+v", p, v)
		}
	}
	return nil
}
