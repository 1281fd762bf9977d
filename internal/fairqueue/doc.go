// Package fairqueue decides which item is next. It is a data structure without
// goroutines, locks or clocks: whoever uses it holds a lock, and passes the time.
//
// # Items, lines, requests
//
// An Item waits in one or more lines, once for all who wait for it there. A Line
// belongs to one caller at one priority. Items leave the queue in requests: a
// Whole item takes a request for itself, Shared items go together, as many as the
// user of the queue allows.
//
// # Order
//
// Interactive lines go before Batch lines, but every tenth request is Batch's
// while it waits. Lines of one priority take turns by start-time fair queueing
// (Goyal, Vin and Cheng, 1996): a line's tag is the virtual time at which its
// first item may start, it moves on by cost/weight with each item taken, and the
// line with the least tag is next. A line that was empty joins at the virtual
// time of its priority, so nobody saves up turns or pays for a lull.
//
// What leaves together shares the cost of its request: of k items each costs 1/k.
// Between a whole item and shared ones that one goes first whose cost would be paid
// first.
//
// Shared items fill requests, so they may leave before their turns: their lines' tags
// run ahead. A line that joins with a shared item joins level with those that filled
// the last request, at most two turns ahead of who waits with whole items. Deviations
// from the paper end there. TestEachGetsItsShareOfRequests holds what comes of it:
// over 1,000 requests each caller has its share, within a fifth.
//
// # Costs
//
// Adding, removing and taking an item cost O(log lines), however much waits. An
// estimate takes constant time; see backlog.
package fairqueue
