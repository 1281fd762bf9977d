package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/words"
)

// printQuota prints for people the state of the quota at the time now, and what it
// was spent on unless u is nil.
func printQuota(out io.Writer, q *clerkgatev1.Quota, u *clerkgatev1.GetUsageResponse, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	row("quota", "%s per %s", words.Count(q.GetLimit(), "request", "requests"), words.Per(q.GetWindow().AsDuration()))
	if q.GetBurst() > 0 {
		row("burst", "%s", words.Count(q.GetBurst(), "request", "requests"))
	}
	row("available", "%d of %d now", q.GetAvailable(), q.GetEffectiveLimit())
	row("held", "%s", heldText(q))
	if sh := q.GetShared(); sh != nil {
		if decider := sh.GetDecider(); decider == clerkgatev1.SharedQuota_DECIDER_REDIS {
			row("shared", "through Redis, by %s", words.Count(sh.GetReplicas(), "replica", "replicas"))
		} else {
			row("shared", "not now (%s): of %s, this one may hold %d",
				lowerName(decider.String(), "DECIDER_"), words.Count(sh.GetReplicas(), "replica", "replicas"), sh.GetAllowance())
		}
	}
	if t := q.GetPausedUntil(); t != nil {
		row("paused", "for %s more, after a 429", words.Rounded(t.AsTime().Sub(now)))
	}
	if u := q.GetUpstream(); u != nil {
		row("Clerk reports", "%d of %d left, %s ago", u.GetRemaining(), u.GetLimit(), words.Rounded(now.Sub(u.GetObserveTime().AsTime())))
	}
	level := func(name string, l *clerkgatev1.QueueLevel) {
		if l.GetOldestWait() == nil {
			row(name, "nothing waits")
			return
		}
		row(name, "%s, the oldest for %s", words.Count(l.GetDepth(), "waits", "wait"), words.Rounded(l.GetOldestWait().AsDuration()))
	}
	level("interactive", q.GetQueue().GetInteractive())
	level("batch", q.GetQueue().GetBatch())
	row("estimated wait", "%s", words.Rounded(q.GetQueue().GetEstimatedWait().AsDuration()))
	breaker := lowerName(q.GetBreaker().GetState().String(), "STATE_")
	row("breaker", "%s, opened %s", breaker, words.Count(q.GetBreaker().GetTimesOpened(), "time", "times"))
	row("key", "%s", keyText(q.GetKey().GetState()))
	printUsage(w, u)
	return w.Flush()
}

// printQuotaJSON prints the quota as a JSON object, with what it was spent on as its last
// member unless u is nil.
func printQuotaJSON(out io.Writer, q *clerkgatev1.Quota, u *clerkgatev1.GetUsageResponse) error {
	text := appendMessage(nil, q.ProtoReflect())
	if u != nil {
		text = append(text[:len(text)-1], `,"usage":`...) // the quota always has members
		text = append(appendMessage(text, u.ProtoReflect()), '}')
	}
	return writeJSON(out, text, true)
}

// heldText explains the number of permits that are held.
func heldText(q *clerkgatev1.Quota) string {
	text := words.Count(q.GetHeld(), "permit", "permits")
	if q.GetShared().GetDecider() == clerkgatev1.SharedQuota_DECIDER_REDIS {
		return text + " of all replicas; this one has " + words.Count(q.GetInFlight(), "request", "requests") + " in flight and " + words.Count(q.GetLeased(), "permit", "permits") + " leased"
	}
	if q.GetBurst() > 0 {
		return text + ": a token bucket holds none; " + words.Count(q.GetInFlight(), "request is", "requests are") + " in flight, " + words.Count(q.GetLeased(), "permit is", "permits are") + " leased"
	}
	text += fmt.Sprintf(": %d by requests in flight, %d by leases", q.GetInFlight(), q.GetLeased())
	if rest := q.GetHeld() - q.GetInFlight() - q.GetLeased(); rest > 0 {
		text += fmt.Sprintf(", %d by answers of the last %s or, after a start, for earlier use of the key", rest, words.Duration(q.GetWindow().AsDuration()))
	}
	return text
}

// keyText explains the state of the secret key.
func keyText(state clerkgatev1.Key_State) string {
	switch state {
	case clerkgatev1.Key_STATE_REFUSED:
		return "refused by Clerk: calls fail with CLERK_KEY_REJECTED until Clerk accepts it or another is configured"
	case clerkgatev1.Key_STATE_UNPROVEN:
		return "unproven: Clerk has not answered with it yet"
	}
	return lowerName(state.String(), "STATE_")
}

// lowerName returns the name of an enum's value in lower case without its prefix.
func lowerName(name, prefix string) string { return strings.ToLower(strings.TrimPrefix(name, prefix)) }

// printUsage prints what the quota was spent on, nothing if u is nil.
func printUsage(w io.Writer, u *clerkgatev1.GetUsageResponse) {
	if u == nil {
		return
	}
	row := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	t := u.GetTotals()
	row("requests", "%d sent, %s, %d answered 429, %.1f users each",
		t.GetUpstreamRequests(), words.Count(t.GetRetries(), "retry", "retries"), t.GetUpstreamRateLimited(), t.GetUsersPerRequest())
	for _, s := range t.GetLookups() {
		row("lookups", "%d from %s", s.GetCount(), lowerName(s.GetServedFrom().String(), "SERVED_FROM_"))
	}
	limited := slices.ContainsFunc(append(slices.Clone(u.GetCallers()), u.GetOtherCallers()), hasLimits)
	if len(u.GetCallers()) > 0 {
		fmt.Fprint(w, "\nCALLER\tLOOKUPS\tREQUESTS\tQUEUED\tREFUSED")
		if limited {
			fmt.Fprint(w, "\tOVER LIMIT\tGUARANTEED\tMAX LOOKUPS\tMAX REQUESTS")
		}
		fmt.Fprintln(w)
	}
	caller := func(name string, c *clerkgatev1.Caller) {
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%d\t%d", name, c.GetLookups(), c.GetUpstreamShare(), c.GetQueued(), c.GetRefused())
		if limited {
			guaranteed := "-"
			if n := c.GetGuaranteedPercent(); n > 0 {
				guaranteed = fmt.Sprintf("%d%%", n)
			}
			fmt.Fprintf(w, "\t%d\t%s\t%s\t%s", c.GetOverLimit(), guaranteed,
				usedText(c.GetMaxLookups(), c.GetLookupsBucket()), usedText(c.GetMaxRequests(), c.GetRequestsBucket()))
		}
		fmt.Fprintln(w)
	}
	for _, c := range u.GetCallers() {
		caller(cmp.Or(oneLine(c.GetName()), "-"), c)
	}
	if others := u.GetOtherCallers(); others != nil {
		caller("(others)", others)
	}
}

// hasLimits reports whether a caller has a limit of its own or a guarantee, or had one.
func hasLimits(c *clerkgatev1.Caller) bool {
	return c.GetGuaranteedPercent() > 0 || c.GetMaxLookups() != nil || c.GetMaxRequests() != nil || c.GetOverLimit() > 0
}

// usedText returns a limit of a caller, and what is used of it.
func usedText(l *clerkgatev1.CallerLimit, b *clerkgatev1.CallerBucket) string {
	if l == nil {
		return "-"
	}
	text := fmt.Sprintf("%d/%s", l.GetCount(), words.Setting(l.GetWindow().AsDuration()))
	if b == nil {
		return text
	}
	return fmt.Sprintf("%s, %d of %d used", text, b.GetSize()-b.GetAvailable(), b.GetSize())
}
