package usage

import (
	"container/heap"
	"sync"
	"sync/atomic"
)

const (
	maxCallers   = 1000 // callers that are remembered by name
	firstCallers = 100  // the callers that came first, which are never forgotten
	shownCallers = 100  // callers in Report.Busiest
)

// wholeRequest is the price of a request. Callers pay parts of it, in whole numbers, so
// that sums in whatever order never seem to fall.
const wholeRequest = 1_000_000

// Callers holds the callers that were seen lately. If there are too many, each new one
// replaces the least busy of those that wait for nothing. If there is none, the new
// caller is not remembered by name. New makes a Callers, which is safe for concurrent use.
type Callers struct {
	index sync.Map // the same as byName, for reading without the lock

	mu        sync.Mutex         // guards all that follows
	byName    map[string]*Caller // the callers that are remembered
	idle      callerHeap         // callers that wait for nothing, except the first ones
	others    *Caller            // all callers that are not remembered
	forgotten counts             // of others, and of all callers that were forgotten
}

// New returns a Callers that has seen nobody.
func New() *Callers {
	c := &Callers{byName: make(map[string]*Caller)}
	c.others = &Caller{of: c, first: true, slot: -1}
	c.others.counts.Store(&c.forgotten)
	return c
}

// Caller is one caller, or all those that are not remembered by name. It stays valid when
// the caller is forgotten. Its methods are safe for concurrent use.
type Caller struct {
	of     *Callers
	name   string
	first  bool                   // one of those that came first
	counts atomic.Pointer[counts] // its own or, once it is forgotten, those of all forgotten callers

	// Guarded by of.mu.
	queued int  // its waiters
	slot   int  // index in Callers.idle, -1 if it is not there
	rank   rank // of its counts, when last read
}

// rank is how busy a caller is.
type rank struct {
	paid, lookups int64
}

// counts holds the counts of a caller since the start.
type counts struct {
	lookups atomic.Int64 // ids asked for; counted without the lock
	paid    int64        // for requests to Clerk, in parts of wholeRequest; guarded by Callers.mu
	refused int64        // wants; guarded by Callers.mu
	over    int64        // over a limit of the caller's own; guarded by Callers.mu
}

// Get returns the caller of a name.
func (c *Callers) Get(name string) *Caller {
	if who, ok := c.index.Load(name); ok {
		return who.(*Caller)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if who := c.byName[name]; who != nil {
		return who
	}
	if len(c.byName) >= maxCallers && !c.forget() {
		return c.others
	}
	who := &Caller{of: c, name: name, first: len(c.byName) < firstCallers, slot: -1}
	who.counts.Store(&counts{})
	c.byName[name] = who
	c.index.Store(name, who)
	c.rest(who)
	return who
}

// Asked counts ids that a caller has asked for, wherever the answers come from.
func (c *Callers) Asked(name string, ids int) { c.Get(name).asked(ids) }

// Charge makes payers pay for one request to Clerk, in equal parts.
func (c *Callers) Charge(payers []*Caller) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(payers)
	for i, who := range payers {
		who.counts.Load().paid += int64(wholeRequest*(i+1)/n - wholeRequest*i/n)
	}
}

// Pay makes c pay for whole requests.
func (c *Caller) Pay(requests int) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.counts.Load().paid += int64(requests) * wholeRequest
}

// Refused counts wants of c that were refused.
func (c *Caller) Refused(wants int) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.counts.Load().refused += int64(wants)
}

// OverLimit counts ids, lists, counts and permits of c that were refused because of a limit
// of its own.
func (c *Caller) OverLimit(n int) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.counts.Load().over += int64(n)
}

// Wait counts one waiter more.
func (c *Caller) Wait() {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c = c.counted()
	if c.queued++; c.slot >= 0 {
		heap.Remove(&c.of.idle, c.slot)
	}
}

// Leave counts one waiter less.
func (c *Caller) Leave() {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c = c.counted()
	if c.queued--; c.queued == 0 {
		c.of.rest(c)
	}
}

// counted returns the caller that counts the waiters of c: c itself unless it was
// forgotten, which only happens while none of them waits.
func (c *Caller) counted() *Caller {
	if c.of.byName[c.name] != c {
		return c.of.others
	}
	return c
}

// asked counts ids that c has asked for. It needs no lock unless c was just forgotten.
func (c *Caller) asked(ids int) {
	own := c.counts.Load()
	own.lookups.Add(int64(ids))
	c.moveLookups(own)
}

// moveLookups moves lookups that were counted in old after c was forgotten. It takes the
// lock only then, so that no report misses what is being moved.
func (c *Caller) moveLookups(old *counts) {
	if c.counts.Load() == old {
		return
	}
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.of.forgotten.lookups.Add(old.lookups.Swap(0))
}

// rest records that who waits for nothing.
func (c *Callers) rest(who *Caller) {
	if who.first || c.byName[who.name] != who {
		return
	}
	who.ranked()
	heap.Push(&c.idle, who)
}

// ranked brings c's rank up to date, and reports whether it has changed.
func (c *Caller) ranked() bool {
	own := c.counts.Load()
	old := c.rank
	c.rank = rank{own.paid, own.lookups.Load()}
	return c.rank != old
}

// forget forgets the least busy of the callers that wait for nothing. It returns false
// if there is none.
func (c *Callers) forget() bool {
	if len(c.idle) == 0 {
		return false
	}
	// Ranks only rise, and some may have risen since they were read.
	for range 10 {
		if !c.idle[0].ranked() {
			break
		}
		heap.Fix(&c.idle, 0)
	}
	who := heap.Pop(&c.idle).(*Caller)
	delete(c.byName, who.name)
	c.index.Delete(who.name)
	own := who.counts.Swap(&c.forgotten)
	c.forgotten.lookups.Add(own.lookups.Swap(0))
	c.forgotten.paid += own.paid
	c.forgotten.refused += own.refused
	c.forgotten.over += own.over
	return true
}

// callerHeap is a heap of callers, the least busy first.
type callerHeap []*Caller

func (h callerHeap) Len() int { return len(h) }
func (h callerHeap) Less(i, j int) bool {
	a, b := h[i].rank, h[j].rank
	if a.paid != b.paid {
		return a.paid < b.paid
	}
	return a.lookups < b.lookups
}
func (h callerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i, j
}

// Push implements heap.Interface.
func (h *callerHeap) Push(x any) {
	c := x.(*Caller)
	c.slot = len(*h)
	*h = append(*h, c)
}

// Pop implements heap.Interface.
func (h *callerHeap) Pop() any {
	n := len(*h) - 1
	c := (*h)[n]
	(*h)[n] = nil
	*h = (*h)[:n]
	c.slot = -1
	return c
}
