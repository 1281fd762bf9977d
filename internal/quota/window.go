package quota

import "time"

// slack is the part of a window by which permits are held longer: it covers clocks that
// run apart by up to half a percent.
const slack = 0.005

// stretch returns w with the slack.
func stretch(w time.Duration) time.Duration { return w + time.Duration(float64(w)*slack) }

// window is a strict window: the delayed-release semaphore.
//
// A permit is held from before its request leaves until a window after its answer has
// come. A request arrives at Clerk somewhere in between. So of any limit+1 arrivals, the
// last request left only when another one had been answered for a window: together they
// span more than W, wherever Clerk's windows begin and whatever the delays are.
type window struct{ *heldPermits }

func (w window) advance(now time.Time, _ int, _ float64) { w.heldPermits.advance(now) }

func (w window) use(int) {}

func (w window) atMost(int) bool { return false }

func (w window) free(limit int) int { return limit - w.count() }

func (w window) usable(limit, aside int) int { return max(0, limit-aside) }

func (w window) waiting() int { return w.inFlight }

func (w window) nextFree(_ time.Time, limit int) time.Time {
	i := w.count() - limit // a lowered limit swallows the first releases
	if i >= w.releases.len() {
		return time.Time{}
	}
	return w.releases.at(i)
}

func (w window) freeAt(now time.Time, k, limit int, roundTrip time.Duration) time.Time {
	k -= w.free(limit) // a limit lowered below what is held swallows the first releases
	if k <= 0 {
		return now
	}
	// All permits come free once in a cycle: those answered at their release, those in
	// flight, and those free now, which will be taken first, a cycle from now. Permits that
	// are lent or had no answer come later, and then take part in it.
	cycle := w.hold + roundTrip
	near := w.releases.search(now.Add(cycle))
	late := w.releases.len() - near
	size := max(limit, w.count()) - late
	if size <= 0 && late > 0 { // all are late
		return w.releases.at(near + (k-1)%late).Add(time.Duration((k-1)/late) * cycle)
	}
	size = max(1, size)
	nth := func(k int) time.Time { // of those that are not late
		rounds := time.Duration((k - 1) / size)
		if i := (k - 1) % size; i < near {
			return w.releases.at(i).Add(rounds * cycle)
		}
		return now.Add((rounds + 1) * cycle)
	}
	early, last := now, nth(k) // the k-th is between these
	if late == 0 || !w.releases.at(near).Before(last) {
		return last
	}
	for range 20 {
		t := early.Add(last.Sub(early) / 2)
		if rest := k - w.came(near, t, cycle); rest > 0 && nth(rest).After(t) {
			early = t
		} else {
			last = t
		}
	}
	return last
}

// came returns how many permits the releases from the i-th on have brought by t, if they
// come free once in each cycle.
func (w window) came(i int, t time.Time, cycle time.Duration) (n int) {
	for ; i < w.releases.len() && !w.releases.at(i).After(t); i++ {
		n += 1 + int(t.Sub(w.releases.at(i))/cycle)
	}
	return n
}

// spacing returns the smallest spacing of sends from now on at which the free permits,
// and those that come free meanwhile, do not run out: the longest time until a release,
// divided by the permits that there are until then. Lent permits do not come free in it. It
// looks at a sample if there are many releases, and then is a little too small.
func (w window) spacing(now time.Time, free, lent int) (time.Duration, bool) {
	n := w.releases.len()
	longest := w.hold / time.Duration(max(1, free+n-lent+w.inFlight+1)) // what is in flight comes back, too
	step := max(1, n/64)
	for i := 0; i < n; i += step {
		wait := w.releases.at(i).Sub(now)
		if wait > w.hold {
			break // lent, or without an answer; answered permits come free before
		}
		longest = max(longest, wait/time.Duration(max(1, free+i+1)))
	}
	return longest, true
}

func (w window) begin(first FirstWindow, limit int, length time.Duration, now time.Time) (until []time.Time) {
	switch first {
	case FullWindow:
	case WaitWindow:
		for range limit {
			until = append(until, now.Add(w.hold))
		}
	case SlowWindow:
		back := limit - max(1, limit/10)
		for i := range back {
			until = append(until, now.Add(length*time.Duration(i+1)/time.Duration(back)))
		}
	}
	for _, t := range until {
		w.releases.add(t)
	}
	return until
}

func (w window) restart(time.Time, int) {}

func (w window) save(s *Saved, lent *times) {
	s.Unsettled = w.inFlight
	next := 0 // of those that are lent
	for i := range w.releases.len() {
		t := w.releases.at(i)
		if next < lent.len() && lent.at(next).Equal(t) {
			next++
			continue
		}
		s.FreeAt = append(s.FreeAt, t.Round(0))
	}
}

func (w window) restore(s Saved, cfg Config, _ int, now time.Time) {
	longest := now.Add(w.hold + w.lostHold)
	for _, t := range s.FreeAt {
		if t.After(longest) {
			t = longest
		}
		if t.After(now) {
			w.releases.add(now.Add(t.Sub(now))) // by the monotonic clock from here on
		}
	}
	for range min(s.Unsettled+s.Ahead, cfg.Limit) {
		w.releases.add(now.Add(w.hold))
	}
}
