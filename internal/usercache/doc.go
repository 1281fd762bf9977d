// Package usercache keeps what has been read of users, in memory and in Redis,
// so that most reads cost nothing and an outage of Clerk's goes unnoticed for
// all that was read before.
//
// A Store holds the copies, encoded as they are sent, and knows which of two is
// the newer; a Cache answers from it what is young enough and asks the gate for
// the rest.
//
// # Never an older copy after a newer
//
// Invalidations and webhooks are numbered: by Redis where there is one, else here.
// A request to Clerk takes the last number known when it leaves as its stamp. What
// it brings counts only if its stamp is no lower than the number of the user's last
// invalidation, and if it is no older than what a webhook with a higher number told.
// Of two copies that count, the one with the newer updated_at wins, and for equal
// ones (some fields change without it) the one whose request left later. Whether
// there is a user at all is told best by the later request. A deletion told by a
// webhook beats every copy for 48 hours. A copy that has been made old stays in
// memory, outdated, so that nothing older takes its place.
//
// Where there is Redis, its scripts follow the same rules, and every invalidation
// is published to all replicas. A replica believes its memory under a lease: for
// two seconds after it was last sure to hear the others. Whoever invalidates waits
// until all replicas with a lease have heard, or their leases have ended.
package usercache
