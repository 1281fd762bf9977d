package gate

import (
	"cmp"
	"container/heap"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	maxCallers   = 1000 // callers remembered by name
	firstCallers = 100  // ... of those, the ones that came first are never forgotten
	shownCallers = 100  // callers told by Status.Callers
)

// wholeRequest is a request in the parts that callers pay: whole numbers, so that
// what is summed in whatever order never seems to fall.
const wholeRequest = 1_000_000

// caller is who asks.
type caller struct {
	name   string
	queued int                  // its waiters, as the crowd counts
	first  bool                 // one of those that came first
	sums   atomic.Pointer[sums] // its own or, once it is forgotten, those of all who are
	slot   int                  // index in callers.idle, -1 if it is not there
	rank   rank                 // of its sums, as last looked at
}

// rank is how busy a caller is.
type rank struct {
	share, lookups int64
}

// sums are what is counted of callers since the start.
type sums struct {
	lookups atomic.Int64 // ids asked for; needs no lock
	share   int64        // of the requests to Clerk, in parts of wholeRequest
	refused int64        // wants
}

// asked counts ids that c has asked for. It needs no lock.
func (c *caller) asked(ids int) {
	s := c.sums.Load()
	s.lookups.Add(int64(ids))
	c.handOn(s)
}

// handOn moves what was counted in s since c was forgotten, where nobody looks any
// more. It needs no lock.
func (c *caller) handOn(s *sums) {
	if now := c.sums.Load(); now != s {
		now.lookups.Add(s.lookups.Swap(0))
	}
}

// callers are those seen lately. Beyond a bound the least busy of those who want
// nothing is forgotten for each that comes. If all want something, who comes is not
// remembered by name.
type callers struct {
	byName    map[string]*caller
	index     sync.Map   // the same, for reading without the gate's lock
	idle      callerHeap // those that want nothing, but for the first ones
	others    *caller    // all who are not remembered
	forgotten sums       // their sums, and those of all who were forgotten
}

func (c *callers) init() {
	c.byName = make(map[string]*caller)
	c.others = &caller{first: true, slot: -1}
	c.others.sums.Store(&c.forgotten)
}

// get gives the caller of a name.
func (c *callers) get(name string) *caller {
	if who := c.byName[name]; who != nil {
		return who
	}
	if len(c.byName) >= maxCallers && !c.forget() {
		return c.others
	}
	who := &caller{name: name, first: len(c.byName) < firstCallers, slot: -1}
	who.sums.Store(&sums{})
	c.byName[name] = who
	c.index.Store(name, who)
	c.rest(who)
	return who
}

// wait notes that who has one waiter more.
func (c *callers) wait(who *caller) {
	if who.queued++; who.slot >= 0 {
		heap.Remove(&c.idle, who.slot)
	}
}

// leave notes that who has one waiter less.
func (c *callers) leave(who *caller) {
	if who.queued--; who.queued == 0 {
		c.rest(who)
	}
}

// rest notes that who wants nothing.
func (c *callers) rest(who *caller) {
	if who.first || c.byName[who.name] != who {
		return
	}
	who.ranked()
	heap.Push(&c.idle, who)
}

// ranked brings c's rank up to date, and reports whether it has changed.
func (c *caller) ranked() bool {
	s := c.sums.Load()
	old := c.rank
	c.rank = rank{s.share, s.lookups.Load()}
	return c.rank != old
}

// forget forgets the least busy caller of those who want nothing. It returns false if
// there is none.
func (c *callers) forget() bool {
	if len(c.idle) == 0 {
		return false
	}
	// Ranks only rise. Some may have since they were looked at.
	for range 10 {
		if !c.idle[0].ranked() {
			break
		}
		heap.Fix(&c.idle, 0)
	}
	who := heap.Pop(&c.idle).(*caller)
	delete(c.byName, who.name)
	c.index.Delete(who.name)
	own := who.sums.Swap(&c.forgotten)
	c.forgotten.lookups.Add(own.lookups.Swap(0))
	c.forgotten.share += own.share
	c.forgotten.refused += own.refused
	return true
}

// callerHeap has the least busy caller first.
type callerHeap []*caller

func (h callerHeap) Len() int { return len(h) }
func (h callerHeap) Less(i, j int) bool {
	a, b := h[i].rank, h[j].rank
	if a.share != b.share {
		return a.share < b.share
	}
	return a.lookups < b.lookups
}
func (h callerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i, j
}

// Push is container/heap's.
func (h *callerHeap) Push(x any) {
	c := x.(*caller)
	c.slot = len(*h)
	*h = append(*h, c)
}

// Pop is container/heap's.
func (h *callerHeap) Pop() any {
	n := len(*h) - 1
	c := (*h)[n]
	(*h)[n] = nil
	*h = (*h)[:n]
	c.slot = -1
	return c
}

// pay has c pay for whole requests.
func (c *caller) pay(requests int) { c.sums.Load().share += int64(requests) * wholeRequest }

// pay has f's payers pay for it in equal parts.
func (f *flight) pay() {
	for i, c := range f.payers {
		n := len(f.payers)
		c.sums.Load().share += int64(wholeRequest*(i+1)/n - wholeRequest*i/n)
	}
}

// standing is what a caller, or several, have done so far.
type standing struct {
	name                    string
	first                   bool
	queued                  int
	lookups, share, refused int64 // as in sums
}

func (s *sums) standing() standing {
	return standing{lookups: s.lookups.Load(), share: s.share, refused: s.refused}
}

func (a *standing) add(b standing) {
	a.queued += b.queued
	a.lookups += b.lookups
	a.share += b.share
	a.refused += b.refused
}

func (a standing) status() CallerStatus {
	return CallerStatus{
		Name: a.name, Lookups: a.lookups, Share: float64(a.share) / wholeRequest, Queued: a.queued, Refused: a.refused,
	}
}

// standings are those of all who are remembered, in no order, and that of all others.
func (c *callers) standings() (all []standing, others standing) {
	all = make([]standing, 0, len(c.byName))
	for _, who := range c.byName {
		st := who.sums.Load().standing()
		st.name, st.first, st.queued = who.name, who.first, who.queued
		all = append(all, st)
	}
	others = c.forgotten.standing()
	others.queued = c.others.queued
	return all, others
}

// tellCallers fills in what s says of callers. It changes all, and needs no lock.
func (s *Status) tellCallers(all []standing, others standing) {
	slices.SortFunc(all, func(a, b standing) int { // the busiest first
		return cmp.Or(cmp.Compare(b.share, a.share), cmp.Compare(b.lookups, a.lookups), cmp.Compare(a.name, b.name))
	})
	later := others
	for i, st := range all {
		if i < shownCallers {
			s.Callers = append(s.Callers, st.status())
		} else {
			others.add(st)
		}
		if st.first {
			s.FirstCallers = append(s.FirstCallers, st.status())
		} else {
			later.add(st)
		}
	}
	s.OtherCallers, s.LaterCallers = others.status(), later.status()
}

// Asked counts ids that a caller has asked for, wherever the answers come from.
func (g *Gate) Asked(name string, ids int) {
	who, ok := g.callers.index.Load(name)
	if !ok {
		g.mu.Lock()
		who = g.callers.get(name)
		g.mu.Unlock()
	}
	who.(*caller).asked(ids)
}
