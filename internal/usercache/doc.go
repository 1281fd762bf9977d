// Package usercache keeps copies of users in memory and in Redis, so that most reads cost
// no quota and users stay available during an outage of Clerk.
//
// A Store holds the copies, encoded as they are sent, and decides which of two is newer.
// A Cache answers lookups from a Store if a copy is young enough, and asks the gate for
// the rest.
//
//	cache.go                    lookups, lists and counts
//	freshness.go, refresh.go    how long a copy is used; refresh-ahead
//	entry.go, view.go           one copy, and what each view shows of it
//	store.go, invalidate.go     memory; invalidations and webhooks
//	order.go, marks.go          which of two copies is newer
//	sharedlevel.go              the interface of the level behind memory
//	redis*.go, seal.go          that level in Redis; encryption
//
// # Never an older copy after a newer one
//
// Invalidations and webhooks are numbered, by Redis or, without it, by the process. A
// request to Clerk carries the last known number as its stamp when it leaves. Its answer
// is used only if the stamp is at least the number of the user's last invalidation, and
// if the answer is not older than a later webhook's copy. Of two usable copies, the one
// with the newer updated_at wins; if they are equal (some fields change without it), the
// one whose request left later. Whether a user exists is decided by the later request. A
// tombstone from a webhook beats every copy for 48 hours. A copy that has become old
// stays in memory, marked as outdated, so that nothing older replaces it.
//
// The scripts in Redis follow the same rules, and every invalidation is published to all
// replicas. A replica may use its memory under a lease, for two seconds after the last
// heartbeat that it received. An invalidation waits until every replica with a lease has
// received it, or its lease has ended.
package usercache
