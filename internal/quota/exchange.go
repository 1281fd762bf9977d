package quota

import "time"

// Report is what a replica tells of its permits in one exchange with the state
// that all replicas share, and what it wants. Times that are no instants count
// from the sending.
type Report struct {
	ID    string `json:"id"`    // of the replica
	Seq   int64  `json:"seq"`   // of its reports, rising
	Acked int64  `json:"acked"` // the last report whose reply has come
	Epoch string `json:"epoch"` // of the state that it knows; empty: none

	Share float64 `json:"share"` // that it may hold without the state, in the end
	Ready int     `json:"ready"` // ... and at once

	Fallback bool `json:"fallback"` // it does without the state
	Full     bool `json:"full"`     // Releases, Lost and Lent are all that there are, not only new ones
	Bye      bool `json:"bye"`      // it ends, with nothing under way
	Peers    int  `json:"peers"`    // replicas known, this one included; 0 before the first reply

	Expect    int64        `json:"expect"` // where Redis's clock should stand, in Unix µs; 0: not known
	Tolerance Microseconds `json:"tolerance"`
	Jumped    bool         `json:"jumped"` // the clock was elsewhere, and this is no late call

	Limit      int          `json:"limit"` // of the quota, less the reserve
	Window     Microseconds `json:"window"`
	Burst      int          `json:"burst"`
	PaceAlways bool         `json:"pace_always"`
	First      string       `json:"first"`     // slow, wait or full
	Hold       Microseconds `json:"hold"`      // until a new state has all that is held
	LostHold   Microseconds `json:"lost_hold"` // of a request without an answer
	Alive      Microseconds `json:"alive"`     // how long a replica is taken to share after a report
	Beat       Microseconds `json:"beat"`      // how often it reports at least
	Horizon    Microseconds `json:"horizon"`   // how far ahead permits may be reserved

	Out      int            `json:"out"`      // permits that it has and that are not settled
	Unused   int            `json:"unused"`   // ... of those, not used yet
	Releases []Microseconds `json:"releases"` // until settled ones come free, of a window
	Lost     []Microseconds `json:"lost"`     // ... of a bucket: only of requests without an answer
	Returned int            `json:"returned"` // tokens that were not used

	Lent      []LentEvent `json:"lent,omitempty"` // permits that are lent, apart from all others
	Lend      int         `json:"lend"`           // permits that it wants to lend next
	MaxLeased float64     `json:"max_leased"`     // the share that may be lent

	Mail []Message `json:"mail,omitempty"` // to other replicas

	Era         int64          `json:"era"`          // of the 429s that it knows of
	EraOut      int            `json:"era_out"`      // permits of this era that are not settled
	AnsweredEra int64          `json:"answered_era"` // the latest era with an answer other than 429
	Accepted    int            `json:"accepted"`     // answers other than 429 since the last report
	Limited     []LimitedEvent `json:"limited"`      // answers of 429
	Headers     HeadersEvent   `json:"headers"`      // the last that came

	Wants [2]int `json:"wants"` // permits wanted beyond Unused: interactive, batch
}

// LimitedEvent is a 429 to a request whose permit was of an era.
type LimitedEvent struct {
	Era   int64        `json:"era"`
	After Microseconds `json:"after"` // what is left of its Retry-After; 0: none was given
}

// HeadersEvent is what headers said in answer to a permit that was given when so
// many had been released. Reset is 0 if there were none.
type HeadersEvent struct {
	Remaining int          `json:"remaining"`
	Reset     Microseconds `json:"reset"`
	Released  int64        `json:"released"`
}

// Reply is the answer to a Report. Times that are no instants count from when
// it was made.
type Reply struct {
	// Status is ok; learning, while nothing is granted since permits may be held
	// that the state knows not of; stale, if a later report has come before; or
	// jump, if the clock is not where it was expected. The last two have no effect,
	// and say nothing but Now.
	Status   string       `json:"status"`
	Now      string       `json:"now"` // Redis's time, in Unix µs
	Epoch    string       `json:"epoch"`
	Learning Microseconds `json:"learning"` // how long it takes
	Grants   string       `json:"grants"`   // in how many µs each permit granted may be used
	Again    Microseconds `json:"again"`    // when to ask for what was not granted; -1: not known
	Next     Microseconds `json:"next"`     // when the next permit may be used; -1: not known
	Era      int64        `json:"era"`
	Released int64        `json:"released"`
	Paused   Microseconds `json:"paused"`
	Probing  bool         `json:"probing"`

	Limit     int          `json:"limit"`    // permits per window now
	Capacity  int          `json:"capacity"` // the most that could ever be available at once
	Available int          `json:"available"`
	Held      int          `json:"held"`
	Lent      int          `json:"lent"`  // ... of these, the ones that are lent
	Lend      int          `json:"lend"`  // that this replica may lend next: all that it wants, or none
	Quota     int          `json:"quota"` // the smallest that a replica has
	Window    Microseconds `json:"window"`
	Burst     int          `json:"burst"` // 0: a window, if only because a replica has one
	Replicas  int          `json:"replicas"`
	Active    int          `json:"active"` // replicas that want more than they have

	Mail    []Message `json:"mail"`    // from other replicas
	Bounced string    `json:"bounced"` // tokens of messages whose receiver is not there, or gets too many

	// What may be held without the state: in the end, and at once. A Share below 1 is
	// a permit per so much more than a window.
	Share float64 `json:"share"`
	Ready int     `json:"ready"`
}

// Microseconds is a span of time.
type Microseconds int64

func micros(d time.Duration) Microseconds { return Microseconds(d / time.Microsecond) }

// microsUp rounds up, where less would be too early.
func microsUp(d time.Duration) Microseconds { return micros(d + time.Microsecond - 1) }

// Duration gives m as a Duration.
func (m Microseconds) Duration() time.Duration { return time.Duration(m) * time.Microsecond }
