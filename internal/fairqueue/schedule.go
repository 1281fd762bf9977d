package fairqueue

// turn is the state of one that takes turns in a schedule: of a peer among the peers of a
// level, or of a line among the lines of a peer.
type turn struct {
	weight int64
	tag    float64
	joined uint64     // breaks ties between tags
	slots  [kinds]int // index in the schedule's heaps, -1 if it is not there
}

func newTurn(weight int64) turn {
	return turn{weight: weight, slots: [kinds]int{-1, -1}}
}

func (t *turn) self() *turn { return t }

// ends returns the tag that t has after a cost of so many units.
func (t *turn) ends(units float64) float64 { return t.tag + units/float64(t.weight) }

// schedule orders peers or lines by start-time fair queueing.
type schedule[T interface{ self() *turn }] struct {
	vtime  float64            // the virtual time: the tag of the last turn
	filled float64            // the tag of the last from which a shared item was taken
	latest float64            // the greatest tag so far
	shared mean               // of the last shared request
	turns  [kinds]turnHeap[T] // those with items of each kind
	round  uint64             // the request that began last
}

func (s *schedule[T]) init() {
	for k := range s.turns {
		s.turns[k].kind = Kind(k)
	}
}

// joinAt returns the smallest tag for a peer or line that had no items and now has one of
// a kind. Items that fill another's request leave before their turns. A peer or line that
// joins with a shared item joins level with those. Otherwise each of its turns would take
// their items along, ahead of those that wait with whole items.
func (s *schedule[T]) joinAt(k Kind) float64 {
	if k == Shared {
		return max(s.vtime, s.filled)
	}
	return s.vtime
}

// join sets the tag of one that had no items.
func (s *schedule[T]) join(t *turn, k Kind, seq uint64) {
	t.tag = max(t.tag, s.joinAt(k))
	t.joined = seq
}

// debt returns how many units of turns t, which has no items, has had in advance. The
// others get as many before its next item.
func (s *schedule[T]) debt(t *turn, k Kind) int64 {
	return int64(max(0, t.tag-s.joinAt(k)) * float64(t.weight))
}

// wait records that x has items of a kind.
func (s *schedule[T]) wait(x T, k Kind) {
	if x.self().slots[k] < 0 {
		s.turns[k].push(x)
	}
}

// leave records that x has no items of a kind any more.
func (s *schedule[T]) leave(x T, k Kind) {
	if slot := x.self().slots[k]; slot >= 0 {
		s.turns[k].remove(slot)
	}
}

// begin begins a request for items of a kind: the virtual time advances to the next
// turn. It does not pass the turn of a whole item, which must not lose its turn to shared
// items that only fill a request.
func (s *schedule[T]) begin(k Kind, round uint64) {
	if s.round == round {
		return
	}
	s.round = round
	x, ok := s.turns[k].top()
	if !ok {
		return
	}
	at := x.self().tag
	if w, ok := s.turns[Whole].top(); ok {
		at = min(at, w.self().tag)
	}
	s.vtime = max(s.vtime, at)
}

// took records that an item of a kind was taken from t, at a cost of so many units.
func (s *schedule[T]) took(t *turn, k Kind, units float64) {
	if k != Shared {
		return
	}
	s.filled = max(s.filled, t.tag)
	if s.shared.round != s.round {
		s.shared = mean{round: s.round}
	}
	s.shared.add(t.ends(units))
}

// first returns the kind that goes first, of a whole item of w and a shared one of t: the
// one that would end first. So an item that costs next to nothing does not wait for the
// whole items of all that began at the same time. A shared request also waits for the
// turns of those who pay most of it. Otherwise it would take requests from those that
// wait with whole items.
func (s *schedule[T]) first(w, t *turn, together int) Kind {
	begins := max(t.tag, s.shared.value())
	if w.ends(wholeCost) < begins+wholeCost/float64(together)/float64(t.weight) {
		return Whole
	}
	return Shared
}

// mean is the mean tag of all that paid for a shared request.
type mean struct {
	sum   float64
	n     int
	round uint64
}

func (m *mean) add(tag float64) {
	m.sum += tag
	m.n++
}

func (m *mean) value() float64 { return m.sum / float64(max(1, m.n)) }

// charge moves the turn of x on.
func (s *schedule[T]) charge(x T, units float64) {
	t := x.self()
	t.tag = t.ends(units)
	s.latest = max(s.latest, t.tag)
	s.fix(x)
}

// fix restores the order after the tag of x has changed.
func (s *schedule[T]) fix(x T) {
	t := x.self()
	for k := range t.slots {
		if t.slots[k] >= 0 {
			s.turns[k].fix(t.slots[k])
		}
	}
}

// rest is called when nothing waits. It forgets all turns in advance.
func (s *schedule[T]) rest() {
	s.vtime = max(s.vtime, s.latest)
	s.filled = s.vtime
}
