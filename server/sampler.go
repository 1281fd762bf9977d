package server

import (
	"sync/atomic"
	"time"
)

// sampler lets some of what happens through: a burst at once, and then one per
// gap. The zero value is ready. Its methods may be called at once, and take no
// lock (GCRA: the next one's arrival time, in theory, is all there is to keep).
type sampler struct {
	next    atomic.Int64 // since the epoch of the times given
	leftOut atomic.Int64
}

// allow reports whether to let through what happens at now, the time since any
// epoch, and counts what it does not.
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
