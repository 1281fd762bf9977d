package webhook

import (
	"maps"
	"sync"
)

// Outcome is what became of an event.
type Outcome string

// The outcomes.
const (
	Applied     Outcome = "applied"     // the copy was put in place, or the tombstone made
	Invalidated Outcome = "invalidated" // copies were dropped, the event's own not taken
	Duplicate   Outcome = "duplicate"   // it was applied before
	Ignored     Outcome = "ignored"     // it says nothing about a user
	Forged      Outcome = "forged"      // the signature is wrong
	Stale       Outcome = "stale"       // the signature is right, but too old or ahead of time
	Malformed   Outcome = "malformed"   // no event, or it did not come whole
	Misdirected Outcome = "misdirected" // another path or method than those of events
	Failed      Outcome = "failed"      // the sink failed, there was no secret, or too many came at once
)

// Count is what events are counted by.
type Count struct {
	Kind    Kind // user.created, user.updated, user.deleted, or "other"
	Outcome Outcome
}

// Counts gives all that events can be counted by.
func Counts() []Count {
	var all []Count
	for _, kind := range []Kind{userCreated, userUpdated, userDeleted, otherKind} {
		for _, outcome := range []Outcome{Applied, Invalidated, Duplicate, Ignored, Forged, Stale, Malformed, Misdirected, Failed} {
			all = append(all, Count{kind, outcome})
		}
	}
	return all
}

// stats counts events. The zero value is ready; methods may be called at once.
type stats struct {
	mu     sync.Mutex
	counts map[Count]int64
}

func (s *stats) add(kind Kind, outcome Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = map[Count]int64{}
	}
	s.counts[Count{kind, outcome}]++
}

func (s *stats) copy() map[Count]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}
