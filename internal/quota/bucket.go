package quota

import "time"

// bucket is a token bucket that stays below Clerk's own whatever the delays.
//
// A token is taken before its request leaves, so never later than at Clerk, and
// its refill counts only from the answer: the tokens of unanswered requests are
// kept out of the room that the refill may fill. With L our level, S Clerk's and
// u the requests on their way, L <= S-u holds through every send, arrival and
// answer: a send lowers both sides by one, an arrival neither, and between them
// L grows up to burst-unanswered, S-u up to burst-u, which is no less.
type bucket struct {
	rate       float64 // tokens per second, less the slack
	level      float64
	at         time.Time // when level was right
	unanswered int
	lostHold   time.Duration
	gone       times // when requests that got no answer are over
}

func (b *bucket) advance(now time.Time, burst int) {
	// The lost ones count as unanswered up to their end: first refill under the
	// old room, so that none is filled that was not there.
	b.refill(now, burst)
	b.unanswered -= b.gone.dropUntil(now)
}

func (b *bucket) refill(now time.Time, burst int) {
	if d := now.Sub(b.at).Seconds(); d > 0 {
		room := float64(burst - b.unanswered)
		b.level = max(b.level, min(room, b.level+d*b.rate))
		b.at = now
	}
	b.level = min(b.level, float64(burst))
}

// wholeTokens forgives what rounding to nanoseconds takes away.
func (b *bucket) wholeTokens() int { return int(b.level + 1e-6) }

func (b *bucket) take() {
	b.level--
	b.unanswered++
}

func (b *bucket) giveBack() {
	b.level++
	b.unanswered--
}

func (b *bucket) answered() { b.unanswered-- }

func (b *bucket) lost(now time.Time) { b.gone.add(now.Add(b.lostHold)) }

// freeAt is when the k-th token from now is there, k from 1, if answers come in time.
func (b *bucket) freeAt(now time.Time, k int) time.Time {
	missing := float64(k) - b.level
	if missing <= 1e-6 {
		return now
	}
	return now.Add(time.Duration(missing / b.rate * float64(time.Second)))
}
