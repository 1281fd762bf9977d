package fairqueue

import "time"

// Kind distinguishes items that share requests from those that take one for themselves.
type Kind int

// The kinds.
const (
	Shared Kind = iota
	Whole
	kinds = 2
)

// The costs of items, in units, while it is not known how many will leave together. A
// full request has a hundred shared items.
const (
	sharedCost = 1
	wholeCost  = 100
)

func (k Kind) cost() int64 {
	if k == Shared {
		return sharedCost
	}
	return wholeCost
}

// Item is something that waits. The zero value waits nowhere and is of kind Shared. An
// Item must not be copied while it waits.
type Item struct {
	Value any  // for the user of the queue
	Kind  Kind // must not change while the item waits

	places  []*place
	first   [1]*place        // backs places while there is only one
	byLine  map[*Line]*place // the places by line if there are many, else nil
	urgent  int              // places in interactive lines
	since   time.Time
	scanned scanMark
}

// Waiting reports whether the item is in any line.
func (it *Item) Waiting() bool { return len(it.places) > 0 }

// In reports whether the item is in l.
func (it *Item) In(l *Line) bool { return it.in(l) != nil }

// Since returns when the item last came into the queue.
func (it *Item) Since() time.Time { return it.since }

// manyPlaces is the number of places above which they are looked up in a map.
const manyPlaces = 8

// in returns the item's place in l, nil if it has none.
func (it *Item) in(l *Line) *place {
	if it.byLine != nil {
		return it.byLine[l]
	}
	for _, p := range it.places {
		if p.line == l {
			return p
		}
	}
	return nil
}

// enter adds a place to the item.
func (it *Item) enter(p *place) {
	if it.places == nil {
		it.places = it.first[:0]
	}
	p.slot = len(it.places)
	it.places = append(it.places, p)
	switch {
	case it.byLine != nil:
		it.byLine[p.line] = p
	case len(it.places) > manyPlaces:
		it.byLine = make(map[*Line]*place, 2*manyPlaces)
		for _, p := range it.places {
			it.byLine[p.line] = p
		}
	}
}

// exit removes a place from the item.
func (it *Item) exit(p *place) {
	n := len(it.places) - 1
	it.places[p.slot] = it.places[n]
	it.places[p.slot].slot = p.slot
	it.places[n] = nil
	it.places = it.places[:n]
	if it.byLine != nil {
		delete(it.byLine, p.line)
	}
}

// place is where an item waits in a line. An item has one place in each line in which it
// waits.
type place struct {
	item    *Item
	line    *Line
	seq     uint64
	waiters int
	slot    int       // index in item.places
	since   time.Time // when the first waiter came
	back    bool      // the item was taken and has returned
	inLine  links
	inLevel links
}

type links struct{ prev, next *place }

// placeList is a doubly linked list through one of the links of a place.
type placeList struct {
	first, last *place
	of          func(*place) *links
}

func linksInLine(p *place) *links  { return &p.inLine }
func linksInLevel(p *place) *links { return &p.inLevel }

func (l *placeList) pushBack(p *place) {
	n := l.of(p)
	n.prev, n.next = l.last, nil
	if l.last != nil {
		l.of(l.last).next = p
	} else {
		l.first = p
	}
	l.last = p
}

func (l *placeList) pushFront(p *place) {
	n := l.of(p)
	n.prev, n.next = nil, l.first
	if l.first != nil {
		l.of(l.first).prev = p
	} else {
		l.last = p
	}
	l.first = p
}

func (l *placeList) remove(p *place) {
	n := l.of(p)
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
