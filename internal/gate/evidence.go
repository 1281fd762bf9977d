package gate

import (
	"slices"
	"time"
)

const (
	weighed      = 20               // outcomes that are weighed
	probeSpacing = 30 * time.Second // the longest time between two probes that suspicion causes
)

// evidence is what the latest requests show about Clerk as a whole. A query that fails
// again and again counts once. Failures of one caller's requests prove nothing: they are
// a suspicion, which a probe decides.
type evidence struct {
	need    int // failures in a row that make a suspicion
	ring    [weighed]outcome
	n       int // outcomes since the last clear
	inRow   int // failures since the last answer; repeated ones of a query count, too
	failing *recentSet

	probeAt time.Time     // suspicion causes no probe before
	spacing time.Duration // until the probe after that
}

// outcome is how one request has ended.
type outcome struct {
	failed  bool
	callers []string // of a failed one: who asked
}

func newEvidence(need int) evidence { return evidence{need: need, failing: newRecentSet()} }

// answered records that Clerk has answered queries.
func (e *evidence) answered(queries []uint64) {
	e.inRow = 0
	for _, q := range queries {
		e.failing.forget(q)
	}
	e.add(outcome{})
}

// failed records a failed request for queries, and reports whether it counts: it does
// unless one of the queries has failed lately.
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

// clear forgets all outcomes.
func (e *evidence) clear() { e.n, e.inRow = 0, 0 }

// weigh reports whether enough requests have failed for a suspicion, and whether that is
// proven: no single caller has a part in all of them.
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

// common returns the callers that are in a and in b, or b if it is the first set.
func common(first bool, a, b []string) []string {
	if first {
		return b
	}
	return slices.DeleteFunc(slices.Clone(a), func(c string) bool { return !slices.Contains(b, c) })
}

// suspects reports whether a probe must decide a suspicion now. If not, again is the
// earliest time for one. Each answered probe makes the next ones rarer, since one
// caller's failures may continue.
func (e *evidence) suspects(now time.Time) (yes bool, again time.Time) {
	if enough, _ := e.weigh(); !enough {
		return false, time.Time{}
	}
	if now.Before(e.probeAt) {
		return false, e.probeAt
	}
	return true, time.Time{}
}

// probed records that a probe was answered.
func (e *evidence) probed(first time.Duration, now time.Time) {
	e.clear()
	if now.Sub(e.probeAt) > 2*probeSpacing { // the last suspicion is long ago
		e.spacing = 0
	}
	e.spacing = min(probeSpacing, max(first, 2*e.spacing))
	e.probeAt = now.Add(e.spacing)
}
