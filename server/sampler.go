package server

import (
	"sync"
	"time"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// sampler lets one line per second and reason through. The zero value is ready.
type sampler struct {
	mu      sync.Mutex
	reasons map[clerkgatev1.ErrorReason]*sample // guarded by mu
}

type sample struct {
	next    time.Time // when the next line may be written
	skipped int       // lines left out since the last
}

// allow reports whether to write a line, and how many were left out before it.
func (s *sampler) allow(reason clerkgatev1.ErrorReason, now time.Time) (ok bool, skipped int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reasons == nil {
		s.reasons = make(map[clerkgatev1.ErrorReason]*sample)
	}
	last, known := s.reasons[reason]
	if !known {
		last = &sample{}
		s.reasons[reason] = last
	}
	if now.Before(last.next) {
		last.skipped++
		return false, 0
	}
	skipped, last.skipped = last.skipped, 0
	last.next = now.Add(time.Second)
	return true, skipped
}
