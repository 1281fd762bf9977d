package usercache

import (
	"hash/maphash"
	"math"
	"time"
)

// mark records the last invalidation and the newest webhook of a user. Copies fetched
// before them are old.
type mark struct {
	seq    uint64        // number of the last invalidation: copies with a lower stamp are old
	at     time.Duration // copies of requests that left before this time are old; 0: none
	blind  bool          // an invalidation was of an unknown version
	newest version       // the newest version from a webhook
}

// version is the newest version of a user that a webhook contained, or a copy before Clerk
// had no such user. A request that left before the webhook may have fetched an older one.
type version struct {
	updatedAt int64         // in Unix ms; 0: none
	seq       uint64        // requests with a lower stamp left before it
	at        time.Duration // ... and so did requests that left before this time
}

// marks holds the marks of up to `most` users, each for the time `keep` after it was last
// set. Every operation takes constant time. Times count from a start that the caller
// chooses.
//
// Users are identified by a hash. Two users with the same hash share a mark, which makes
// more copies old than necessary, but never fewer.
type marks struct {
	keep time.Duration
	most int
	seed maphash.Seed

	index map[uint64]int32 // slot by hash of the id
	slots []slot
	first int32 // the slot that was set first, none if there is none
	last  int32
	free  int32 // list of free slots, linked by next

	// The combined marks that were dropped early; they apply to all users without a mark.
	dropped      mark
	droppedUntil time.Duration
}

type slot struct {
	mark
	hash       uint64
	set        time.Duration
	prev, next int32
}

// none means no slot.
const none = -1

// maxMarks is the maximum number of users with marks: about 120 MB.
const maxMarks = 1 << 20

// dropsPerSet is the maximum number of expired marks that each set drops. More than one,
// so that their number falls.
const dropsPerSet = 4

func newMarks(keep time.Duration, most int) *marks {
	return &marks{
		keep: keep, most: most, seed: maphash.MakeSeed(),
		index: make(map[uint64]int32), first: none, last: none, free: none,
	}
}

// get returns the mark that applies to a user at the time now.
func (m *marks) get(id string, now time.Duration) mark {
	if len(m.index) > 0 {
		if i, ok := m.index[maphash.String(m.seed, id)]; ok && now-m.slots[i].set < m.keep {
			return m.slots[i].mark
		}
	}
	if now < m.droppedUntil {
		return m.dropped
	}
	return mark{}
}

// set replaces the mark of a user.
func (m *marks) set(id string, k mark, now time.Duration) {
	hash := maphash.String(m.seed, id)
	i, ok := m.index[hash]
	if ok {
		m.unlink(i)
	} else {
		for range dropsPerSet {
			if m.first == none || now-m.slots[m.first].set < m.keep {
				break
			}
			m.drop()
		}
		if len(m.index) >= m.most {
			m.overflow(now)
		}
		i = m.take()
		m.index[hash] = i
	}
	m.slots[i] = slot{mark: k, hash: hash, set: now, prev: m.last, next: none}
	if m.last != none {
		m.slots[m.last].next = i
	} else {
		m.first = i
	}
	m.last = i
}

// overflow drops the oldest mark early. Until it expires, it applies to all users without
// a mark.
func (m *marks) overflow(now time.Duration) {
	s := &m.slots[m.first]
	if now >= m.droppedUntil {
		m.dropped = mark{}
	}
	d := &m.dropped
	d.seq, d.at, d.blind = max(d.seq, s.seq), max(d.at, s.at), true
	if s.newest != (version{}) {
		// It is a version of one user; for the others no version is new enough.
		d.newest.updatedAt = math.MaxInt64
		d.newest.seq, d.newest.at = max(d.newest.seq, s.newest.seq), max(d.newest.at, s.newest.at)
	}
	m.droppedUntil = max(m.droppedUntil, s.set+m.keep)
	m.drop()
}

// drop drops the oldest mark.
func (m *marks) drop() {
	i := m.first
	delete(m.index, m.slots[i].hash)
	m.unlink(i)
	m.slots[i].next = m.free
	m.free = i
}

func (m *marks) unlink(i int32) {
	s := &m.slots[i]
	if s.prev != none {
		m.slots[s.prev].next = s.next
	} else {
		m.first = s.next
	}
	if s.next != none {
		m.slots[s.next].prev = s.prev
	} else {
		m.last = s.prev
	}
}

// take returns a free slot.
func (m *marks) take() int32 {
	if i := m.free; i != none {
		m.free = m.slots[i].next
		return i
	}
	m.slots = append(m.slots, slot{})
	return int32(len(m.slots) - 1)
}
