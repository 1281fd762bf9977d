package fairqueue

// scan is a walk over all that waits, in slices between which anything may change.
type scan struct {
	round uint64 // of all scans
	level Priority
	next  *place // nil: the level's first is still to come, or all have been
	begun bool   // ... all have been
	over  bool
}

// scanned is what a scan has seen of an item.
type scanned struct {
	round  uint64
	places int
	ahead  int // the least, of the places that it has seen
}

// BeginScan begins a scan of all that waits, or begins it anew. What returns to the
// front of its line while the scan goes on may be left out.
func (q *Queue) BeginScan() { q.scan = scan{round: q.scan.round + 1} }

// Scan goes on with a scan until as many waiters have been seen as asked for, or a
// few more. For each item it calls f with the least number of requests that leave
// before it, which f may remove. It returns false once the scan is over. Each place
// costs constant time.
func (q *Queue) Scan(waiters int, f func(it *Item, ahead int)) (more bool) {
	s := &q.scan
	for waiters > 0 {
		p := s.take(q)
		if p == nil {
			return false
		}
		waiters -= p.waiters
		l, k := p.line, p.item.Kind
		if l.scanned.round != s.round {
			l.scanned.round, l.scanned.units = s.round, 0
		}
		ahead := q.ahead(l, l.scanned.units, k, k.cost())
		if p.item.scanned.seen(s.round, ahead) == len(p.item.places) {
			f(p.item, p.item.scanned.ahead)
		}
		if p.item.in(l) == p {
			l.scanned.units += k.cost()
		}
	}
	return true
}

// take returns the next place and moves on; nil: there is none.
func (s *scan) take(q *Queue) *place {
	for !s.over {
		if !s.begun {
			s.begun, s.next = true, q.levels[s.level].all.first
		}
		if p := s.next; p != nil {
			s.next = p.inLevel.next
			return p
		}
		if s.level++; s.level == priorities {
			s.over = true
		}
		s.begun = false
	}
	return nil
}

// skip has the scan not stumble over a place that is about to go.
func (s *scan) skip(p *place) {
	if s.next == p {
		s.next = p.inLevel.next
	}
}

// seen notes one more place, and returns how many there were.
func (s *scanned) seen(round uint64, ahead int) int {
	if s.round != round {
		*s = scanned{round: round, ahead: ahead}
	}
	s.places++
	s.ahead = min(s.ahead, ahead)
	return s.places
}
