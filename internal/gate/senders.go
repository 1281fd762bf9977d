package gate

import (
	"slices"
	"time"
)

// senders is whose requests have left lately: one caller's, or several callers'.
type senders struct {
	party Party     // who had the first part in the last request
	mixed time.Time // when a request last left in which somebody else had a part
}

// sent records a request in which parties have a part.
func (s *senders) sent(parties []Party, now time.Time) {
	if slices.ContainsFunc(parties, func(p Party) bool { return !sameCaller(s.party, p) }) {
		s.party, s.mixed = parties[0], now
	}
}

// onlyOne reports whether all requests of the last d were those of one caller.
func (s *senders) onlyOne(now time.Time, d time.Duration) bool { return now.Sub(s.mixed) > d }
