package quota

import "time"

// A replica decides without the shared state when it has had no reply for 600 ms, when
// Redis has lost its data, or when Redis's clock can't be trusted. All replicas together
// still send no more than the quota allows, since each keeps to what the others expect of
// it:
//
//   - For the longest time that a permit can be held, it only uses its own permits again as
//     they come free, and no more of them than its share: the quota divided by the last
//     known number of replicas. Meanwhile the permits that others hold beyond their shares
//     come free.
//     If it had few permits or none, it may use those that the state has kept ready for
//     it: an even part of half of what was left, or a twentieth of its share.
//   - After that it may hold its share.
//
// Where other replicas reach the state, it counts a replica that is silent for 600 ms as
// holding its last share, for ten windows. A share grows only once the others have
// received their smaller ones, so that the sum of all shares never exceeds the quota. If
// silent replicas have most of it, half of an even part is left to the others, since
// replicas crash more often than they are cut off.
//
// While a new state learns what is held, shares only shrink: to even parts, and those of new
// replicas to what the others leave.
//
// A replica that never reached a state may hold a tenth of the quota, and one that has not
// been given a share yet, one permit.

// fallBack begins to decide without the state.
func (s *Shared) fallBack(now time.Time) {
	if s.mode != sharing {
		return
	}
	s.mode = fallback
	s.switchedAt = now
	usable := 0
	for _, g := range s.grants {
		switch {
		case !g.at.After(now):
			usable++
		case !g.own: // else it is held already, and comes free by itself
			s.local.reserve(g.at)
			s.settled.add(g.at)
		}
	}
	s.grants = nil
	s.atOnce = max(s.view.Ready, s.local.State(now).Held+usable)
	s.local.restart(now, usable, s.pausedUntil())
}

// advance falls back if the state has been silent for too long, and sets what may be held
// without it.
func (s *Shared) advance(now time.Time) {
	switch {
	case s.mode == sharing && now.Sub(s.lastOK) > alive:
		s.fallBack(now)
	case s.mode == sharing:
		return
	}
	s.local.capAt(s.allowance(now))
}

// allowance returns how many permits may be held without the state, and how long each is
// held after its answer.
func (s *Shared) allowance(now time.Time) (permits int, hold time.Duration) {
	hold = s.windowHold()
	if s.mode == alone && (now.Before(s.start.Add(s.settling())) || s.learning(now)) {
		return 0, hold
	}
	share := s.share()
	permits = max(1, int(share))
	if share > 0 && share < 1 {
		hold = stretch(time.Duration(float64(s.window()) / share))
	}
	if s.mode == fallback && s.local.cfg.Burst == 0 && now.Before(s.growsAt()) {
		permits = min(permits, s.atOnce)
	}
	return permits, hold
}

// share returns how many permits the replica may hold in the end without the state: the
// share in the last reply or, before there was one, a tenth of the quota.
func (s *Shared) share() float64 {
	if s.acked == 0 {
		return float64(max(1, s.cfg.lessReserve(s.cfg.Limit)/10))
	}
	return s.view.Share
}

// learning reports whether there is a state that does not know yet what is held.
func (s *Shared) learning(now time.Time) bool {
	return s.view.Status == "learning" && now.Sub(s.lastOK) <= alive
}

// settling returns how long a replica that never reached a state waits for one.
func (s *Shared) settling() time.Duration {
	if s.cfg.FirstWindow == WaitWindow {
		return s.longestHold()
	}
	return alive
}

// growsAt returns from when the whole share may be held.
func (s *Shared) growsAt() time.Time { return s.switchedAt.Add(s.longestHold()) }

// waitForShare returns for how long nothing at all may be sent without the state.
func (s *Shared) waitForShare(now time.Time) time.Duration {
	if n, _ := s.allowance(now); n > 0 {
		return 0
	}
	if s.mode == alone {
		return max(s.start.Add(s.settling()).Sub(now), s.view.Learning.Duration()-now.Sub(s.viewAt))
	}
	return s.growsAt().Sub(now)
}

// estimateAlone estimates without the state.
func (s *Shared) estimateAlone(now time.Time, k int) time.Duration {
	wait := s.waitForShare(now)
	grown := s.growsAt().Sub(now)
	if wait == 0 && (s.mode == alone || grown <= 0) {
		return s.local.Estimate(now, k)
	}
	// More may be held soon.
	soon := max(1, s.share())
	if s.mode == alone {
		grown, soon = wait, float64(s.cfg.lessReserve(s.cfg.Limit)) // by the state, most likely
	}
	then := grown + time.Duration(float64(k-1)*float64(s.window())/soon)
	if wait > 0 {
		return then
	}
	return min(then, s.local.Estimate(now, k))
}

// takeAlone takes a permit without the state.
func (s *Shared) takeAlone(now time.Time) (p Permit, ok bool, again time.Time) {
	if wait := s.waitForShare(now); wait > 0 {
		return Permit{}, false, now.Add(wait)
	}
	if p, ok, again = s.local.Take(now); !ok {
		if grows := s.growsAt(); s.mode == fallback && grows.After(now) && (again.IsZero() || grows.Before(again)) {
			again = grows
		}
		return p, false, again
	}
	p.era, p.seen = s.era, s.view.Released
	s.used(p)
	return p, true, time.Time{}
}
