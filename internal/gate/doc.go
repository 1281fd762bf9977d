// Package gate queues what callers want of Clerk behind one quota.
//
// It queues wants, not requests. A want is a user's id with all who wait for
// it, or one list or count call. Whenever a permit of the quota and a slot in
// flight are free, the next wants in fair order make a request: up to 100 ids
// share one, a list or count takes one for itself. Nobody lingers for company:
// an idle gate sends a lone lookup at once, and a busy one fills its requests
// because wants gather while others are under way or the quota is spent. A
// lookup that is not full goes only while no other lookup is under way, or one
// while over half of the quota is free.
//
// # Order
//
// Interactive wants go before batch ones, but every tenth permit is batch's
// while it waits. Inside a priority callers take turns by weight, whatever number
// each has queued; a turn is counted in requests, a list 1 and of k ids together 1/k each. Room
// left in a request is filled with anybody's ids. Package fairqueue has the
// order; the gate tells it what waits for whom, and when something may go.
//
// # Whose a want is
//
// Nobody's. Later callers join a want that waits or flies (but a fresh one joins
// none that has left). A caller that leaves takes only itself away; the last one
// out cancels what has not been sent; what was sent is heard to its end. Every
// accepted waiter is answered exactly once.
//
// # When Clerk fails
//
// clerkapi.Judge decides what an answer means and for whom. Network errors, 5xx and
// answers that can't be used are tried again, three times in all, after a random
// backoff that doubles, inside the caller's deadline and within a budget of a tenth
// of recent requests. A batch that may have failed for one of its ids is split,
// between callers first, until the culprit stands alone.
//
// What may concern others is decided by a probe, a request that no caller has a part
// in: whether the key is refused or the quota spent (doubt.go), and whether Clerk
// fails as a whole (evidence.go). Failures, or 429s, of different callers' requests
// need no probe. While the breaker is open all is refused at once, and one probe goes
// out per BreakerOpen until Clerk is back. A refused key is likewise probed every ten
// seconds, and another one in its place at once.
//
// The number of requests in flight and the size of batches adapt to what Clerk bears
// (concurrency.go, batchsize.go).
//
// # Goroutines
//
// Run is one, and every request in flight is one (a probe two). Callers wait in their own.
//
// # Files
//
//   - gate.go: Config, Gate, Run, and how a want ends
//   - api.go: what callers pass and get; status.go, figures.go, histogram.go: what is told of it
//   - want.go: wants and who waits for them; call.go: from a call to its wants, admission
//   - dispatch.go: what goes next, and when; flight.go: a request and what its answer leads to
//   - retry.go, split.go, batchsize.go: further tries, refused batches, how many ids go together
//   - shut.go, evidence.go: the breaker and a refused key, and what speaks for them
//   - doubt.go, probe.go: answers that a probe explains; concurrency.go: how many requests Clerk bears
//   - callers.go: what is counted of each caller; crowd.go: who waits, for the limits of the queue
//   - recheck.go: who cannot wait for the end of a pause
//   - lease.go, gather.go, handon.go: permits lent, how they are gathered, and released at another replica; ledger.go: the quota's file; share.go: the quota shared with replicas
//   - trace.go: spans
package gate
