package main

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// promise is an invariant.
type promise string

// The invariants.
const (
	outcomes     promise = "one outcome per call, with its reason"
	deadlines    promise = "in time"
	identity     promise = "nobody else's user"
	versions     promise = "no older version at a replica"
	acknowledged promise = "no version older than acknowledged"
)

// note counts and judges a call. Only a server that was killed may leave a call without
// an outcome.
func (x *chaos) note(c callMade) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.made++
	c.going = x.going
	e := c.ending
	switch {
	case c.killed && e.lost != nil:
		x.calls["lost with their server"]++
		return
	case e.lost != nil:
		x.calls["lost"]++
	case e.code == codes.OK:
		x.calls["OK"]++
	case e.reason == "":
		x.broken[outcomes] = append(x.broken[outcomes], c.String()+", without a reason")
		fallthrough
	default:
		x.calls[e.code.String()+" "+e.reason]++
	}
	if e.lost != nil || c.took > c.timeout+lateness && !c.killed {
		x.late = append(x.late, c)
	}
}

func (c callMade) String() string {
	how := fmt.Sprintf("%s %s %s", c.ending.code, c.ending.reason, c.ending.message)
	if c.ending.lost != nil {
		how = c.ending.lost.Error()
	}
	return fmt.Sprintf("%s at %s, %s with %s to go, and %s frozen, at or after %s: %s", c.method, c.node,
		c.took.Round(time.Millisecond), c.timeout, c.frozen.Round(time.Millisecond), c.going, how)
}

// judgeDeadlines judges the late and lost calls, relative to the control. gRPC resets a
// call at its deadline, so a server that was delayed by more than the time reserved for
// the answer can't send it. A few of the calls that end at their deadlines may be reset
// anyway, and on a busy machine a few of all calls may be late.
func (x *chaos) judgeDeadlines(c *control) {
	var late, resets []string
	atDeadline := 0
	for what, n := range x.calls {
		if strings.HasPrefix(what, codes.DeadlineExceeded.String()) {
			atDeadline += n
		}
	}
	for _, l := range x.late {
		delay := c.delay(l.begin, l.begin.Add(l.took+l.frozen))
		switch {
		case l.took > l.timeout+lateness+delay:
			late = append(late, fmt.Sprintf("%s; %s after its deadline were allowed", l, (lateness+delay).Round(time.Millisecond)))
		case l.ending.lost == nil:
		case l.took+l.frozen < l.timeout:
			x.fault(outcomes, "%s", l)
		case delay+l.frozen < min(leadOfAnswers, l.timeout/10):
			resets = append(resets, l.String())
			atDeadline++
		default:
			x.calls["lost"]--
			x.calls["reset at their deadlines by a server that was as slow as the control"]++
		}
	}
	mostLate, mostResets := 0.0, resetShare
	if c.busy() {
		mostLate, mostResets = lateShare, 2*resetShare
	}
	x.judgeShare(deadlines, late, int(mostLate*float64(x.made)))
	x.judgeShare(outcomes, resets, 1+int(mostResets*float64(atDeadline)))
}

// judgeShare records failures as broken invariants if there are more than most.
func (x *chaos) judgeShare(p promise, failed []string, most int) {
	if len(failed) <= most {
		return
	}
	for _, f := range failed {
		x.fault(p, "%s", f)
	}
}
