package usercache

import (
	"sync"
	"sync/atomic"
	"time"
)

// order knows which copies an invalidation or a webhook has made old.
//
// Both are numbered. A request to Clerk takes the last number known when it
// leaves, as its stamp; what it brings is good only if no later invalidation of
// that user is known, and if it is not older than what a later webhook told. Where
// no number could be had (Redis is away), and where it is not known which users
// were invalidated, the time when the request left is compared, by this process's
// monotonic clock.
//
// Marks need to outlive the longest request only: what leaves later has a higher
// stamp.
type order struct {
	start   time.Time // what marks count time from
	keep    time.Duration
	seq     highest      // the highest number known
	floorAt atomic.Int64 // floor, in ns from start; for every read from memory

	mu    sync.RWMutex
	marks *marks // guarded by mu
	// What follows concerns all users; guarded by mu.
	floor       time.Time // copies that were last known to be good before are old
	sharedFloor uint64    // copies in Redis with a lower stamp may be old: it has lost marks
	blindUntil  time.Time // marks that an older webhook would need may be missing
}

func (o *order) init(keep time.Duration, now time.Time) {
	o.keep, o.marks = keep, newMarks(keep, maxMarks)
	o.start = now.Add(-time.Hour) // so that no time is 0
	o.blindUntil = now.Add(keep)
}

// since returns the time t as marks count it.
func (o *order) since(t time.Time) time.Duration { return t.Sub(o.start) }

// stamp returns the number that a request takes along which leaves now.
func (o *order) stamp() uint64 { return o.seq.Load() }

// raise notes that a number has been drawn elsewhere.
func (o *order) raise(seq uint64) { o.seq.raise(seq) }

// highest is the highest number drawn, as far as known.
type highest struct{ atomic.Uint64 }

// raise notes that a number has been drawn.
func (h *highest) raise(seq uint64) {
	for {
		known := h.Load()
		if seq <= known || h.CompareAndSwap(known, seq) {
			return
		}
	}
}

// invalidate notes that copies of id are old that have a stamp below seq, and, if
// byTime, those of requests that left before now.
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

// draw draws a number and invalidates the ids by it. It is for a cache that
// shares none.
func (o *order) draw(ids []string, now time.Time) uint64 {
	seq := o.seq.Add(1)
	for _, id := range ids {
		o.invalidate(id, seq, false, now)
	}
	return seq
}

// told notes that a webhook has told of a version of id, under the number seq, or,
// if that is 0, under none. It reports whether that version may be put in place
// where there is no copy to compare it with: not if an event that came before told
// of a newer one, or if an invalidation may have been about one.
func (o *order) told(id string, updatedAt int64, seq uint64, now time.Time) (mayPlace bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.since(now)
	m := o.marks.get(id, t)
	mayPlace = !m.blind && !now.Before(o.blindUntil) && updatedAt >= m.told.updatedAt
	m.told.updatedAt = max(m.told.updatedAt, updatedAt)
	if seq != 0 {
		m.told.seq = max(m.told.seq, seq)
	} else {
		m.told.at = max(m.told.at, t)
	}
	o.marks.set(id, m, t)
	return mayPlace
}

// missed notes that invalidations may not have been heard, so that all copies are
// old that were not known to be good at now. lost: Redis has lost data, perhaps
// marks, too, so that what it has is good only from the last number on.
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

// blind reports whether webhooks must not be believed where there is no copy to
// compare them with, since Redis has lost marks.
func (o *order) blind(now time.Time) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.sharedFloor > 0 && now.Before(o.blindUntil)
}

// heard reports whether nothing has been missed since the copy was last known to
// be good.
func (o *order) heard(e *Entry) bool {
	return e.Deleted || int64(o.since(e.asOf)) >= o.floorAt.Load()
}

// requirement is what must be true of a copy that a request to Clerk brings.
type requirement struct {
	mark
	start time.Time // what the mark's times count from
	left  time.Time // the request must not have left before
}

// require returns what must be true of an answer to a read of id that starts now.
func (o *order) require(id string, now time.Time) requirement {
	o.mu.RLock()
	defer o.mu.RUnlock()
	q := requirement{mark: o.marks.get(id, o.since(now)), start: o.start, left: o.floor}
	if oldest := now.Add(-o.keep); oldest.After(q.left) {
		q.left = oldest // of what such a request may have missed, marks may be gone
	}
	return q
}

// met reports whether a copy meets the requirement: one of a request of this
// process that left at left with the given stamp.
func (q requirement) met(e *Entry, stamp uint64, left time.Time) bool {
	since := left.Sub(q.start)
	if stamp < q.seq || since < q.at || left.Before(q.left) {
		return false
	}
	return stamp >= q.told.seq && since >= q.told.at || !e.Missing && e.UpdatedAt >= q.told.updatedAt
}

// accepts reports whether a copy is not known to be old: one that a request of this
// process brought, which left at left.
func (o *order) accepts(id string, e *Entry, left time.Time) bool {
	return o.require(id, time.Now()).met(e, e.Stamp, left)
}

// acceptsShared reports the same of a copy that was read from Redis.
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
	return !e.Missing && e.UpdatedAt >= m.told.updatedAt || m.told.at == 0 && e.Stamp >= m.told.seq
}

// supersedes reports whether a copy takes the place of another that is kept, where
// both are good.
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
	case e.Stamp != old.Stamp: // the later departure knows more
		return e.Stamp > old.Stamp
	case !e.fetched.Equal(old.fetched):
		return e.fetched.After(old.fetched)
	}
	return e.hasPrivate || !old.hasPrivate
}
