// Package quota is the arithmetic of permits: who may send a request to Clerk
// when, so that the quota is used up and never exceeded. It is pure: the time
// comes in as an argument, and nothing here waits, locks or logs.
//
// # A strict window: the delayed-release semaphore
//
// Clerk allows N requests per window W and documents neither where its windows
// begin nor of which kind they are. At most N permits are held at once, and a
// permit is held from before its request leaves until W (and half a percent)
// after its answer has come:
//
//	send       arrives at Clerk       answer               release
//	  |-------------|-------------------|---------- W ---------|
//	  |<------------------------- held ----------------------->|
//
// A request arrives between its send and its answer. Take any N+1 arrivals: the
// last one's permit was taken when one of the first N had been released, so W
// or more after that one's answer, and so W or more after its arrival. Any N+1
// arrivals span more than W, for fixed, first-hit and sliding windows of any
// phase, whatever the delays. A log of send times is not enough: of two requests
// sent W apart, the first may be delayed and the second not.
//
// By the numbers, for 100/10s and a round trip of 60 ms: a permit serves one
// request per 10 s + 0.05 s + 0.06 s, so 100 permits serve 98.9 requests per
// window. With production's 1000/10s and 100 ms: 985.
//
// # A token bucket
//
// Where the quota has a burst, tokens are taken at the send and refilled at N/W,
// but the tokens of unanswered requests are kept out of the room that the refill
// may fill; see bucket.
//
// # Spacing
//
// A window spent at once comes back at once, and whoever comes in between waits
// for up to W. So while over half is free requests go at once, and from there on
// so far apart that the permits that are free, and those that come free
// meanwhile, last evenly; see Limiter.next.
//
// # A 429
//
// It says that somebody else uses the key, or that Clerk counts otherwise. The
// whole key is held through Retry-After (1 s at least, 5 min at most; a guess of
// 1, 2, 4 … s where it is missing), then one request goes as a probe, and after
// its answer the rest follow evenly for a window. The first 429 in a window
// lowers the limit to 95 % of what was accepted in the last window, though by no
// more than half; each further one lengthens the pause, by W/20 and then
// doubling. After six windows without one the limit grows again, a hundredth of
// the quota per three windows.
//
// Headers, where they come, only ever tighten: no more may be held than our own
// requests, all of which Clerk may have counted, and what Remaining says, until
// the window resets.
package quota
