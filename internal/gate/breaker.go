package gate

import (
	"errors"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/clerkgate/clerkgate/clerkapi"
)

// BreakerState is the state of the circuit breaker.
type BreakerState int

// The breaker's states.
const (
	Closed BreakerState = iota
	HalfOpen
	Open
)

// BreakerStatus describes the breaker.
type BreakerStatus struct {
	State       BreakerState
	Since       time.Time
	TimesOpened int64
}

// The outcomes of requests for the breaker; nil is a success.
var (
	errFailure = errors.New("a failure of Clerk's")
	errNeutral = errors.New("it shows nothing about Clerk") // or nothing that was not counted before
)

// breaker opens when Clerk fails as a whole. Evidence weighs the failures; gobreaker
// holds the state and decides when the breaker is half-open.
type breaker struct {
	cb         *gobreaker.TwoStepCircuitBreaker[any]
	openFor    time.Duration
	since      time.Time // the last change of state
	opened     int64     // times
	evidence   evidence
	probeTrips bool  // a probe has confirmed the suspicion that is being reported
	failure    error // the last failure of Clerk's
}

// newBreaker returns a closed breaker. Whenever it opens, it calls opens with the time at
// which it will be half-open.
func newBreaker(failures int, openFor time.Duration, opens func(until time.Time)) *breaker {
	b := &breaker{openFor: openFor, since: time.Now(), evidence: newEvidence(failures)}
	b.cb = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Name:    "clerk",
		Timeout: openFor,
		ReadyToTrip: func(gobreaker.Counts) bool {
			_, proven := b.evidence.weigh()
			return proven || b.probeTrips
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errNeutral) },
		// Called with gobreaker's lock held, so it must not ask for the state.
		OnStateChange: func(_ string, _, to gobreaker.State) {
			b.since = time.Now()
			switch to {
			case gobreaker.StateOpen:
				b.opened++
				opens(b.opensUntil())
			case gobreaker.StateClosed:
				b.evidence.clear()
			case gobreaker.StateHalfOpen:
			}
		},
	})
	return b
}

// opensUntil returns when the breaker, which is open, will be half-open: gobreaker
// counts the timeout's last instant as open.
func (b *breaker) opensUntil() time.Time { return b.since.Add(b.openFor + 1) }

func (b *breaker) closed() bool { return b.cb.State() == gobreaker.StateClosed }

func (b *breaker) open() bool { return b.cb.State() == gobreaker.StateOpen }

// status describes the breaker.
func (b *breaker) status() BreakerStatus {
	states := map[gobreaker.State]BreakerState{
		gobreaker.StateClosed: Closed, gobreaker.StateHalfOpen: HalfOpen, gobreaker.StateOpen: Open,
	}
	state := states[b.cb.State()] // may change since
	return BreakerStatus{State: state, Since: b.since, TimesOpened: b.opened}
}

// allow returns the function to call with the outcome of the next request. It fails if
// the breaker is open, or half-open with a probe under way; dispatch sends nothing then.
func (b *breaker) allow() (done func(error), err error) { return b.cb.Allow() }

// settle records how r, which is no probe, has ended.
func (b *breaker) settle(r *request, v clerkapi.Verdict, err error, now time.Time) {
	outcome := errNeutral
	switch v.Breaker {
	case clerkapi.Success:
		b.evidence.answered(r.queries())
		outcome = nil
	case clerkapi.Failure:
		b.failure = err
		if b.evidence.failed(r.queries(), r.callers(), now) {
			outcome = errFailure
		}
	case clerkapi.Neutral:
	}
	r.done(outcome)
}

// probeFailed records that a probe has failed: it opens the breaker if it is half-open
// or if other requests have failed as well, unless neutral.
func (b *breaker) probeFailed(done func(error), err error, starting, neutral bool, now time.Time) {
	b.failure = err
	enough, _ := b.evidence.weigh()
	b.probeTrips = enough && !starting
	b.evidence.failed(nil, nil, now)
	if neutral {
		done(errNeutral)
	} else {
		done(errFailure)
	}
	b.probeTrips = false
}
