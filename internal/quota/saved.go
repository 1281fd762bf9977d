package quota

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// savedVersion is the version of Saved's form.
const savedVersion = 2

// Saved is the use of a quota by a Limiter, in a form that outlives the process. Its times
// are wall clock times.
type Saved struct {
	Version     int          `json:"version"`
	At          time.Time    `json:"at"`
	Limit       int          `json:"limit"` // of the quota, like Window and Burst
	Window      string       `json:"window"`
	Burst       int          `json:"burst,omitempty"`
	FreeAt      []time.Time  `json:"free_at,omitempty"`   // strict: when answered permits come free
	Level       float64      `json:"level,omitempty"`     // bucket: tokens at At
	Unsettled   int          `json:"unsettled,omitempty"` // permits whose requests had no answer yet
	Ahead       int          `json:"ahead,omitempty"`     // permits that may have been taken since
	Lent        []SavedLoan  `json:"lent,omitempty"`      // permits that are lent, and counted in none of the fields above
	Leases      []SavedLease `json:"leases,omitempty"`    // the leases among these
	Learned     float64      `json:"learned,omitempty"`   // the limit after 429s, 0 if none has lowered it
	PausedUntil time.Time    `json:"paused_until,omitzero"`
}

// Save returns the use of the quota at now. Restore counts ahead more permits as spent,
// which may be taken before the next Save.
func (l *Limiter) Save(now time.Time, ahead int) Saved {
	l.advance(now)
	s := Saved{Version: savedVersion, At: now.Round(0), Limit: l.cfg.Limit, Window: l.cfg.Window.String(), Burst: l.cfg.Burst, Ahead: ahead, PausedUntil: l.pausedUntil.Round(0), Lent: l.saveLent()}
	if l.learned < float64(l.cfg.lessReserve(l.cfg.Limit)) {
		s.Learned = l.learned
	}
	l.supply.save(&s, &l.lent)
	return s
}

// ParseSaved reads the JSON form of a Saved.
func ParseSaved(text []byte) (Saved, error) {
	var s Saved
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("saved quota: %w", err)
	}
	if s.Version != savedVersion {
		return s, fmt.Errorf("saved quota: version %d, want %d", s.Version, savedVersion)
	}
	if s.Unsettled < 0 || s.Ahead < 0 || s.Learned < 0 || slices.ContainsFunc(s.Lent, func(l SavedLoan) bool { return l.Permits < 0 }) {
		return s, errors.New("saved quota: negative counts")
	}
	return s, nil
}

// Complete returns nil if s has everything that can count as spent at now, or else why it
// may not: it is of another quota, or older than a window. (Within a window, another
// server that began with WaitWindow has sent nothing yet.)
func (s Saved) Complete(cfg Config, now time.Time) error {
	cfg = cfg.withDefaults()
	if window := cfg.Window.String(); s.Limit != cfg.Limit || s.Window != window || s.Burst != cfg.Burst {
		return fmt.Errorf("it is of another quota, %d requests per %s with a burst of %d, and this one is %d per %s with a burst of %d",
			s.Limit, s.Window, s.Burst, cfg.Limit, window, cfg.Burst)
	}
	switch age := now.Sub(s.At); {
	case age > cfg.Window:
		return fmt.Errorf("it was written %s ago, which is longer than a window: another server may have used the key since", age.Round(time.Second))
	case age < -cfg.Window:
		return fmt.Errorf("it was written %s in the future: a clock has been set", (-age).Round(time.Second))
	}
	return nil
}

// Restore returns a Limiter that continues from the use of an earlier one. Permits without an
// answer, and those that may have been taken after the Save, count as sent just now. Since
// clocks may have been set meanwhile, nothing is held longer than a permit that is lost
// now. If s is not Complete, cfg.FirstWindow applies as well.
func Restore(cfg Config, s Saved, now time.Time) *Limiter {
	if s.Complete(cfg, now) == nil {
		cfg.FirstWindow = FullWindow
	}
	l := New(cfg, now)
	if s.Learned > 0 {
		l.learned = max(1, min(l.learned, s.Learned))
	}
	if s.PausedUntil.After(now) {
		l.pausedUntil = now.Add(min(maxPause, s.PausedUntil.Sub(now)))
		l.probing = true
	}
	l.supply.restore(s, l.cfg, l.limit(), now)
	l.restoreLent(s, now)
	return l
}
