package fairqueue

// scan is a walk over all places, in slices between which the queue may change.
type scan struct {
	round uint64 // of all scans
	level Priority
	next  *place // the next place of the level; nil at its start and its end
	begun bool   // the level has begun
	over  bool   // all levels have ended
}

// scanMark is a scan's record of an item.
type scanMark struct {
	round  uint64
	places int
	ahead  int // the smallest number of requests ahead, of the places seen so far
}

// BeginScan begins a scan of all items, or starts it over. Items that return to the front
// of their lines during the scan may be left out.
func (q *Queue) BeginScan() { q.scan = scan{round: q.scan.round + 1} }

// Scan continues a scan until it has seen the given number of waiters, or a few more.
// For each item it calls f with the smallest number of requests that leave before it; f
// may remove the item. Scan returns false once the scan is over. Each place costs
// constant time.
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

// take returns the next place and moves on. It returns nil at the end.
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

// skip moves the scan past a place that is about to be removed.
func (s *scan) skip(p *place) {
	if s.next == p {
		s.next = p.inLevel.next
	}
}

// seen records one more place, and returns how many places were seen.
func (s *scanMark) seen(round uint64, ahead int) int {
	if s.round != round {
		*s = scanMark{round: round, ahead: ahead}
	}
	s.places++
	s.ahead = min(s.ahead, ahead)
	return s.places
}
