package quota

import "time"

// slack is what a window is held longer than W: it covers clocks that run
// apart by up to half a percent.
const slack = 0.005

func stretch(w time.Duration) time.Duration { return w + time.Duration(float64(w)*slack) }

// semaphore is the delayed-release semaphore behind a strict window.
//
// A permit is held from before its request leaves until a window after its
// answer has come. A request arrives at Clerk somewhere in between, so of any
// limit+1 arrivals the last began only when one of the others had been answered
// for a window: they span more than W, wherever Clerk's windows begin and
// whatever the network delays.
type semaphore struct {
	hold     time.Duration // W and the slack
	lostHold time.Duration // on top of hold, for a request that got no answer
	inFlight int
	released uint64 // how many have come free so far
	releases times  // when the answered permits come free
}

func (s *semaphore) advance(now time.Time) {
	n := s.releases.len()
	s.releases.dropUntil(now)
	s.released += uint64(n - s.releases.len())
}

func (s *semaphore) held() int { return s.inFlight + s.releases.len() }

func (s *semaphore) free(limit int) int { return limit - s.held() }

func (s *semaphore) take() { s.inFlight++ }

func (s *semaphore) giveBack() { s.inFlight-- }

func (s *semaphore) answered(at time.Time) {
	s.inFlight--
	s.releases.add(at.Add(s.hold))
}

func (s *semaphore) lost(now time.Time) {
	s.inFlight--
	s.releases.add(now.Add(s.hold + s.lostHold))
}

// freeAt is when the k-th permit from now comes free, k from 1; roundTrip is
// what a request usually takes. Permits in flight are taken to be answered
// after one round trip.
func (s *semaphore) freeAt(now time.Time, k, limit int, roundTrip time.Duration) time.Time {
	k -= s.free(limit) // a limit lowered below what is held swallows the first releases
	if k <= 0 {
		return now
	}
	// All permits come round once in a cycle: those answered at their release,
	// those in flight, and those free now that will be taken before, a cycle from now.
	// Those that are lent, or got no answer, come later, and then take part in it.
	cycle := s.hold + roundTrip
	near := s.releases.search(now.Add(cycle))
	late := s.releases.len() - near
	size := max(limit, s.held()) - late
	if size <= 0 && late > 0 { // all are late
		return s.releases.at(near + (k-1)%late).Add(time.Duration((k-1)/late) * cycle)
	}
	size = max(1, size)
	at := func(k int) time.Time {
		rounds := time.Duration((k - 1) / size)
		if i := (k - 1) % size; i < near {
			return s.releases.at(i).Add(rounds * cycle)
		}
		return now.Add((rounds + 1) * cycle)
	}
	early, last := now, at(k) // between these is the k-th
	if late == 0 || !s.releases.at(near).Before(last) {
		return last
	}
	for range 20 {
		t := early.Add(last.Sub(early) / 2)
		if rest := k - s.came(near, t, cycle); rest > 0 && at(rest).After(t) {
			early = t
		} else {
			last = t
		}
	}
	return last
}

// came is how many permits the releases from the i-th on have brought by t, if they
// come round in each cycle.
func (s *semaphore) came(i int, t time.Time, cycle time.Duration) (n int) {
	for ; i < s.releases.len() && !s.releases.at(i).After(t); i++ {
		n += 1 + int(t.Sub(s.releases.at(i))/cycle)
	}
	return n
}

// lasting is the least spacing of sends from now on at which the free permits, and
// those that come free meanwhile, do not run out: the longest time until a
// release, divided by the permits that there are until then. So many are lent, and
// do not come round. Of many releases only some are looked at; that costs a spacing a
// little too short.
func (s *semaphore) lasting(now time.Time, free, lent int) time.Duration {
	n := s.releases.len()
	longest := s.hold / time.Duration(max(1, free+n-lent+s.inFlight+1)) // what is in flight comes back, too
	step := max(1, n/64)
	for i := 0; i < n; i += step {
		wait := s.releases.at(i).Sub(now)
		if wait > s.hold {
			break // permits that are lent, or had no answer; what is answered comes round before
		}
		longest = max(longest, wait/time.Duration(max(1, free+i+1)))
	}
	return longest
}
