package gate

import (
	"cmp"
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
	queued int                  // its waiters in the queue
	first  bool                 // one of those that came first
	sums   atomic.Pointer[sums] // its own or, once it is forgotten, those of all who are
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

// callers are those seen lately. Beyond a bound the least busy are forgotten.
type callers struct {
	byName    map[string]*caller
	index     sync.Map // the same, for reading without the gate's lock
	forgotten sums
}

func (c *callers) init() { c.byName = make(map[string]*caller) }

// get gives the caller of a name.
func (c *callers) get(name string) *caller {
	who := c.byName[name]
	if who == nil {
		if len(c.byName) >= maxCallers {
			c.forget()
		}
		who = &caller{name: name, first: len(c.byName) < firstCallers}
		who.sums.Store(&sums{})
		c.byName[name] = who
		c.index.Store(name, who)
	}
	return who
}

// forget drops the less busy half of those who want nothing now.
func (c *callers) forget() {
	idle := slices.DeleteFunc(c.standings(), func(st standing) bool { return st.first || st.queued > 0 })
	for _, st := range idle[len(idle)/2:] {
		who := c.byName[st.name]
		delete(c.byName, who.name)
		c.index.Delete(who.name)
		own := who.sums.Swap(&c.forgotten)
		c.forgotten.lookups.Add(own.lookups.Swap(0))
		c.forgotten.share += own.share
		c.forgotten.refused += own.refused
	}
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

// standings are those of all who are remembered, the busiest first.
func (c *callers) standings() []standing {
	all := make([]standing, 0, len(c.byName))
	for _, who := range c.byName {
		st := who.sums.Load().standing()
		st.name, st.first, st.queued = who.name, who.first, who.queued
		all = append(all, st)
	}
	slices.SortFunc(all, func(a, b standing) int {
		return cmp.Or(cmp.Compare(b.share, a.share), cmp.Compare(b.lookups, a.lookups), cmp.Compare(a.name, b.name))
	})
	return all
}

// tell fills in what s says of callers.
func (c *callers) tell(s *Status) {
	others := c.forgotten.standing()
	later := others
	for i, st := range c.standings() {
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
