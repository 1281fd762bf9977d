package usercache

import (
	"hash/maphash"
	"math"
	"time"
)

// mark is what is known of a user's invalidations and webhooks. Copies that were
// read before are old.
type mark struct {
	seq   uint64        // of the last invalidation: copies with a lower stamp are old
	at    time.Duration // copies of requests that left before are old; 0: none
	blind bool          // an invalidation did not say which version it was about
	told  version       // what webhooks have told
}

// version is the newest version of a user that webhooks have told of. A request
// that left before may have brought an older one.
type version struct {
	updatedAt int64         // in Unix ms; 0: none was told
	seq       uint64        // requests with a lower stamp left before
	at        time.Duration // ... and those that left before this
}

// marks holds the last marks of up to `most` users, each for the time `keep` after
// it was last set. Every operation takes constant time. Times count from a start
// that the user of marks chooses.
//
// Users are told apart by a hash. Two with the same one share a mark, which makes
// more copies old than need be, and never fewer.
type marks struct {
	keep time.Duration
	most int
	seed maphash.Seed

	index map[uint64]int32 // by hash of the id: in slots
	slots []slot
	first int32 // the slot that was set the longest ago, none if there is none
	last  int32
	free  int32 // a list of free slots, by next

	// What dropping marks before their time has left, for all users without one.
	dropped      mark
	droppedUntil time.Duration
}

type slot struct {
	mark
	hash       uint64
	set        time.Duration
	prev, next int32
}

// none is no slot.
const none = -1

// maxMarks is how many users' marks are kept at once: about 120 MB.
const maxMarks = 1 << 20

// dropsPerSet is how many marks whose time has run out are dropped, at most, for
// each that is set. More than one, so that they get fewer.
const dropsPerSet = 4

func newMarks(keep time.Duration, most int) *marks {
	return &marks{
		keep: keep, most: most, seed: maphash.MakeSeed(),
		index: make(map[uint64]int32), first: none, last: none, free: none,
	}
}

// get returns the mark that counts for a user at the time now.
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

// overflow drops the oldest mark before its time. Until then, all users without a
// mark are treated as if it were theirs.
func (m *marks) overflow(now time.Duration) {
	s := &m.slots[m.first]
	if now >= m.droppedUntil {
		m.dropped = mark{}
	}
	d := &m.dropped
	d.seq, d.at, d.blind = max(d.seq, s.seq), max(d.at, s.at), true
	if s.told != (version{}) {
		// It is a version of one user: of others no version is new enough.
		d.told.updatedAt = math.MaxInt64
		d.told.seq, d.told.at = max(d.told.seq, s.told.seq), max(d.told.at, s.told.at)
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
