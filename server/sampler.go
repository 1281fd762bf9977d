package server

import (
	"sync/atomic"
	"time"
)

// sampler allows a burst of events, and then one per gap. The zero value is ready for
// use. It is safe for concurrent use without a lock (GCRA: it keeps only the theoretical
// arrival time of the next event).
type sampler struct {
	next    atomic.Int64 // theoretical arrival time, since the epoch of the given times
	leftOut atomic.Int64
}

// allow reports whether to allow an event at now, the time since any epoch, and counts
// those that it does not.
func (s *sampler) allow(now, gap time.Duration, burst int) bool {
	for {
		next := s.next.Load()
		after := max(next, int64(now)) + int64(gap)
		if after > int64(now)+int64(burst)*int64(gap) {
			s.leftOut.Add(1)
			return false
		}
		if s.next.CompareAndSwap(next, after) {
			return true
		}
	}
}
