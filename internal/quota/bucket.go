package quota

import "time"

// bucket is a token bucket that stays below Clerk's own, whatever the delays.
//
// A token is taken before its request leaves, so never later than at Clerk, and its refill
// counts only from the answer: the tokens of unanswered requests are kept out of the room
// that the refill may fill. With L our level, S Clerk's and u the requests under way,
// L <= S-u holds through every send, arrival and answer: a send lowers both sides by one,
// an arrival neither, and between them L grows up to capacity-held, S-u up to capacity-u,
// which is no less.
type bucket struct {
	*heldPermits
	rate  float64 // tokens per second, less the slack
	level float64
	at    time.Time // the time to which level applies
}

func (b *bucket) advance(now time.Time, capacity int, rate float64) {
	b.rate = rate
	// Permits that come free now count as held up to their end: the refill comes first,
	// so that it does not fill room that was not there.
	if d := now.Sub(b.at).Seconds(); d > 0 {
		room := float64(capacity - b.count())
		b.level = max(b.level, min(room, b.level+d*b.rate))
		b.at = now
	}
	b.level = min(b.level, float64(capacity))
	b.heldPermits.advance(now)
}

func (b *bucket) use(n int) { b.level -= float64(n) }

func (b *bucket) atMost(n int) bool {
	b.level = min(b.level, float64(n))
	return true
}

// free returns the whole tokens. It allows for the rounding to nanoseconds.
func (b *bucket) free(int) int { return int(b.level + 1e-6) }

func (b *bucket) usable(capacity, _ int) int { return capacity }

func (b *bucket) waiting() int { return b.count() }

func (b *bucket) nextFree(now time.Time, capacity int) time.Time {
	if capacity-b.count() < 1 {
		if b.releases.len() > 0 {
			return b.releases.at(0)
		}
		return time.Time{}
	}
	return b.freeAt(now, 1, capacity, 0)
}

func (b *bucket) freeAt(now time.Time, k, _ int, _ time.Duration) time.Time {
	missing := float64(k) - b.level
	if missing <= 1e-6 {
		return now
	}
	return now.Add(time.Duration(missing / b.rate * float64(time.Second)))
}

func (b *bucket) spacing(time.Time, int, int) (time.Duration, bool) { return 0, false }

func (b *bucket) begin(first FirstWindow, limit int, _ time.Duration, _ time.Time) []time.Time {
	switch first {
	case FullWindow:
	case WaitWindow:
		b.level = -float64(limit) // refilled to 0 after a window
	case SlowWindow:
		b.level /= 10
	}
	return nil
}

func (b *bucket) restart(now time.Time, free int) { b.level, b.at = float64(free), now }

func (b *bucket) save(s *Saved, lent *times) {
	s.Level, s.Unsettled = b.level, b.count()-lent.len()
}

func (b *bucket) restore(s Saved, cfg Config, limit int, now time.Time) {
	elapsed := max(0, now.Sub(s.At)).Seconds()
	rate := float64(limit) / stretch(cfg.Window).Seconds()
	full := float64(cfg.lessReserve(cfg.Burst) - s.Unsettled - s.Ahead)
	level := min(full, s.Level-float64(s.Ahead)+rate*elapsed)
	// Clerk's own level is never below 0, except for requests that are still on their way.
	// The level of the first window, as configured, is a bound as well.
	b.level = min(b.level, max(level, -float64(s.Unsettled)))
}
