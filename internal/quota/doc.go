// Package quota is the arithmetic of permits: when a request may be sent to Clerk, so that
// the quota is used fully and never exceeded. It is pure: the time is an argument, and
// nothing here waits, locks or logs.
//
// # A strict window: the delayed-release semaphore
//
// Clerk allows N requests per window W, and documents neither where its windows begin nor
// of which kind they are. At most N permits are held at once. A permit is held from
// before its request leaves until W (and half a percent) after its answer has come:
//
//	send       arrives at Clerk       answer               release
//	  |-------------|-------------------|---------- W ---------|
//	  |<------------------------- held ----------------------->|
//
// A request arrives between its send and its answer. Of any N+1 arrivals, the permit of
// the last was taken when one of the first N had been released: W or more after the
// answer to that one, and so W or more after its arrival. So any N+1 arrivals span more
// than W, for fixed, first-hit and sliding windows of any phase, whatever the delays. A
// log of send times is not enough: of two requests sent W apart, the first may be delayed
// and the second not.
//
// For example, with 100/10s and a round trip of 60 ms, a permit serves one request per
// 10 s + 0.05 s + 0.06 s, so 100 permits serve 98.9 requests per window. With production's
// 1000/10s and 100 ms, it is 985.
//
// # A token bucket
//
// If the quota has a burst, tokens are taken at the send and refilled at N/W, but the
// tokens of unanswered requests are kept out of the room that the refill may fill; see
// bucket.
//
// # Spacing
//
// A window that is spent at once comes back at once, and requests that come in between wait
// for up to W. So while over half is free, requests go at once. From then on they are
// spaced so that the permits that are free, and those that come free meanwhile, last
// evenly; see Limiter.next.
//
// # A 429
//
// A 429 means that somebody else uses the key, or that Clerk counts in another way. The
// whole key is paused for Retry-After (1 s at least, 5 min at most; 1, 2, 4 … s if it is
// missing). Then one request goes as a probe, and after its answer the rest follow evenly
// for a window. The first 429 in a window lowers the limit to 95 % of what was accepted in
// the last window, but at most by half. Each further one lengthens the pause, by W/20 and
// then doubling. After six windows without a 429 the limit grows again, by a hundredth of
// the quota per three windows.
//
// Headers can only lower the limit: until the window resets, no more may be held than our
// own requests, all of which Clerk may have counted, plus what Remaining allows.
//
// # Loans
//
// Permits can be lent to callers that send requests themselves. A loan is settled from
// the start: unless it is recalled, its permits come free as those of lost requests do.
//
// # Reading order
//
//   - config.go: Config and Parse
//   - limiter.go: Limiter: permits taken and settled; loan.go: permits lent
//   - supply.go: the interface of a window and a bucket, and what they have in common
//   - window.go, bucket.go: the two
//   - pause.go: pauses and lower limits after 429s; pace.go: spacing; estimate.go: waits
//   - saved.go: what is kept across restarts, by package statefile
//   - shared.go: Shared, a replica's part of a shared quota; report.go: its exchanges with the state
//   - exchange.go, mail.go: what is exchanged; sharedloan.go, sharedstate.go: loans and status
//   - fallback.go, local.go: without the state; clock.go: Redis's clock
//   - times.go, releases.go: sorted instants
//
// Package quotaredis keeps the state in Redis.
package quota
