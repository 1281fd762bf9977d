// Package fairqueue decides which item is next. It is a data structure without
// goroutines, locks or clocks: its user holds a lock and passes the time.
//
// # Items, lines, requests
//
// An Item waits in one or more lines. It has one place in each, however many callers
// wait for it there. A Line belongs to one Party, a name at a peer, at one priority.
// Items leave the queue in requests: a Whole item takes a request for itself; Shared
// items go together, as many as the user of the queue allows.
//
// # Order
//
// Interactive lines go before Batch lines, but every tenth request is Batch's while
// anything waits there. Inside a priority peers take turns, and inside a peer the lines
// of its names, both by start-time fair queueing (Goyal, Vin and Cheng, 1996): a tag is
// the virtual time at which the first item may start, it advances by cost/weight with
// each item taken, and the smallest tag is next. A peer or line that had no items joins
// at the virtual time, so nobody saves up turns or pays for a pause. A peer that has had
// turns in advance is remembered until the others have had theirs, or nothing waits.
//
// Items that leave together divide the cost of their request: of k items each costs 1/k.
// Between a whole item and shared ones, the one whose cost would be paid first goes first.
//
// Shared items fill requests, so they may leave before their turns, and their tags run
// ahead. Three rules that the paper does not have prevent misuse: a peer that joins with
// a shared item joins level with those that filled the last request (schedule.joinAt); a
// shared request waits for the turns of those who pay for it (schedule.first); and a peer
// whose next turn is a whole item's rides along without paying (Queue.fill).
// TestEachGetsItsShareOfRequests and TestNoNameGetsLessThanItsShare check the result:
// over 1,000 requests each gets its part, within a fifth.
//
// # Guarantees
//
// A peer may have a guaranteed part of all requests (see Share). While it has items and has
// had less than that, it goes first, at either priority; only the tenth of Batch goes
// before. See guarantee.
//
// # Costs
//
// Adding, removing and taking an item cost O(log peers), however many items wait. An
// estimate takes constant time, and a little for each peer with a guarantee; see backlog.
//
// # Reading order
//
//   - queue.go: Queue: adding and removing items; item.go: Item and its places
//   - party.go: peers and lines, and when they are forgotten; share.go, guarantee.go: their shares
//   - schedule.go, turnheap.go: how peers and lines take turns
//   - next.go: which item is next; fill.go: requests that several items share
//   - estimate.go, backlog.go: how many requests go before a newcomer; scan.go: before each item
package fairqueue
