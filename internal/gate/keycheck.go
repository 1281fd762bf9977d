package gate

import (
	"errors"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
)

const (
	// keyProbeFirst is the time between probes of a refused key while the refusal is new,
	// since it may be a mistake that is soon corrected. After keyProbeSoon the time
	// doubles, up to keyProbeLast: a wrong key stays wrong until it is replaced.
	keyProbeFirst = time.Second
	keyProbeLast  = 10 * time.Second
	keyProbeSoon  = time.Minute
	// keyLookEvery is how often a refused key is compared with the current one, so that
	// a new key is tried soon.
	keyLookEvery = time.Second
	// askFor is how long a start may wait for Clerk's answer about the key. A spent
	// quota, or a Clerk that hangs, must not keep a replica from serving its copies.
	askFor = 3 * time.Second
)

// keyCheck tracks whether Clerk accepts the secret key.
type keyCheck struct {
	current    func() clerkapi.Key
	refused    error         // Clerk's error about the key; nil while it accepts the key
	refusedKey clerkapi.Key  // the key that it refuses
	refusedAt  time.Time     // since when
	spacing    time.Duration // of the probes meanwhile
	probedKey  clerkapi.Key  // the key of the last probe
	untried    bool          // the key has been replaced, and Clerk has not answered since
	taken      bool          // Clerk has accepted a key since the start
	asking     bool          // at the start: the key has not been probed yet
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

// retryReplaced ends the refusal if the refused key has been replaced.
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

// probeAgain returns how long after a refusal at now the next probe is sent.
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

// goodKey reports whether err is an answer of Clerk that only a good key gets.
func goodKey(err error) bool {
	e, ok := errors.AsType[*clerkapi.Error](err)
	return ok && !e.NotSent && (errors.Is(e, clerkapi.ErrRejected) || errors.Is(e, clerkapi.ErrPlanLimit))
}
