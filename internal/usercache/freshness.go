package usercache

import "time"

// MaxUpstreamTimeout is the longest time limit of a request to Clerk, with its whole
// answer. Invalidations are remembered for a little longer.
const MaxUpstreamTimeout = 100 * time.Second

// How long a copy is used.
const (
	notFoundTTL  = 5 * time.Second // negative caching: that there is no such user
	tombstoneTTL = 48 * time.Hour  // longer than Clerk repeats an event, a day
	refreshAfter = 0.8             // the part of the time to live after which an entry is refreshed

	// leaseTime is how long a replica trusts its memory after its last heartbeat through
	// Redis. An invalidation waits at most that long for a replica that has stopped
	// answering.
	leaseTime = 2 * time.Second
	// availableTime is how long a copy is trusted without Redis if
	// Config.AvailableWithoutRedis is set.
	availableTime = 5 * time.Second
	// longestFetch is longer than any request to Clerk until its answer is stored.
	longestFetch = MaxUpstreamTimeout + 20*time.Second
)

// keepFor returns how much longer to keep an entry.
func (s *Store) keepFor(e *Entry, now time.Time) time.Duration {
	ttl := s.cfg.StaleIfError
	switch {
	case e.Deleted:
		ttl = tombstoneTTL
	case e.Missing:
		ttl = notFoundTTL
	}
	return max(time.Millisecond, ttl-now.Sub(e.fetched))
}

// fresh reports whether an entry may answer a call that sets no max_age, and whether it is
// due for refresh-ahead. Each entry's time to live is shortened by its own fraction of up
// to a tenth, so that entries fetched together do not expire together.
func (s *Store) fresh(e *Entry, now time.Time) (fresh, due bool) {
	if e.Missing {
		return s.keepFor(e, now) > time.Millisecond, false
	}
	ttl := s.cfg.TTL - time.Duration(uint64(e.fetched.UnixNano())%256)*s.cfg.TTL/2560
	age := now.Sub(e.fetched)
	return age < ttl, age > time.Duration(refreshAfter*float64(ttl))
}

// hears reports whether this replica would know of another replica's invalidation now.
func (s *Store) hears(now time.Time) bool {
	return s.redis == nil || int64(now.Sub(s.start)) < s.lease.Load()
}

// trusted reports whether a copy in memory may answer a call that began at start. With
// Redis, no other replica may have invalidated the copy before start.
func (s *Store) trusted(e *Entry, start time.Time) bool {
	return s.hears(start) || e.Deleted || !e.asOf.Before(start) ||
		s.cfg.AvailableWithoutRedis && start.Sub(e.asOf) < availableTime
}
