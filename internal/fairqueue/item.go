package fairqueue

import "time"

// Kind tells items that share requests from those that take one for themselves.
type Kind int

// The kinds.
const (
	Shared Kind = iota
	Whole
	kinds = 2
)

// The cost of what waits, in units, as long as it is not known what it will leave
// with: a full request has a hundred shared items.
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

// Item is what waits. Its zero value waits nowhere and is of kind Shared. It must
// not be copied while it waits.
type Item struct {
	Value any  // the user's
	Kind  Kind // must not change while the item waits

	places  []*place
	urgent  int // places in interactive lines
	since   time.Time
	scanned scanned
}

// Waiting reports whether the item is in any line.
func (it *Item) Waiting() bool { return len(it.places) > 0 }

// In reports whether the item is in l.
func (it *Item) In(l *Line) bool { return l != nil && l.places[it] != nil }

// Since returns when the item came into the queue, the last time.
func (it *Item) Since() time.Time { return it.since }

// place is where an item waits in a line. An item has one in each line in which
// somebody waits for it.
type place struct {
	item    *Item
	line    *Line
	seq     uint64
	waiters int
	since   time.Time // when the first who waits here came
	back    bool      // the item has been taken and has returned
	inLine  links
	inLevel links
}

type links struct{ prev, next *place }

// placeList is a list through one of a place's links.
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
