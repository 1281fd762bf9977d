package usercache

import (
	"sync"
	"sync/atomic"
	"time"
)

// order knows which copies an invalidation has made old.
//
// Invalidations are numbered. A request to Clerk takes the last number known
// when it leaves, as its stamp; what it brings is good only if no later
// invalidation of that user is known. Times play no part, with one exception:
// where no number could be had (Redis is away), a flight's departure is compared
// with the invalidation by this process's own monotonic clock.
//
// Marks need to outlive the longest flight only: what leaves later has a higher
// stamp.
type order struct {
	keep time.Duration // how long marks are kept
	seq  highest       // the highest number known

	mu    sync.RWMutex
	marks map[string]mark
	ends  []ending  // of marks, the earliest first
	floor time.Time // flights that left before are old, whomever they are about
}

type mark struct {
	seq   uint64    // copies with a lower stamp are old
	at    time.Time // copies of flights that left before are old; zero: none
	blind bool      // nobody said which version made them old
	told  int64     // the newest updated_at that a webhook has told of, in Unix ms
}

type ending struct {
	id string
	at time.Time
}

func (o *order) init(keep time.Duration) {
	o.keep, o.marks = keep, make(map[string]mark)
}

// stamp is the number that a flight takes along which leaves now.
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

// invalidate notes that copies of id are old whose stamp is below seq or whose
// flight left before at, where that is not zero.
func (o *order) invalidate(id string, seq uint64, at, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m := o.marks[id]
	m.seq, m.blind = max(m.seq, seq), true
	if at.After(m.at) {
		m.at = at
	}
	o.set(id, m, now)
}

// draw draws a number and invalidates the ids by it. It is for a cache that
// shares none.
func (o *order) draw(ids []string, now time.Time) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	seq := o.seq.Add(1)
	for _, id := range ids {
		m := o.marks[id]
		m.seq, m.blind = seq, true
		o.set(id, m, now)
	}
	return seq
}

// told notes that a webhook has told of a version of id, under the number seq, or
// under one that is drawn if it is 0. It says whether that version may be put in
// place where there is no copy to compare it with: not if an event that came
// before told of a newer one, or an invalidation of one that nobody knows.
func (o *order) told(id string, updatedAt int64, seq uint64, now time.Time) (number uint64, mayPlace bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if seq == 0 {
		seq = o.seq.Add(1)
	}
	m := o.marks[id]
	mayPlace = !m.blind && m.seq <= seq && updatedAt >= m.told
	m.seq, m.told = max(m.seq, seq), max(m.told, updatedAt)
	o.set(id, m, now)
	return seq, mayPlace
}

// set keeps a mark, and drops those that are kept no longer; o.mu is held.
func (o *order) set(id string, m mark, now time.Time) {
	o.marks[id] = m
	o.ends = append(o.ends, ending{id, now.Add(o.keep)})
	for len(o.ends) > 0 && !o.ends[0].at.After(now) {
		old := o.ends[0].id
		o.ends = o.ends[1:]
		if !o.endsLater(old, now) {
			delete(o.marks, old)
		}
	}
}

// endsLater says whether another ending of id's mark is to come. Repeated
// invalidations of one user within a few minutes are rare, and so is this search.
func (o *order) endsLater(id string, now time.Time) bool {
	for _, e := range o.ends {
		if e.id == id && e.at.After(now) {
			return true
		}
	}
	return false
}

// invalidateAll notes that all copies are old whose flights left before at.
func (o *order) invalidateAll(at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.floor = at
}

// accepts says whether a copy of id is not known to be old: one with the given
// stamp that a flight of this process brought, which left at left.
func (o *order) accepts(id string, stamp uint64, left time.Time) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	m := o.marks[id]
	return requirement{m.seq, m.at}.met(stamp, left) && !left.Before(o.floor)
}

// since is what must be true of an answer to a read of id that starts now.
func (o *order) since(id string) requirement {
	o.mu.RLock()
	defer o.mu.RUnlock()
	m := o.marks[id]
	if o.floor.After(m.at) {
		m.at = o.floor
	}
	return requirement{m.seq, m.at}
}

// requirement is what an answer's flight must have known.
type requirement struct {
	seq uint64
	at  time.Time
}

func (q requirement) met(stamp uint64, left time.Time) bool {
	return stamp >= q.seq && !left.Before(q.at)
}

// acceptsShared says the same of a copy that was read from Redis.
func (o *order) acceptsShared(id string, stamp uint64) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	m := o.marks[id]
	return stamp >= m.seq && m.at.IsZero()
}

// supersedes says whether a copy takes the place of another that is kept.
func supersedes(e, old *Entry) bool {
	switch {
	case old.Deleted:
		return e.Deleted
	case e.Deleted:
		return true
	case e.Missing == old.Missing && e.UpdatedAt != old.UpdatedAt:
		return e.UpdatedAt > old.UpdatedAt
	case e.Stamp != old.Stamp: // the later departure knows more
		return e.Stamp > old.Stamp
	case e.fetched != old.fetched:
		return e.fetched > old.fetched
	}
	return e.hasPrivate || !old.hasPrivate
}
