package gate

import (
	"errors"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/clerkgate/clerkgate/clerkapi"
)

// keyProbeEvery is how often Clerk is asked whether it takes the key again.
const keyProbeEvery = 10 * time.Second

// keyLookEvery is how often a refused key is compared with the one of the moment,
// so that another one is asked about at once.
const keyLookEvery = time.Second

// askFor is how long a start may count as one because Clerk has not said yet whether
// it takes the key: a quota that is spent, or a Clerk that hangs, keeps no replica
// from serving what it has.
const askFor = 3 * time.Second

// What the breaker is told of a flight's end.
var (
	errFailure = errors.New("a failure of Clerk's")
	errNeutral = errors.New("says nothing of Clerk") // or what it says has been counted
)

// shut is why nothing but probes may go to Clerk: the breaker is open, the key was
// refused, or it has not been asked about yet.
type shut struct {
	cb       *gobreaker.TwoStepCircuitBreaker[any]
	openFor  time.Duration
	state    BreakerState
	since    time.Time
	opened   int64
	evidence evidence
	failed   bool  // a probe that suspicion has caused
	failure  error // the last failure of Clerk's

	key         func() clerkapi.Key
	keyRejected error        // nil while Clerk takes the key
	rejected    clerkapi.Key // the key that it does not take
	probedWith  clerkapi.Key // the key that the last probe went with
	keyUntried  bool         // another one is used since, of which Clerk has said nothing yet
	keyTaken    bool         // Clerk has taken a key since the start
	asking      bool         // it is still to be asked whether it takes the key, at the start
	askUntil    time.Time    // until when that counts as starting

	doubts     []doubt // answers that a probe is to explain
	keyTrust   trust   // those whose answers about the key a probe has contradicted
	quotaTrust trust   // ... and their 429s

	probeAt time.Time // the next probe
	probing bool      // one is under way
}

func (s *shut) init(cfg Config) {
	s.openFor = cfg.BreakerOpen
	s.key, s.asking = cfg.Key, cfg.AskKey
	s.since = time.Now()
	s.askUntil = s.since.Add(askFor)
	s.evidence = newEvidence(cfg.BreakerFailures)
	s.cb = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Name:    "clerk",
		Timeout: cfg.BreakerOpen,
		ReadyToTrip: func(gobreaker.Counts) bool {
			_, proven := s.evidence.weigh()
			return proven || s.failed
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errNeutral) },
		// Called under the breaker's own lock: only take note.
		OnStateChange: func(_ string, _, to gobreaker.State) { s.changed(to, time.Now()) },
	})
}

func (s *shut) changed(to gobreaker.State, now time.Time) {
	s.since = now
	switch to {
	case gobreaker.StateClosed:
		s.state = Closed
		s.evidence.clear()
	case gobreaker.StateHalfOpen:
		s.state = HalfOpen
	case gobreaker.StateOpen:
		s.state = Open
		s.opened++
		// The breaker turns half-open only after its time is over, not at it.
		s.probeAt = now.Add(s.openFor + time.Millisecond)
	}
}

// refusing says whether only probes may go to Clerk.
func (s *shut) refusing() bool { return s.state != Closed || s.keyRejected != nil }

// keyReplaced says whether there is another key than the refused one, and no
// probe has tried it.
func (s *shut) keyReplaced() bool {
	if s.keyRejected == nil {
		return false
	}
	key := s.key()
	return key != s.rejected && key != s.probedWith
}

// refusal is what a newcomer is told while refusing.
func (s *shut) refusal(now time.Time) error {
	if s.keyRejected != nil {
		return s.keyRejected
	}
	return &Error{Kind: ErrBreakerOpen, RetryAfter: max(s.openFor/10, s.probeAt.Sub(now)), Err: s.failure}
}

// probe is the flight that asks Clerk whether it is back, if it is time for one;
// else nil and the time. Only one is under way at a time.
func (s *shut) probe(now time.Time) (*flight, time.Time) {
	switch {
	case s.probing:
		return nil, time.Time{}
	case !now.Before(s.probeAt), s.keyReplaced():
		return &flight{isProbe: true}, time.Time{}
	case s.keyRejected != nil && s.probeAt.Sub(now) > keyLookEvery:
		return nil, now.Add(keyLookEvery)
	}
	return nil, s.probeAt
}

// allow asks the breaker whether f may go.
func (s *shut) allow(f *flight) bool {
	if f.isProbe {
		s.probedWith = s.key()
	}
	done, err := s.cb.Allow()
	if err != nil {
		return false
	}
	f.done = done
	s.probing = s.probing || f.isProbe
	return true
}

// settle tells the breaker how f, which is no probe, has ended.
func (s *shut) settle(f *flight, v clerkapi.Verdict, err error, now time.Time) {
	if v.Breaker == clerkapi.Success || clerkHasTaken(err) {
		s.keyUntried, s.keyTaken = false, true
	}
	outcome := errNeutral
	switch v.Breaker {
	case clerkapi.Success:
		s.evidence.answered(f.queries())
		outcome = nil
	case clerkapi.Failure:
		s.failure = err
		if s.evidence.failed(f.queries(), f.callers(), now) {
			outcome = errFailure
		}
	case clerkapi.Neutral:
	}
	f.done(outcome)
}

// clerkHasTaken says whether err is one of Clerk's that only a good key draws.
func clerkHasTaken(err error) bool {
	e, ok := errors.AsType[*clerkapi.Error](err)
	return ok && !e.NotSent && (errors.Is(e, clerkapi.ErrRejected) || errors.Is(e, clerkapi.ErrPlanLimit))
}

// retryKey lets the key be used again if it is another one than the refused.
func (s *shut) retryKey(key clerkapi.Key) {
	if s.keyRejected != nil && key != s.rejected {
		s.keyRejected, s.keyUntried = nil, true
	}
}

// health tells whether Clerk can be asked.
func (s *shut) health(now time.Time) Health {
	return Health{
		Breaker:    s.state,
		KeyRefused: s.keyRejected != nil || s.keyUntried,
		KeyTaken:   s.keyTaken,
		AskingKey:  s.asking && now.Before(s.askUntil),
	}
}

// rejectKey notes that Clerk refuses the key, as a probe has found.
func (s *shut) rejectKey(err error, key clerkapi.Key, now time.Time) {
	s.keyRejected, s.rejected = err, key
	s.probeAt = now.Add(keyProbeEvery)
}
