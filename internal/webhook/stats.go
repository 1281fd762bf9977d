package webhook

import (
	"maps"
	"sync"
	"time"
)

// Outcome is the result of an event.
type Outcome string

// The outcomes.
const (
	Applied     Outcome = "applied"     // the copy or the tombstone was stored
	Invalidated Outcome = "invalidated" // copies were dropped, and the event's own was not stored
	Duplicate   Outcome = "duplicate"   // it was applied before
	Ignored     Outcome = "ignored"     // not about a user
	Forged      Outcome = "forged"      // the signature is wrong
	Stale       Outcome = "stale"       // the signature is valid, but too old or in the future
	Malformed   Outcome = "malformed"   // not an event, or incomplete
	Misdirected Outcome = "misdirected" // another path or method than those of events
	Failed      Outcome = "failed"      // the sink failed, there was no secret, or too many arrived at once
)

// Count is the key by which events are counted.
type Count struct {
	Kind    Kind // user.created, user.updated, user.deleted, or "other"
	Outcome Outcome
}

// Counts returns all possible keys.
func Counts() []Count {
	var all []Count
	for _, kind := range []Kind{userCreated, userUpdated, userDeleted, otherKind} {
		for _, outcome := range []Outcome{Applied, Invalidated, Duplicate, Ignored, Forged, Stale, Malformed, Misdirected, Failed} {
			all = append(all, Count{kind, outcome})
		}
	}
	return all
}

// stats counts events. The zero value is ready for use. It is safe for concurrent use.
type stats struct {
	mu     sync.Mutex
	counts map[Count]int64
	last   time.Time // when the last event came that Clerk has signed; zero: none has
}

func (s *stats) add(kind Kind, outcome Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = map[Count]int64{}
	}
	s.counts[Count{kind, outcome}]++
	if outcome.signed() {
		s.last = time.Now()
	}
}

// signed reports whether events of this outcome were signed by Clerk just now.
func (o Outcome) signed() bool {
	switch o {
	case Applied, Invalidated, Duplicate, Ignored:
		return true
	}
	return false
}

func (s *stats) lastEvent() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func (s *stats) copy() map[Count]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}
