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
// Invalidations are numbered: by Redis where there is one, else here. A request
// to Clerk takes the last number known when it leaves as its stamp. What it
// brings counts only if its stamp is no lower than the number of the user's last
// invalidation, that is, if it left after it. Of two copies that count, the one
// with the newer updated_at wins, and for equal ones (some fields change without
// it) the one whose request left later. Whether there is a user at all is told
// best by the later request. A deletion told by a webhook beats every copy for
// 48 hours.
//
// Where there is Redis, its scripts follow the same rules, and every
// invalidation is published to all replicas. A replica that can't be sure to
// hear them believes what is in its memory for five seconds more, or five
// seconds from the fetch.
package usercache
