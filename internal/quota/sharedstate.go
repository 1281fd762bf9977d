package quota

import "time"

// pausedUntil returns the end of the pause in the last reply.
func (s *Shared) pausedUntil() time.Time { return s.viewAt.Add(s.view.Paused.Duration()) }

// RoundTrip returns how long a request usually takes.
func (s *Shared) RoundTrip() time.Duration { return s.local.RoundTrip() }

// Probing reports whether the next permit is the one that goes before the rest after a
// pause.
func (s *Shared) Probing() bool {
	if s.mode != sharing {
		return s.local.Probing()
	}
	return s.view.Probing
}

// State describes the quota at now: for all replicas together as of the last reply or, in
// the fallback, for this one alone.
func (s *Shared) State(now time.Time) State {
	s.advance(now)
	if s.mode != sharing {
		st := s.local.State(now)
		if s.waitForShare(now) > 0 {
			st.Available = 0
		}
		if st.Capacity = s.cfg.lessReserve(s.cfg.Limit); s.cfg.Burst > 0 { // once the state is back
			st.Capacity = s.burst()
		}
		return st
	}
	st := State{Limit: s.view.Limit, FullLimit: s.cfg.lessReserve(s.cfg.Limit), Capacity: s.view.Capacity, Available: s.view.Available, Held: s.view.Held}
	if until := s.pausedUntil(); until.After(now) {
		st.PausedUntil, st.Available = until, 0
	}
	return st
}

// MostlyFree reports whether over half of the quota is free at now.
func (s *Shared) MostlyFree(now time.Time) bool {
	s.advance(now)
	if s.mode != sharing {
		return s.local.MostlyFree(now)
	}
	return 2*s.view.Available > s.view.Capacity-s.view.Lent
}

// Estimate returns how long it takes from now until the k-th further permit, k from 1, may
// be used, if all replicas that want more keep taking turns.
func (s *Shared) Estimate(now time.Time, k int) time.Duration {
	s.advance(now)
	if s.mode != sharing {
		return s.estimateAlone(now, k)
	}
	if k <= len(s.grants) {
		return max(0, s.grants[k-1].at.Sub(now))
	}
	further := k - len(s.grants)
	until := s.pausedUntil()
	if len(s.grants) == 0 && !until.After(now) {
		// While over half of the quota is free, permits are granted at once.
		if further -= max(0, s.view.Available-(s.view.Capacity-s.view.Lent)/2); further <= 0 {
			return 0
		}
	}
	next := s.viewAt.Add(s.view.Next.Duration())
	if n := len(s.grants); n > 0 && s.grants[n-1].at.After(next) {
		next = s.grants[n-1].at
	}
	if until.After(next) {
		next = until
	}
	turn := s.window() / time.Duration(max(1, s.view.Limit-s.view.Lent)) * time.Duration(max(1, s.view.Active))
	return max(0, next.Sub(now)) + time.Duration(further-1)*turn
}

// Decider is who decides what may be sent.
type Decider int

// The deciders.
const (
	// DecidesState is the state that the replicas share.
	DecidesState Decider = iota
	// DecidesLearning is this replica, while the state learns what is held.
	DecidesLearning
	// DecidesFallback is this replica, since the state is not reached.
	DecidesFallback
)

// ShareState describes the sharing of the quota.
type ShareState struct {
	Decider  Decider
	Replicas int // that share the quota, as far as known; 0 before the first reply
	// Allowance is how many permits this replica may hold now without the state; 0 if the
	// state decides.
	Allowance int
	LastReply time.Time // zero before the first
	Learned   time.Time // in DecidesLearning: when the state will know what is held
}

// ShareState describes the sharing of the quota at now.
func (s *Shared) ShareState(now time.Time) ShareState {
	s.advance(now)
	st := ShareState{Replicas: s.view.Replicas}
	if s.acked > 0 {
		st.LastReply = s.lastOK
	}
	if s.mode == sharing {
		return st
	}
	st.Allowance, _ = s.allowance(now)
	st.Decider = DecidesFallback
	if s.learning(now) {
		st.Decider, st.Learned = DecidesLearning, s.viewAt.Add(s.view.Learning.Duration())
	}
	return st
}
