package usage

import (
	"cmp"
	"slices"
)

// Counts is the use of one caller, or of several together, since the start.
type Counts struct {
	Name      string
	Lookups   int64   // ids asked for
	Requests  float64 // its part of the requests to Clerk, and the permits of its leases that were used
	Queued    int     // its waiters, one for each of its wants
	Refused   int64   // wants refused
	OverLimit int64   // ids, lists, counts and permits refused because of a limit of its own; not in Refused
}

// Report is the use of all callers. Busiest and Others add up to it, and so do First and
// Later.
type Report struct {
	Busiest []Counts // the busiest callers, the busiest first
	Others  Counts   // all others together, with those that were forgotten
	// First are the callers that came first. They are never forgotten, so neither their
	// counts nor those of Later ever fall.
	First []Counts
	Later Counts // all but First together
}

// Report returns the use of all callers.
func (c *Callers) Report() Report {
	all, others := c.records()
	sortByUse(all)
	var r Report
	later := others
	for i, one := range all {
		if i < shownCallers {
			r.Busiest = append(r.Busiest, one.counts())
		} else {
			others.add(one)
		}
		if one.first {
			r.First = append(r.First, one.counts())
		} else {
			later.add(one)
		}
	}
	r.Others, r.Later = others.counts(), later.counts()
	return r
}

// record is a copy of the counts of one caller, or the sum of several.
type record struct {
	name                         string
	first                        bool
	queued                       int
	lookups, paid, refused, over int64
}

// records returns the counts of all callers that are remembered, in no order, and the
// sum of all others.
func (c *Callers) records() (all []record, others record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all = make([]record, 0, len(c.byName))
	for _, who := range c.byName {
		one := who.counts.Load().record()
		one.name, one.first, one.queued = who.name, who.first, who.queued
		all = append(all, one)
	}
	others = c.forgotten.record()
	others.queued = c.others.queued
	return all, others
}

func (c *counts) record() record {
	return record{lookups: c.lookups.Load(), paid: c.paid, refused: c.refused, over: c.over}
}

func (a *record) add(b record) {
	a.queued += b.queued
	a.lookups += b.lookups
	a.paid += b.paid
	a.refused += b.refused
	a.over += b.over
}

func (a record) counts() Counts {
	return Counts{
		Name: a.name, Lookups: a.lookups, Requests: float64(a.paid) / wholeRequest, Queued: a.queued, Refused: a.refused, OverLimit: a.over,
	}
}

// sortByUse sorts the busiest callers first.
func sortByUse(all []record) {
	slices.SortFunc(all, func(a, b record) int {
		return cmp.Or(cmp.Compare(b.paid, a.paid), cmp.Compare(b.lookups, a.lookups), cmp.Compare(a.name, b.name))
	})
}
