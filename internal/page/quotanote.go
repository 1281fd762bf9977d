package page

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/words"
)

// quotaNote returns sentences about the part of the quota that can't be used now, why, and
// until when; empty if all of it can be used.
func quotaNote(v *View) string {
	var notes []string
	g := &v.Gate
	if g.KeptBack > 0 {
		notes = append(notes, fmt.Sprintf("%s kept back, the last until %s: requests from before the start may still count at Clerk.",
			words.Count(g.KeptBack, "of the held is", "of the held are"), v.clock(g.KeptUntil)))
	}
	if g.EffectiveLimit < g.Limit && g.Burst == 0 {
		notes = append(notes, fmt.Sprintf("%d of %d may be used: %s.", g.EffectiveLimit, g.Limit, v.whyLess()))
	}
	return strings.Join(notes, " ")
}

// whyLess returns why less than the quota may be used, as the end of a sentence.
func (v *View) whyLess() string {
	g := &v.Gate
	switch {
	case g.Shared != nil && g.Shared.Decider == quota.DecidesLearning:
		return "the share of this replica, until Redis knows at about " + v.clock(g.Shared.Learned) + " what all replicas have sent"
	case g.Shared != nil && g.Shared.Decider == quota.DecidesFallback:
		return "the share of this replica, until Redis is back"
	case g.EffectiveLimit >= g.FullLimit:
		return "the rest is reserved for others by --quota-reserve"
	case !v.LimitedAt.IsZero():
		return fmt.Sprintf("the 429 at %s has lowered it, and without another all is back by %s", v.clock(v.LimitedAt), v.clock(v.regained()))
	}
	return "Clerk's 429s or headers show that others use the key; it rises again by itself"
}

// regained returns when a limit that a 429 has lowered is whole again at the latest. After
// six windows without a 429 it rises by a hundredth every three.
func (v *View) regained() time.Time {
	g := &v.Gate
	steps := math.Ceil(100 * float64(g.FullLimit-g.EffectiveLimit) / float64(max(1, g.FullLimit)))
	from := v.LimitedAt.Add(3 * g.Window)
	if from.Before(v.Now) {
		from = v.Now
	}
	return from.Add(time.Duration(3*steps) * g.Window).Truncate(time.Minute).Add(time.Minute)
}
