package gate

import (
	"cmp"
	"container/heap"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/clerkgate/clerkgate/clerkapi"
)

const (
	maxCallers   = 1000 // callers that are remembered by name
	firstCallers = 100  // the callers that came first, which are never forgotten
	shownCallers = 100  // callers in Status.Callers
)

// wholeRequest is the price of a request. Callers pay parts of it, in whole numbers, so
// that sums in whatever order never seem to fall.
const wholeRequest = 1_000_000

// caller is one caller, or all those that are not remembered by name.
type caller struct {
	name   string
	queued int                    // its waiters that the occupancy counts
	first  bool                   // one of those that came first
	counts atomic.Pointer[counts] // its own or, once it is forgotten, those of all forgotten callers
	slot   int                    // index in callers.idle, -1 if it is not there
	rank   rank                   // of its counts, when last read
}

// rank is how busy a caller is.
type rank struct {
	paid, lookups int64
}

// counts holds what is counted of a caller since the start.
type counts struct {
	lookups atomic.Int64 // ids asked for; needs no lock
	paid    int64        // for requests to Clerk, in parts of wholeRequest
	refused int64        // wants
}

// countLookups counts ids that c has asked for. It needs no lock.
func (c *caller) countLookups(ids int) {
	own := c.counts.Load()
	own.lookups.Add(int64(ids))
	c.moveLookups(own)
}

// moveLookups moves lookups that were counted in old after c was forgotten. It needs no
// lock.
func (c *caller) moveLookups(old *counts) {
	if now := c.counts.Load(); now != old {
		now.lookups.Add(old.lookups.Swap(0))
	}
}

// callers holds the callers that were seen lately. If there are too many, each new one
// replaces the least busy of those that wait for nothing. If there is none, the new
// caller is not remembered by name.
type callers struct {
	byName    map[string]*caller
	index     sync.Map   // the same as byName, for reading without the gate's lock
	idle      callerHeap // callers that wait for nothing, except the first ones
	others    *caller    // all callers that are not remembered
	forgotten counts     // of others, and of all callers that were forgotten
}

func (c *callers) init() {
	c.byName = make(map[string]*caller)
	c.others = &caller{first: true, slot: -1}
	c.others.counts.Store(&c.forgotten)
}

// get returns the caller of a name.
func (c *callers) get(name string) *caller {
	if who := c.byName[name]; who != nil {
		return who
	}
	if len(c.byName) >= maxCallers && !c.forget() {
		return c.others
	}
	who := &caller{name: name, first: len(c.byName) < firstCallers, slot: -1}
	who.counts.Store(&counts{})
	c.byName[name] = who
	c.index.Store(name, who)
	c.rest(who)
	return who
}

// wait records that who has one waiter more.
func (c *callers) wait(who *caller) {
	if who.queued++; who.slot >= 0 {
		heap.Remove(&c.idle, who.slot)
	}
}

// leave records that who has one waiter less.
func (c *callers) leave(who *caller) {
	if who.queued--; who.queued == 0 {
		c.rest(who)
	}
}

// rest records that who waits for nothing.
func (c *callers) rest(who *caller) {
	if who.first || c.byName[who.name] != who {
		return
	}
	who.ranked()
	heap.Push(&c.idle, who)
}

// ranked brings c's rank up to date, and reports whether it has changed.
func (c *caller) ranked() bool {
	own := c.counts.Load()
	old := c.rank
	c.rank = rank{own.paid, own.lookups.Load()}
	return c.rank != old
}

// forget forgets the least busy of the callers that wait for nothing. It returns false
// if there is none.
func (c *callers) forget() bool {
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
	who := heap.Pop(&c.idle).(*caller)
	delete(c.byName, who.name)
	c.index.Delete(who.name)
	own := who.counts.Swap(&c.forgotten)
	c.forgotten.lookups.Add(own.lookups.Swap(0))
	c.forgotten.paid += own.paid
	c.forgotten.refused += own.refused
	return true
}

// callerHeap is a heap of callers, the least busy first.
type callerHeap []*caller

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
	c := x.(*caller)
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

// pay makes c pay for whole requests.
func (c *caller) pay(requests int) { c.counts.Load().paid += int64(requests) * wholeRequest }

// pay makes the payers of r, which ended with err, pay for it in equal parts, unless it
// was not sent.
func (r *request) pay(err error) {
	if err != nil && errors.Is(err, clerkapi.ErrNotSent) {
		return
	}
	for i, c := range r.payers {
		n := len(r.payers)
		c.counts.Load().paid += int64(wholeRequest*(i+1)/n - wholeRequest*i/n)
	}
}

// CallerStatus is what one caller, or several, have done since the start.
type CallerStatus struct {
	Name     string
	Lookups  int64   // ids asked for
	Requests float64 // its part of the requests to Clerk, and the permits of its leases that were used
	Queued   int     // its waiters, one for each of its wants
	Refused  int64   // wants refused
}

// callerStats is a copy of the counts of one caller, or the sum of several.
type callerStats struct {
	name                   string
	first                  bool
	queued                 int
	lookups, paid, refused int64
}

func (c *counts) stats() callerStats {
	return callerStats{lookups: c.lookups.Load(), paid: c.paid, refused: c.refused}
}

func (a *callerStats) add(b callerStats) {
	a.queued += b.queued
	a.lookups += b.lookups
	a.paid += b.paid
	a.refused += b.refused
}

func (a callerStats) status() CallerStatus {
	return CallerStatus{
		Name: a.name, Lookups: a.lookups, Requests: float64(a.paid) / wholeRequest, Queued: a.queued, Refused: a.refused,
	}
}

// sortByUse sorts the busiest callers first.
func sortByUse(all []callerStats) {
	slices.SortFunc(all, func(a, b callerStats) int {
		return cmp.Or(cmp.Compare(b.paid, a.paid), cmp.Compare(b.lookups, a.lookups), cmp.Compare(a.name, b.name))
	})
}

// stats returns the statistics of all callers that are remembered, in no order, and the
// sum of all others.
func (c *callers) stats() (all []callerStats, others callerStats) {
	all = make([]callerStats, 0, len(c.byName))
	for _, who := range c.byName {
		st := who.counts.Load().stats()
		st.name, st.first, st.queued = who.name, who.first, who.queued
		all = append(all, st)
	}
	others = c.forgotten.stats()
	others.queued = c.others.queued
	return all, others
}

// Asked counts ids that a caller has asked for, wherever the answers come from.
func (g *Gate) Asked(name string, ids int) {
	who, ok := g.callers.index.Load(name)
	if !ok {
		g.mu.Lock()
		who = g.callers.get(name)
		g.mu.Unlock()
	}
	who.(*caller).countLookups(ids)
}
