package quota

import "time"

// Report describes the permits of a replica, and what it wants, in one exchange with the
// state that all replicas share. Durations count from the sending.
type Report struct {
	ID    string `json:"id"`    // of the replica
	Seq   int64  `json:"seq"`   // of its reports, rising
	Acked int64  `json:"acked"` // the last report whose reply has come
	Epoch string `json:"epoch"` // of the state that the replica knows; empty: none

	Share float64 `json:"share"` // the permits that it may hold in the end without the state
	Ready int     `json:"ready"` // those that it may hold at once

	Fallback bool `json:"fallback"` // the replica does without the state
	Full     bool `json:"full"`     // Releases, Lost and Lent are complete, and not only new ones
	Bye      bool `json:"bye"`      // the replica ends, with nothing under way
	Peers    int  `json:"peers"`    // replicas known, this one included; 0 before the first reply

	Expect    int64        `json:"expect"` // the expected time of Redis's clock, in Unix µs; 0: not known
	Tolerance Microseconds `json:"tolerance"`
	Jumped    bool         `json:"jumped"` // the clock had another time, and this is no late call

	Limit      int          `json:"limit"` // of the quota, less the reserve
	Window     Microseconds `json:"window"`
	Burst      int          `json:"burst"`
	PaceAlways bool         `json:"pace_always"`
	First      string       `json:"first"`     // slow, wait or full
	Hold       Microseconds `json:"hold"`      // until a new state knows all that is held
	LostHold   Microseconds `json:"lost_hold"` // of a request without an answer
	Alive      Microseconds `json:"alive"`     // how long after a report a replica counts as present
	Beat       Microseconds `json:"beat"`      // how often it reports at least
	Horizon    Microseconds `json:"horizon"`   // how far ahead permits may be reserved

	Out      int            `json:"out"`      // permits that the replica has and that are not settled
	Unused   int            `json:"unused"`   // those of them that are not used yet
	Releases []Microseconds `json:"releases"` // of a window: until settled permits come free
	Lost     []Microseconds `json:"lost"`     // of a bucket: until permits of requests without an answer come free
	Returned int            `json:"returned"` // tokens that were not used

	Lent      []LentEvent `json:"lent,omitempty"` // permits that are lent, apart from all others
	Lend      int         `json:"lend"`           // permits that the replica wants to lend next
	MaxLeased float64     `json:"max_leased"`     // the fraction that may be lent

	Mail []Message `json:"mail,omitempty"` // to other replicas

	Era         int64          `json:"era"`          // the last event of 429s that the replica knows of
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
	After Microseconds `json:"after"` // the rest of its Retry-After; 0: it had none
}

// HeadersEvent holds the headers of the answer to a request whose permit was granted when
// Released permits had come free. Reset is 0 if there were none.
type HeadersEvent struct {
	Remaining int          `json:"remaining"`
	Reset     Microseconds `json:"reset"`
	Released  int64        `json:"released"`
}

// Reply is the answer to a Report. Durations count from when it was made.
type Reply struct {
	// Status is ok; learning, while nothing is granted because permits may be held that the
	// state does not know of; stale, if a later report has come before; or jump, if the
	// clock does not have the expected time. In the last two cases the report has no
	// effect, and only Now is set.
	Status   string       `json:"status"`
	Now      string       `json:"now"` // Redis's time, in Unix µs
	Epoch    string       `json:"epoch"`
	Learning Microseconds `json:"learning"` // how much longer the state learns
	Grants   string       `json:"grants"`   // after how many µs each permit granted may be used
	Own      string       `json:"own"`      // 1 for each of them that is a permit of the replica's own, which comes free then; 0 for others
	Again    Microseconds `json:"again"`    // when to ask for what was not granted; -1: not known
	Next     Microseconds `json:"next"`     // when the next permit may be used; -1: not known
	Era      int64        `json:"era"`
	Released int64        `json:"released"`
	Paused   Microseconds `json:"paused"`
	Probing  bool         `json:"probing"`

	Limit     int `json:"limit"`    // permits per window now
	Capacity  int `json:"capacity"` // the most that could ever be available at once
	Available int `json:"available"`
	Held      int `json:"held"`
	Lent      int `json:"lent"` // those of them that are lent
	Lend      int `json:"lend"` // permits that this replica may lend next: all that it wants, or none
	// LendAfter is the time until these permits may be lent if no lease ends early; 0: not
	// known.
	LendAfter Microseconds `json:"lend_after"`
	Quota     int          `json:"quota"` // the smallest that a replica has
	Window    Microseconds `json:"window"`
	Burst     int          `json:"burst"` // 0: a window, if only because a replica has one
	Replicas  int          `json:"replicas"`
	Active    int          `json:"active"` // replicas that want more than they have

	Mail    []Message `json:"mail"`    // from other replicas
	Unknown string    `json:"unknown"` // tokens of messages whose receiver has no lease any more
	Bounced string    `json:"bounced"` // tokens of messages whose receiver is not there, or gets too many

	// The permits that the replica may hold without the state: in the end, and at once. A
	// Share below 1 is one permit, held for the window divided by it.
	Share float64 `json:"share"`
	Ready int     `json:"ready"`
}

// Microseconds is a duration.
type Microseconds int64

func micros(d time.Duration) Microseconds { return Microseconds(d / time.Microsecond) }

// microsUp rounds up, where less would be too early.
func microsUp(d time.Duration) Microseconds { return micros(d + time.Microsecond - 1) }

// Duration returns m as a time.Duration.
func (m Microseconds) Duration() time.Duration { return time.Duration(m) * time.Microsecond }
