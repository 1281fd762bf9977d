package gate

import (
	"slices"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
)

// After a probe has contradicted a caller's answers about the key or the quota, such
// answers are taken for the caller's own for a time, which doubles while they go on.
const (
	firstTrust = time.Second
	lastTrust  = time.Minute
	maxTrusted = 1000 // callers in one set
)

// doubts holds the answers about the key or the quota that a probe is to explain:
// whether they concern everybody, or only the callers that drew them.
type doubts struct {
	all        []doubt
	keyTrust   trust // callers whose answers about the key a probe has contradicted
	quotaTrust trust // ... and their 429s

	refuted   []string   // the callers of the last 429 that a probe has contradicted
	refutedAt time.Time  // when that was
	queries   *recentSet // queries whose 429s a probe has contradicted, until they are answered
}

// doubt is a request whose answer is in doubt.
type doubt struct {
	since   time.Time
	request *request
	answer  answer
	verdict clerkapi.Verdict
}

// takeAll removes and returns all doubts.
func (ds *doubts) takeAll() []doubt {
	all := ds.all
	ds.all = nil
	return all
}

// othersWait reports whether all other requests wait until a probe has shown whose a 429 was.
func (ds *doubts) othersWait() bool {
	return slices.ContainsFunc(ds.all, func(d doubt) bool { return d.verdict.Concern == clerkapi.ConcernsQuota })
}

// trust is a set of callers whose answers are taken for their own for a time.
type trust struct {
	callers []string
	until   time.Time
	length  time.Duration
}

// covers reports whether the set has one of callers.
func (t *trust) covers(callers []string, now time.Time) bool {
	return now.Before(t.until) && slices.ContainsFunc(callers, func(c string) bool { return slices.Contains(t.callers, c) })
}

// extend adds callers and prolongs the time.
func (t *trust) extend(callers []string, now time.Time) {
	if now.Sub(t.until) > lastTrust {
		t.length, t.callers = 0, nil
	}
	t.length = min(lastTrust, max(firstTrust, 2*t.length))
	t.until = now.Add(t.length)
	for _, c := range callers {
		if !slices.Contains(t.callers, c) && len(t.callers) < maxTrusted {
			t.callers = append(t.callers, c)
		}
	}
}
