package usercache

import (
	"sync"
	"sync/atomic"
	"time"
)

// order decides which copies an invalidation or a webhook has made old.
//
// Both are numbered. A request to Clerk carries the last known number as its stamp when
// it leaves. Its answer is good only if no later invalidation of the user is known, and
// if it is not older than a later webhook's copy. If no number could be drawn (Redis is
// unavailable), and if the invalidated users are unknown, the departure of the request is
// compared, by the monotonic clock.
//
// Marks need to outlive only the longest request: requests that leave later have a higher
// stamp.
type order struct {
	start   time.Time // the zero of times in marks
	keep    time.Duration
	seq     highestNumber // the highest number known
	floorAt atomic.Int64  // floor in ns from start, for lock-free reads

	mu    sync.RWMutex
	marks *marks // guarded by mu
	// The following fields apply to all users; guarded by mu.
	floor       time.Time // copies last known to be good before this time are old
	sharedFloor uint64    // copies in Redis with a lower stamp may be old, since Redis has lost marks
	blindUntil  time.Time // until then, marks for older webhooks may be missing
}

func (o *order) init(keep time.Duration, now time.Time) {
	o.keep, o.marks = keep, newMarks(keep, maxMarks)
	o.start = now.Add(-time.Hour) // so that no time in a mark is 0
	o.blindUntil = now.Add(keep)
}

// since returns t as a time in marks.
func (o *order) since(t time.Time) time.Duration { return t.Sub(o.start) }

// stamp returns the stamp of a request that leaves now.
func (o *order) stamp() uint64 { return o.seq.Load() }

// raise records a number that was drawn elsewhere.
func (o *order) raise(seq uint64) { o.seq.raise(seq) }

// highestNumber is the highestNumber known number.
type highestNumber struct{ atomic.Uint64 }

// raise records a drawn number.
func (h *highestNumber) raise(seq uint64) {
	for {
		known := h.Load()
		if seq <= known || h.CompareAndSwap(known, seq) {
			return
		}
	}
}

// invalidate records that copies of id with a stamp below seq are old and, with byTime,
// copies of requests that left before now.
func (o *order) invalidate(id string, seq uint64, byTime bool, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.since(now)
	m := o.marks.get(id, t)
	m.seq, m.blind = max(m.seq, seq), true
	if byTime {
		m.at = max(m.at, t)
	}
	o.marks.set(id, m, t)
}

// draw draws a number and invalidates the ids with it. It is for a cache without Redis.
func (o *order) draw(ids []string, now time.Time) uint64 {
	seq := o.seq.Add(1)
	for _, id := range ids {
		o.invalidate(id, seq, false, now)
	}
	return seq
}

// recordWebhook records a version of id from a webhook with the number seq, 0 if it has none. It
// reports whether that version may be stored if there is no copy to compare it with: not
// if an earlier event had a newer version, or if an invalidation may have been about a
// newer one.
func (o *order) recordWebhook(id string, updatedAt int64, seq uint64, now time.Time) (mayPlace bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.since(now)
	m := o.marks.get(id, t)
	mayPlace = !m.blind && !now.Before(o.blindUntil) && updatedAt >= m.newest.updatedAt
	m.newest.updatedAt = max(m.newest.updatedAt, updatedAt)
	if seq != 0 {
		m.newest.seq = max(m.newest.seq, seq)
	} else {
		m.newest.at = max(m.newest.at, t)
	}
	o.marks.set(id, m, t)
	return mayPlace
}

// recordVersion records the version of a copy of id that Clerk's answer that there is no such
// user replaces. A late webhook may have an older one.
func (o *order) recordVersion(id string, updatedAt int64, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.since(now)
	m := o.marks.get(id, t)
	m.newest.updatedAt = max(m.newest.updatedAt, updatedAt)
	o.marks.set(id, m, t)
}

// missed records that invalidations may have been missed, so all copies not known to be
// good at now are old. lost means that Redis has lost data, perhaps marks, so its copies
// are good only from the last number on.
func (o *order) missed(lost bool, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.floor = now
	o.floorAt.Store(int64(o.since(now)))
	if lost {
		o.sharedFloor = max(o.sharedFloor, o.seq.Load())
		o.blindUntil = now.Add(o.keep)
	}
}

// blind reports whether webhooks can't be trusted without a copy to compare with, since
// Redis has lost marks.
func (o *order) blind(now time.Time) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.sharedFloor > 0 && now.Before(o.blindUntil)
}

// heard reports whether no invalidation was missed since the copy was last known to be
// good.
func (o *order) heard(e *Entry) bool {
	return e.Deleted || int64(o.since(e.asOf)) >= o.floorAt.Load()
}

// requirement is the condition for a copy from a request to Clerk.
type requirement struct {
	mark
	start time.Time // the zero of the mark's times
	left  time.Time // the earliest allowed departure of the request
}

// require returns the condition for an answer to a read of id that starts now.
func (o *order) require(id string, now time.Time) requirement {
	o.mu.RLock()
	defer o.mu.RUnlock()
	q := requirement{mark: o.marks.get(id, o.since(now)), start: o.start, left: o.floor}
	if oldest := now.Add(-o.keep); oldest.After(q.left) {
		q.left = oldest // marks of what an older request missed may be gone
	}
	return q
}

// met reports whether a copy from a request of this process, sent at sent with the given
// stamp, meets the requirement.
func (q requirement) met(e *Entry, stamp uint64, sent time.Time) bool {
	since := sent.Sub(q.start)
	if stamp < q.seq || since < q.at || sent.Before(q.left) {
		return false
	}
	return stamp >= q.newest.seq && since >= q.newest.at || !e.Missing && e.UpdatedAt >= q.newest.updatedAt
}

// accepts reports whether a copy from a request of this process, sent at sent, is not
// known to be old.
func (o *order) accepts(id string, e *Entry, sent time.Time) bool {
	return o.require(id, time.Now()).met(e, e.Stamp, sent)
}

// acceptsShared is accepts for a copy from Redis.
func (o *order) acceptsShared(id string, e *Entry) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	m := o.marks.get(id, o.since(time.Now()))
	switch {
	case e.Deleted:
		return true
	case e.Stamp < m.seq, e.Stamp < o.sharedFloor, m.at != 0, e.asOf.Before(o.floor):
		return false
	}
	return !e.Missing && e.UpdatedAt >= m.newest.updatedAt || m.newest.at == 0 && e.Stamp >= m.newest.seq
}

// supersedes reports whether a copy replaces another one, if both are good.
func supersedes(e, old *Entry) bool {
	switch {
	case old.Deleted:
		return e.Deleted
	case e.Deleted:
		return true
	case old.outdated && !old.Missing && !e.Missing:
		return e.UpdatedAt >= old.UpdatedAt
	case e.Missing == old.Missing && e.UpdatedAt != old.UpdatedAt:
		return e.UpdatedAt > old.UpdatedAt
	case e.Stamp != old.Stamp: // the later request knows more
		return e.Stamp > old.Stamp
	case !e.fetched.Equal(old.fetched):
		return e.fetched.After(old.fetched)
	}
	return e.hasPrivate || !old.hasPrivate
}
