package quota

import "time"

// A replica does without the shared state when it has had no reply for
// 600 ms, when Redis has lost its data, or when its clock can't be trusted.
// That leads to no more requests than the quota allows, since from then on each
// replica keeps to what the others expect of it:
//
//   - For one hold time it only uses again, as they come free, permits that were its
//     own, and of those no more than its share: the quota divided by the replicas
//     that were there last. Whatever others hold beyond their shares comes free
//     meanwhile.
//   - Then it may hold its share.
//
// The state, where others reach it, counts a replica that is silent for
// 600 ms as holding its share, for ten windows. What came free before that,
// the state may have given to others: the silent replica has stopped to use it
// by then.
//
// A replica that never reached a state may hold a tenth of the quota.

// fallBack goes over to deciding without the state.
func (s *Shared) fallBack(now time.Time) {
	if s.mode != sharing {
		return
	}
	s.mode = fallback
	s.switchedAt = now
	usable := 0
	for _, g := range s.grants {
		if g.at.After(now) {
			s.local.reserve(g.at)
		} else {
			usable++
		}
	}
	s.grants = nil
	s.switchedHeld = s.local.State(now).Held + usable
	s.local.restart(now, usable, s.pausedUntil())
}

// advance notes that the state has been silent for too long, and what may be
// held without it.
func (s *Shared) advance(now time.Time) {
	switch {
	case s.mode == sharing && now.Sub(s.lastOK) > alive:
		s.fallBack(now)
	case s.mode == sharing:
		return
	}
	s.local.capAt(s.allowance(now))
}

// allowance is how many permits may be held without the state, for how long each.
func (s *Shared) allowance(now time.Time) (permits int, hold time.Duration) {
	hold = stretch(s.window())
	if s.mode == alone {
		if now.Before(s.start.Add(s.settling())) {
			return 0, hold
		}
		return max(1, s.cfg.share(s.cfg.Limit)/10), hold
	}
	limit, replicas := max(1, s.view.Limit), max(1, s.view.Replicas)
	share := limit / replicas
	if share == 0 {
		share = 1
		hold = stretch(s.window() * time.Duration(replicas) / time.Duration(limit))
	}
	if s.local.strict != nil && now.Before(s.growsAt()) {
		share = min(share, s.switchedHeld)
	}
	return share, hold
}

// settling is how long a replica that never reached a state waits for one.
func (s *Shared) settling() time.Duration {
	if s.cfg.FirstWindow == WaitWindow {
		return s.hold()
	}
	return alive
}

// growsAt is from when the whole share may be held.
func (s *Shared) growsAt() time.Time { return s.switchedAt.Add(s.hold()) }

// waitForShare is how long nothing at all may be sent without the state.
func (s *Shared) waitForShare(now time.Time) time.Duration {
	if n, _ := s.allowance(now); n > 0 {
		return 0
	}
	if s.mode == alone {
		return s.start.Add(s.settling()).Sub(now)
	}
	return s.growsAt().Sub(now)
}

// estimateAlone is Estimate without the state.
func (s *Shared) estimateAlone(now time.Time, k int) time.Duration {
	grown, share := s.growsAt(), max(1, s.view.Limit/max(1, s.view.Replicas))
	if s.mode == alone {
		grown, share = s.start.Add(s.settling()), s.cfg.share(s.cfg.Limit)
	}
	if !grown.After(now) {
		return s.local.Estimate(now, k)
	}
	// More may be held soon.
	then := grown.Sub(now) + time.Duration(k-1)*s.window()/time.Duration(share)
	if n, _ := s.allowance(now); n == 0 {
		return then
	}
	return min(then, s.local.Estimate(now, k))
}

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
