package fairqueue

// turn is what a schedule knows of one that takes turns in it: of a peer among the
// peers of a level, of a line among the lines of a peer.
type turn struct {
	weight int64
	tag    float64
	joined uint64     // breaks ties between tags
	slots  [kinds]int // index in the schedule's heaps, -1 if not there
}

func newTurn(weight int) turn {
	return turn{weight: int64(max(1, weight)), slots: [kinds]int{-1, -1}}
}

func (t *turn) self() *turn { return t }

// ends is the tag that t has after a cost of so many units.
func (t *turn) ends(units float64) float64 { return t.tag + units/float64(t.weight) }

// schedule has those who wait take turns by start-time fair queueing.
type schedule[T interface{ self() *turn }] struct {
	vtime  float64            // the tag of who had the last turn
	filled float64            // the tag of who gave the last shared item
	latest float64            // the greatest tag that there was
	shared mean               // of the last shared request
	turns  [kinds]turnHeap[T] // those who wait with items of the kind
	round  uint64             // the request that was last begun here
}

func (s *schedule[T]) init() {
	for k := range s.turns {
		s.turns[k].kind = Kind(k)
	}
}

// joinAt is the least tag of one who had nothing and now has an item of a kind.
// Items that fill another's request leave before their turn. Who shares requests
// joins level with them, or it would draw them along by each turn that it has, and
// so keep those behind that take requests for themselves.
func (s *schedule[T]) joinAt(k Kind) float64 {
	if k == Shared {
		return max(s.vtime, s.filled)
	}
	return s.vtime
}

// join sets the tag of one that had nothing queued.
func (s *schedule[T]) join(t *turn, k Kind, seq uint64) {
	t.tag = max(t.tag, s.joinAt(k))
	t.joined = seq
}

// debt is how many units of turns one who has nothing has had ahead, for which
// others go before what it gets next.
func (s *schedule[T]) debt(t *turn, k Kind) int64 {
	return int64(max(0, t.tag-s.joinAt(k)) * float64(t.weight))
}

// wait has x wait with items of a kind, if it does not yet.
func (s *schedule[T]) wait(x T, k Kind) {
	if x.self().slots[k] < 0 {
		s.turns[k].push(x)
	}
}

// leave has x wait no longer with items of a kind.
func (s *schedule[T]) leave(x T, k Kind) {
	if slot := x.self().slots[k]; slot >= 0 {
		s.turns[k].remove(slot)
	}
}

// begin begins a request for items of a kind: the schedule's time moves on to the
// turn of who is next. If the request is another's that these items only fill, they
// leave before what waits for a turn of its own, which must not lose it.
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

// gave notes that t gives an item of a kind at a cost of so many units.
func (s *schedule[T]) gave(t *turn, k Kind, units float64) {
	if k != Shared {
		return
	}
	s.filled = max(s.filled, t.tag)
	if s.shared.round != s.round {
		s.shared = mean{round: s.round}
	}
	s.shared.add(t.ends(units))
}

// first is the kind that goes first of a whole item of w's and a shared one of t's:
// the one that would end first, so that an item which is nearly free does not wait
// for the whole ones of all who began at the same time. Who waits for a request that
// others pay for the most waits for their turns, or it would take their requests from
// those who wait with whole items.
func (s *schedule[T]) first(w, t *turn, together int) Kind {
	begins := max(t.tag, s.shared.value())
	if w.ends(wholeCost) < begins+wholeCost/float64(together)/float64(t.weight) {
		return Whole
	}
	return Shared
}

// mean is that of the tags of all who paid for a shared request, by what they paid.
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

// charge moves x's turn on.
func (s *schedule[T]) charge(x T, units float64) {
	t := x.self()
	t.tag = t.ends(units)
	s.latest = max(s.latest, t.tag)
	for k := range t.slots {
		if t.slots[k] >= 0 {
			s.turns[k].fix(t.slots[k])
		}
	}
}

// rest is called when nobody waits: all join alike from now on, whatever they have had.
func (s *schedule[T]) rest() {
	s.vtime = max(s.vtime, s.latest)
	s.filled = s.vtime
}
