package gate

import "github.com/clerkgate/clerkgate/clerkapi"

// maxPatience is the largest number of full lookups between two tries of a larger size.
const maxPatience = 64

// lookupSize is how many ids go into a lookup. It adapts as congestion control adapts a
// window: a lookup that is too large halves it, and lookups that are answered let it
// grow, doubling at first. A try that fails is given up at once, and the next one aims
// between the largest size that was answered and the smallest that was not. After each
// failed try, twice as many full lookups pass until the next, so that a lasting limit
// costs little; after a passing limit, a few requests are enough.
type lookupSize struct {
	limit        int // ids in a lookup now
	answeredSize int // the largest that was answered since the last cut
	refusedSize  int // the smallest that was too large; 0: none, or forgotten
	full         int // lookups of limit ids answered since it last changed
	patience     int // how many of those there must be before a larger size is tried
}

func newLookupSize() lookupSize { return lookupSize{limit: clerkapi.MaxLookup, patience: 1} }

// tooLarge records that a lookup of n ids was too large.
func (s *lookupSize) tooLarge(n int) {
	if n < 2 { // a lone id can't be smaller
		return
	}
	if s.answeredSize > 0 && n > s.answeredSize { // a try
		s.patience = min(2*s.patience, maxPatience)
		s.limit = min(s.limit, s.answeredSize)
	} else {
		s.limit = max(1, min(s.limit, n/2))
		s.answeredSize = 0
	}
	s.refusedSize, s.full = n, 0
}

// answered records that a lookup of n ids was answered.
func (s *lookupSize) answered(n int) {
	if n < s.limit || s.limit == clerkapi.MaxLookup {
		return
	}
	if s.refusedSize > 0 && n >= s.refusedSize { // the limit has passed
		s.refusedSize, s.patience = 0, 1
	}
	s.answeredSize = max(s.answeredSize, n)
	if s.full++; s.full < s.patience {
		return
	}
	s.full = 0
	if between := (s.limit + s.refusedSize) / 2; s.patience > 1 && between > s.limit {
		s.limit = between
		return
	}
	s.limit = min(clerkapi.MaxLookup, 2*s.limit)
}
