package gate

import (
	"hash/maphash"
	"time"
)

const (
	rememberFailing = time.Minute // how long a key stays in a recentSet
	maxRecent       = 10_000      // keys in a recentSet
)

// recentSet is a set of queries that have failed lately. It is bounded: the oldest key
// is dropped first.
type recentSet struct {
	since map[uint64]time.Time
	order []uint64 // by the time at which they were added; may hold keys that were removed
}

func newRecentSet() *recentSet { return &recentSet{since: make(map[uint64]time.Time)} }

func (s *recentSet) has(key uint64, now time.Time) bool {
	since, ok := s.since[key]
	return ok && now.Sub(since) < rememberFailing
}

func (s *recentSet) add(key uint64, now time.Time) {
	if _, ok := s.since[key]; !ok {
		s.order = append(s.order, key)
	}
	s.since[key] = now
	for len(s.since) > maxRecent {
		s.dropOldest()
	}
	for len(s.order) > 2*maxRecent {
		s.dropOldest()
	}
}

func (s *recentSet) dropOldest() {
	delete(s.since, s.order[0])
	s.order = s.order[1:]
}

func (s *recentSet) forget(key uint64) { delete(s.since, key) }

var seed = maphash.MakeSeed()

// queryOf returns a number that identifies a query and reveals nothing of it.
func queryOf(text string) uint64 { return maphash.String(seed, text) }
