// Package gate queues what callers want of Clerk behind one quota.
//
// It queues wants, not requests. A want is a user's id, a list, a count or a lease of
// permits, with all callers that wait for it. Whenever a permit of the quota and a slot
// in flight are free, the next wants in fair order make a request: up to 100 ids share
// one, a list or count takes one for itself. An idle gate sends a lone lookup at once; a
// busy one fills its requests, because ids gather while others are under way or the quota
// is spent. A lookup that is not full goes only while no other lookup is under way, or
// one while over half of the quota is free.
//
// # Order
//
// Interactive wants go before batch ones, but every tenth permit is used for batch wants
// while any wait. Inside a priority callers take turns by weight, however many wants each
// has queued. Turns are counted in requests: a list costs 1, and of k ids that leave
// together each costs 1/k. Room left in a request is filled with ids of any caller.
// Package fairqueue decides the order; the gate decides when something may go.
//
// # Coalescing
//
// A want belongs to no caller. Later callers join a want that waits or is under way, but
// a fresh lookup joins none that has left. A caller that leaves removes only itself. When
// the last one leaves, a want that has not been sent is cancelled; the answer to one that
// has been sent is awaited. Every accepted waiter gets exactly one answer.
//
// # Failures
//
// clerkapi.Judge decides what an answer means and whom it concerns. Network errors, 5xx
// and answers that can't be used are tried again, three times in all, after a random
// backoff that doubles, within the caller's deadline and a budget of a tenth of the
// recent requests. A lookup that may have failed because of one id is split, between
// callers first, until the culprit stands alone.
//
// If an answer may concern other callers, a probe decides. A probe is a request that no
// caller has a part in. It shows whether the key is refused or the quota is spent
// (resolve.go), and whether Clerk fails as a whole (evidence.go). Failures, or 429s, of
// different callers' requests need no probe. While the breaker is open the gate refuses everything at once, and sends one
// probe per BreakerOpen until Clerk is back. A refused key is likewise probed, each second
// at first and every ten seconds later, and a new key at once.
//
// The number of requests in flight and the size of lookups adapt to what Clerk accepts
// (concurrency.go, lookupsize.go).
//
// # Leases
//
// A lease lends permits to a caller that sends requests to Clerk itself. It waits for its
// turn like any want, then gathers its permits, at most every second one while others
// wait. Its caller releases it, or it ends by itself, and its permits then count as lost
// requests do. With a shared quota it can be released at any replica (forward.go).
//
// # Goroutines
//
// Run is one goroutine, each request in flight is one (a probe two), and so are the
// keepers of the state file and of the shared quota. Callers wait in their own goroutines. One mutex,
// Gate.mu, guards everything.
//
// # Reading order
//
// Each file uses only those after it, but for a few uses that leases make.
//
//   - gate.go: Config, Gate and New; run.go: Run
//   - sharing.go, statefile.go: what keeps the quota: the state of the replicas, the state file
//   - status.go: Status and Health
//   - forward.go, requestid.go, acquire.go: Release and Acquire, here and at other replicas
//   - admit.go: arrivals: Lookup, List and Count, coalescing, refusals, deadlines
//   - dispatch.go: what goes next, and when; gather.go: permits of leases
//   - send.go: from the queue to a request and its answer
//   - settle.go: what an answer means: for the permit, the breaker, retries, waiters
//   - probe.go, resolve.go: probes, and the answers whose meaning they decide; limited.go: 429s
//   - places.go: requests that hang lose their places in flight; recheck.go: deadlines in a pause
//   - retry.go, split.go: further tries, refused lookups
//   - refusal.go, keycheck.go, breaker.go, evidence.go: when only probes may go
//   - release.go, claim.go: how leases begin and end
//   - queue.go, answer.go: how wants wait, and how they end; estimate.go: how long that takes
//   - permit.go, ledger.go: permits taken and settled
//   - report.go: what is reported to the observer
//   - request.go, want.go, lease.go: the three types; upstream.go: Clerk
//   - occupancy.go: limits of the queue
//   - doubt.go: answers in doubt; senders.go: whether callers are several
//   - concurrency.go, lookupsize.go: how many requests and ids Clerk accepts
//   - rollingcount.go, recentset.go, wake.go: counts, sets and wake-ups
//   - observer.go: the interface for metrics and traces; api.go: arguments and results of the methods
package gate
