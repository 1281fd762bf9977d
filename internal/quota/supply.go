package quota

import "time"

// supply is how many permits are free: what a strict window and a token bucket do
// differently. Both hold permits in the same way, see heldPermits. Its capacity is the most
// permits that may be free: the limit of a window, the size of a bucket.
type supply interface {
	// advance brings the supply up to date. Rate is in permits per second.
	advance(now time.Time, capacity int, rate float64)
	// use takes n permits; a negative n gives permits back.
	use(n int)
	// atMost lowers the free permits to n. It returns false if they are only those that
	// are not held.
	atMost(n int) bool
	// free returns how many permits are free.
	free(capacity int) int
	// usable returns how many permits can be used in turn if some are set aside.
	usable(capacity, aside int) int
	// nextFree returns when the next permit comes free by itself; zero if only an answer
	// can free one.
	nextFree(now time.Time, capacity int) time.Time
	// freeAt estimates when the k-th permit from now on, k from 1, will be free if each
	// request takes roundTrip.
	freeAt(now time.Time, k, capacity int, roundTrip time.Duration) time.Time
	// spacing returns the time between sends at which the free permits last evenly. It
	// returns false if the supply itself spaces requests.
	spacing(now time.Time, free, lent int) (time.Duration, bool)
	// waiting returns for how many permits no answer has come.
	waiting() int

	// begin holds back what an earlier user of the key may have spent. It returns until
	// when each permit is held back.
	begin(first FirstWindow, limit int, window time.Duration, now time.Time) []time.Time
	// restart sets how many permits are free, unless these are those that are not held.
	restart(now time.Time, free int)
	// save adds the spent permits to s, without those that are lent.
	save(s *Saved, lent *times)
	// restore takes out what was spent when s was saved.
	restore(s Saved, cfg Config, limit int, now time.Time)
}

// heldPermits counts the permits that are in use.
type heldPermits struct {
	hold     time.Duration // how long a permit is held after its answer; 0 with a bucket
	lostHold time.Duration // how much longer, if no answer comes
	inFlight int
	releases times  // when the others come free
	released uint64 // how many have come free so far
}

func (h *heldPermits) count() int { return h.inFlight + h.releases.len() }

func (h *heldPermits) advance(now time.Time) { h.released += uint64(h.releases.dropUntil(now)) }

func (h *heldPermits) answered(at time.Time) {
	h.inFlight--
	h.holdAnswered(at)
}

// holdAnswered holds a permit whose request was answered.
func (h *heldPermits) holdAnswered(at time.Time) {
	if h.hold > 0 {
		h.releases.add(at.Add(h.hold))
	}
}

func (h *heldPermits) lost(now time.Time) {
	h.inFlight--
	h.releases.add(now.Add(h.hold + h.lostHold))
}
