package quota

import (
	"math/rand/v2"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// clerkWindow is Clerk's side of a strict window: fixed, with the phase of start.
type clerkWindow struct {
	n     int
	w     time.Duration
	start time.Time
	count int
}

// hit reports whether a request is accepted at now; if not, it returns when to come
// back.
func (s *clerkWindow) hit(now time.Time) (ok bool, retryAfter time.Duration) {
	for now.Sub(s.start) >= s.w {
		s.start, s.count = s.start.Add(s.w), 0
	}
	if s.count >= s.n {
		return false, s.start.Add(s.w).Sub(now)
	}
	s.count++
	return true, 0
}

// besideOthers runs a Limiter that always wants more on a key that others use as well.
// It counts what was accepted and what was refused, after a time to adapt.
func besideOthers(cfg Config, seed uint64, adapt, length time.Duration, gap func(*rand.Rand) time.Duration) (accepted, refused int) {
	const roundTrip = 60 * time.Millisecond
	rnd := rand.New(rand.NewPCG(seed, 0))
	l := New(cfg, epoch)
	cfg = l.Config()
	clerk := &clerkWindow{n: cfg.Limit, w: cfg.Window, start: epoch.Add(-rand.N(cfg.Window))}
	type answer struct {
		at, sent   time.Time
		p          Permit
		ok         bool
		retryAfter time.Duration
	}
	var answers []answer
	other := epoch.Add(gap(rnd))
	for now := epoch; now.Sub(epoch) < length; {
		for !other.After(now) {
			clerk.hit(other)
			other = other.Add(gap(rnd))
		}
		for len(answers) > 0 && !answers[0].at.After(now) {
			a := answers[0]
			answers = answers[1:]
			if a.ok {
				l.Answered(a.p, a.sent, now, now, nil)
			} else {
				l.Limited(a.p, now, (a.retryAfter + time.Second - 1).Truncate(time.Second), nil)
			}
			if now.Sub(epoch) > adapt {
				if a.ok {
					accepted++
				} else {
					refused++
				}
			}
		}
		p, ok, again := l.Take(now)
		if ok {
			a := answer{at: now.Add(roundTrip), sent: now, p: p}
			a.ok, a.retryAfter = clerk.hit(now)
			answers = append(answers, a)
			continue
		}
		next := other
		if !again.IsZero() && again.Before(next) {
			next = again
		}
		if len(answers) > 0 && answers[0].at.Before(next) {
			next = answers[0].at
		}
		now = next
	}
	return accepted, refused
}

// TestBesideOthers: somebody else takes a fifth of the key at random times, and
// Retry-After is the only sign of that.
func TestBesideOthers(t *testing.T) {
	const length, adapt = time.Hour, 10 * time.Minute
	cfg := Config{}.withDefaults()
	mean := cfg.Window / time.Duration(cfg.Limit) * 5
	random := func(r *rand.Rand) time.Duration { return time.Duration(r.ExpFloat64() * float64(mean)) }
	even := func(*rand.Rand) time.Duration { return mean }
	windows := float64(length-adapt) / float64(cfg.Window)
	for seed := range uint64(3) {
		accepted, refused := besideOthers(cfg, seed, adapt, length, random)
		rate := 1000 * float64(refused) / float64(accepted+refused)
		used := float64(accepted) / windows / float64(cfg.Limit)
		t.Logf("seed %d: %.2f 429s per 1,000, %.1f %% of the quota used", seed, rate, 100*used)
		if rate > 2 || used < 0.65 {
			t.Errorf("seed %d: %.2f 429s per 1,000 and %.1f %% used, want at most 2 and at least 65 %%", seed, rate, 100*used)
		}
		reserved := cfg
		reserved.Reserve = 0.3
		if _, refused := besideOthers(reserved, seed, 0, length, even); refused > 0 {
			t.Errorf("seed %d: %d 429s with a reserve of 30 %% beside 20 %% that come evenly", seed, refused)
		}
	}
}
