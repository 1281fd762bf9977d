package gate

import (
	"errors"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
)

const (
	// keyProbeFirst is how often Clerk is asked whether it takes a refused key again while
	// the refusal is new, since it may be a mistake that is soon mended. After
	// keyProbeSoon the spacing doubles up to keyProbeLast: a wrong key stays wrong until
	// it is replaced.
	keyProbeFirst = time.Second
	keyProbeLast  = 10 * time.Second
	keyProbeSoon  = time.Minute
	// keyLookEvery is how often a refused key is compared with the current one, so that
	// a new key is tried soon.
	keyLookEvery = time.Second
	// askFor is how long a start may last because Clerk has not answered yet whether it
	// takes the key. A spent quota, or a Clerk that hangs, must not keep a replica from
	// serving what it has.
	askFor = 3 * time.Second
)

// keyCheck is what is known of Clerk's secret key.
type keyCheck struct {
	current    func() clerkapi.Key
	refused    error         // by which Clerk refuses the key; nil while it takes it
	refusedKey clerkapi.Key  // the key that it refuses
	refusedAt  time.Time     // since when
	spacing    time.Duration // of the probes meanwhile
	probedKey  clerkapi.Key  // the key of the last probe
	untried    bool          // the key has been replaced, and Clerk has not answered since
	taken      bool          // Clerk has taken a key since the start
	asking     bool          // at the start: Clerk is still to be asked whether it takes the key
	askUntil   time.Time     // when the start is over in any case
}

func newKeyCheck(current func() clerkapi.Key, ask bool, now time.Time) keyCheck {
	return keyCheck{current: current, asking: ask, askUntil: now.Add(askFor)}
}

// replaced reports whether there is another key than the refused one, which no probe
// has tried.
func (k *keyCheck) replaced() bool {
	if k.refused == nil {
		return false
	}
	key := k.current()
	return key != k.refusedKey && key != k.probedKey
}

// retryReplaced ends the refusal if the key is another one than the refused.
func (k *keyCheck) retryReplaced() {
	if k.refused != nil && k.current() != k.refusedKey {
		k.refused, k.untried = nil, true
	}
}

// probing records that a probe leaves.
func (k *keyCheck) probing() { k.probedKey = k.current() }

// refuse records that a probe was refused with err because of the key.
func (k *keyCheck) refuse(err error, now time.Time) {
	key := k.current()
	if k.refused == nil || key != k.refusedKey {
		k.refusedAt, k.spacing = now, keyProbeFirst
	}
	k.refused, k.refusedKey, k.untried = err, key, false
}

// probeAgain returns how long after a refusal at now the next probe goes.
func (k *keyCheck) probeAgain(now time.Time) time.Duration {
	if now.Sub(k.refusedAt) >= keyProbeSoon {
		k.spacing = min(keyProbeLast, 2*k.spacing)
	}
	return k.spacing
}

// accept records that a probe was not refused because of the key, and whether that
// proves the key good.
func (k *keyCheck) accept(proven bool) {
	k.refused, k.untried = nil, false
	k.taken = k.taken || proven
}

// settle records how a request that is no probe has ended.
func (k *keyCheck) settle(v clerkapi.Verdict, err error) {
	if v.Breaker == clerkapi.Success || goodKey(err) {
		k.untried, k.taken = false, true
	}
}

// goodKey reports whether err is one of Clerk's that only a good key draws.
func goodKey(err error) bool {
	e, ok := errors.AsType[*clerkapi.Error](err)
	return ok && !e.NotSent && (errors.Is(e, clerkapi.ErrRejected) || errors.Is(e, clerkapi.ErrPlanLimit))
}
