package gate

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
)

// doubtFor is how long a 429 may be in doubt because there is no permit for a probe.
const doubtFor = 250 * time.Millisecond

// After a probe has contradicted a caller's answers about the key or the quota, such
// answers are taken for the caller's own for a time, which doubles while they go on.
const (
	firstTrust = time.Second
	lastTrust  = time.Minute
	maxTrusted = 1000 // callers in one set
)

// maxTime is longer than any pause.
const maxTime = time.Duration(math.MaxInt64)

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

// doubtKey keeps the wants of r until a probe has shown whether Clerk refuses the key
// or only this request.
func (g *Gate) doubtKey(r *request, a answer, v clerkapi.Verdict, now time.Time) {
	if g.doubts.keyTrust.covers(r.callers(), now) {
		g.refuse(r, v, now, refusedAlone(a.err))
		return
	}
	g.doubts.all = append(g.doubts.all, doubt{now, r, a, v})
}

// refusedAlone returns err, which was about the key, as an error about one request: a
// probe has found the key to be good.
func refusedAlone(err error) error {
	e, ok := errors.AsType[*clerkapi.Error](err)
	if !ok {
		return err
	}
	alone := *e
	alone.Kind = clerkapi.ErrRefused
	return &alone
}

// resolve decides what the answers in doubt mean, now that a probe was answered with a.
func (g *Gate) resolve(a answer, v clerkapi.Verdict, now time.Time) {
	if v.Spent == clerkapi.SpentLimited || v.Concern == clerkapi.ConcernsEverybody {
		after := time.Duration(0)
		if e, ok := errors.AsType[*clerkapi.Error](a.err); ok && v.Spent == clerkapi.SpentLimited {
			after = e.RetryAfter
			g.pausedThrough = g.concurrency.launched
			g.concurrency.undo()
		}
		g.pauseAll(after, g.limiter.Config().Window, now)
	}
	stopping := a.err != nil && v.Concern == clerkapi.ConcernsNobody
	for _, d := range g.doubts.takeAll() {
		aboutQuota := d.verdict.Concern == clerkapi.ConcernsQuota
		switch {
		case stopping:
			if aboutQuota { // other permits are settled already
				g.limitPermit(d.request, d.answer, 0, now)
			}
			g.failRequest(d.request, &Error{Kind: ErrShuttingDown})
		case aboutQuota:
			g.refuteLimit(d, now)
		case v.Concern == clerkapi.ConcernsKey:
			g.failRequest(d.request, d.answer.err)
		default:
			g.doubts.keyTrust.extend(d.request.callers(), now)
			g.refuse(d.request, d.verdict, now, refusedAlone(d.answer.err))
		}
	}
}
