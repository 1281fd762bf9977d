package gate

import (
	"hash/maphash"
	"slices"
	"time"
)

const (
	weighed      = 20               // outcomes that are weighed
	rememberFail = time.Minute      // how long a query that has failed counts as the same one
	maxRemember  = 10_000           // queries and ids that are remembered as failing
	probeSpacing = 30 * time.Second // the longest between two probes that suspicion causes
)

// evidence is what the latest requests say about Clerk as a whole. A query that
// fails again and again counts once, and what one caller alone has drawn is no
// proof: it is a suspicion, which a probe decides.
type evidence struct {
	need    int // failures in a row that are enough
	ring    [weighed]outcome
	n       int // how many there were
	inRow   int // failures since the last answer, each time that a query fails
	failing *memory

	probeAt time.Time     // not before does suspicion cause a probe
	spacing time.Duration // until the one after
}

// outcome is how one request ended; failed ones have those who asked.
type outcome struct {
	failed  bool
	callers []string
}

func newEvidence(need int) evidence { return evidence{need: need, failing: newMemory()} }

// answered takes in that Clerk has answered queries.
func (e *evidence) answered(queries []uint64) {
	e.inRow = 0
	for _, q := range queries {
		e.failing.forget(q)
	}
	e.add(outcome{})
}

// failed takes in a failure, and reports whether it counts: one of queries of which
// none is known to fail.
func (e *evidence) failed(queries []uint64, callers []string, now time.Time) bool {
	e.inRow++
	known := false
	for _, q := range queries {
		known = e.failing.has(q, now) || known
		e.failing.add(q, now)
	}
	if known {
		return false
	}
	e.add(outcome{failed: true, callers: slices.Clone(callers)})
	return true
}

func (e *evidence) add(o outcome) {
	e.ring[e.n%weighed] = o
	e.n++
}

// clear forgets what counted: a probe has been answered.
func (e *evidence) clear() { e.n, e.inRow = 0, 0 }

// weigh reports whether enough requests have failed, and whether no one caller has
// asked for all of those.
func (e *evidence) weigh() (enough, proven bool) {
	row, failed := 0, 0
	inRow := true
	var rowCallers, allCallers []string
	for i := range min(e.n, weighed) {
		o := e.ring[(e.n-1-i)%weighed]
		if !o.failed {
			inRow = false
			continue
		}
		allCallers = common(failed == 0, allCallers, o.callers)
		failed++
		if inRow && row < e.need {
			rowCallers = common(row == 0, rowCallers, o.callers)
			row++
		}
	}
	byRow := row >= e.need
	byHalf := e.n >= weighed && 2*failed >= weighed
	enough = byRow || byHalf || e.inRow >= e.need
	return enough, byRow && len(rowCallers) == 0 || byHalf && len(allCallers) == 0
}

// common returns those of a that are in b, or b if it is the first.
func common(first bool, a, b []string) []string {
	if first {
		return b
	}
	return slices.DeleteFunc(slices.Clone(a), func(c string) bool { return !slices.Contains(b, c) })
}

// suspects reports whether a probe should decide now. Probes that are answered
// make the next ones rarer, since one caller's trouble may go on.
func (e *evidence) suspects(now time.Time) (yes bool, again time.Time) {
	if enough, _ := e.weigh(); !enough {
		return false, time.Time{}
	}
	if now.Before(e.probeAt) {
		return false, e.probeAt
	}
	return true, time.Time{}
}

// probed takes in that a probe was answered.
func (e *evidence) probed(first time.Duration, now time.Time) {
	e.clear()
	if now.Sub(e.probeAt) > 2*probeSpacing { // not since long
		e.spacing = 0
	}
	e.spacing = min(probeSpacing, max(first, 2*e.spacing))
	e.probeAt = now.Add(e.spacing)
}

// memory holds what has failed lately. It is bounded: the oldest goes first.
type memory struct {
	since map[uint64]time.Time
	order []uint64
}

func newMemory() *memory { return &memory{since: make(map[uint64]time.Time)} }

func (m *memory) has(key uint64, now time.Time) bool {
	at, ok := m.since[key]
	return ok && now.Sub(at) < rememberFail
}

func (m *memory) add(key uint64, now time.Time) {
	if _, ok := m.since[key]; !ok {
		m.order = append(m.order, key)
	}
	m.since[key] = now
	for len(m.since) > maxRemember {
		m.drop()
	}
	for len(m.order) > 2*maxRemember {
		m.drop()
	}
}

// drop takes out the oldest.
func (m *memory) drop() {
	delete(m.since, m.order[0])
	m.order = m.order[1:]
}

func (m *memory) forget(key uint64) { delete(m.since, key) }

var seed = maphash.MakeSeed()

// queryOf is what tells a query from others. It holds nothing of it.
func queryOf(text string) uint64 { return maphash.String(seed, text) }
