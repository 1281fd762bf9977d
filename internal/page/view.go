package page

import (
	"time"

	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/telemetry"
	"github.com/clerkgate/clerkgate/internal/usercache"
	"github.com/clerkgate/clerkgate/internal/webhook"
)

// Phase is a phase in the life of the server.
type Phase string

// The phases.
const (
	Starting Phase = "starting"
	Serving  Phase = "serving"
	Stopping Phase = "stopping"
)

// View is the state at a moment. It does not change once it is shown.
type View struct {
	Now, Started time.Time
	Phase        Phase
	AskingKey    bool   // as in gate.Health: it is not known yet whether Clerk accepts the key
	KeyPlace     string // the place for the key; empty: as in the text of the condition
	KeyFileFails bool
	Files        telemetry.Files

	Gate        gate.Status
	Requests    telemetry.GateStats
	MaxInFlight int // as configured
	Lookups     usercache.Totals
	Store       usercache.Stats

	TakesWebhooks bool
	Webhooks      map[webhook.Count]int64
	LastEvent     time.Time // the last good one; zero: none
	LastBadEvent  time.Time // when one of badOutcomes was last seen; zero: never

	KeySince  time.Time // when the key's present state was first seen
	OutSince  time.Time // when the breaker was first seen not to be closed; zero: it is closed
	AwaySince time.Time // when Redis was first seen to be away; zero: it is not
	LimitedAt time.Time // when a 429 was last seen; zero: never

	Total  Counts // since the start
	Recent Counts // in the last ten minutes
	Lately Counts // in the last minute
	Outage Counts // since a minute before OutSince, in ten minutes at most; nil: no outage

	Outages int // since the start

	MostReplicas int // in the last ten minutes
}

// capacity returns the number of requests that could be sent at once after a long rest.
func (v *View) capacity() int {
	if v.Gate.Burst > 0 {
		return v.Gate.Burst
	}
	return v.Gate.EffectiveLimit
}

// waiting returns the number of waiting wants.
func (v *View) waiting() int {
	return v.Gate.Queue[gate.Interactive].Depth + v.Gate.Queue[gate.Batch].Depth
}

// oldest returns the longest wait so far, 0 if nobody waits.
func (v *View) oldest() time.Duration {
	return max(v.Gate.Queue[gate.Interactive].Oldest, v.Gate.Queue[gate.Batch].Oldest)
}

// redisRefuses returns the kind of error that Redis answers most often, as of the last minute, and
// the end of a sentence about it: "OOM", for example, or "with errors". Both are empty if most calls
// to Redis get no answer at all.
func (v *View) redisRefuses() (most redislink.Kind, answer string) {
	var silent, refused int64
	for _, k := range redislink.Kinds() {
		switch n := v.Lately[redisErrorCounter(k)]; {
		case k == redislink.TimedOut || k == redislink.Unreachable:
			silent += n
		default:
			refused += n
			if n > v.Lately[redisErrorCounter(most)] {
				most = k
			}
		}
	}
	switch {
	case refused <= silent:
		return "", ""
	case most == redislink.OtherReply:
		return most, "with errors"
	}
	return most, string(most)
}

// badEvents returns the number of webhooks in counts that failed, or were refused for a
// reason that an operator can fix.
func badEvents(counts Counts) (n int64) {
	for _, b := range badOutcomes {
		n += counts[webhookCounter(b.outcome)]
	}
	return n
}
