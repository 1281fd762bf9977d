// Package fairqueue decides which item is next. It is a data structure without
// goroutines, locks or clocks: whoever uses it holds a lock, and passes the time.
//
// # Items, lines, requests
//
// An Item waits in one or more lines, once for all who wait for it there. A Line
// belongs to one Party at one priority: a name at a peer. Items leave the queue in requests: a
// Whole item takes a request for itself, Shared items go together, as many as the
// user of the queue allows.
//
// # Order
//
// Interactive lines go before Batch lines, but every tenth request is Batch's
// while it waits. Inside a priority peers take turns, and inside a peer its names'
// lines, both by start-time fair queueing (Goyal, Vin and Cheng, 1996): a tag is the
// virtual time at which the first item may start, it moves on by cost/weight with each
// item taken, and the least tag is next. Who had nothing joins at the virtual time, so
// nobody saves up turns or pays for a lull. A peer that has had turns ahead is
// remembered until the others have had theirs, or nothing waits.
//
// What leaves together shares the cost of its request: of k items each costs 1/k.
// Between a whole item and shared ones that one goes first whose cost would be paid
// first.
//
// Shared items fill requests, so they may leave before their turns, and their tags run
// ahead. Three rules beyond the paper keep that from being used: who joins with a shared
// item joins level with those that filled the last request (schedule.joinAt); a shared
// request waits for the turns of those who pay for it (schedule.first); and a peer whose
// next turn is a whole item's rides along without paying (Queue.fill).
// TestEachGetsItsShareOfRequests and TestNoNameGetsLessThanItsShare hold what comes of
// it: over 1,000 requests each has its share, within a fifth.
//
// # Costs
//
// Adding, removing and taking an item cost O(log peers), however much waits. An
// estimate takes constant time; see backlog.
//
// # Files
//
//   - queue.go: Queue, what comes and leaves; item.go: Item and its places
//   - party.go: peers and lines, and when they are forgotten; schedule.go: how they take turns
//   - turn.go: what is next; fill.go: a request that items share
//   - estimate.go, backlog.go: what goes before a newcomer
package fairqueue
