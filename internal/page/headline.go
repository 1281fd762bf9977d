package page

import (
	"fmt"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/usage"
	"github.com/clerkgate/clerkgate/internal/words"
)

// Headline is the page's first line.
type Headline struct {
	// Kind is the name of the condition that the line is about, or a Phase. It does not
	// change while only the numbers in Text do.
	Kind string
	// Level is a Severity, or "ok".
	Level string
	// Text describes the gravest condition that holds, or reports that all is well.
	Text string
}

// Tell returns the first line for a view. All times in it are UTC.
func Tell(v *View) Headline {
	all := Holding(v)
	switch {
	case v.Phase == Stopping:
		return Headline{string(Stopping), string(Warning), "Stopping: health is NOT_SERVING, so that new calls go elsewhere, and the server ends soon."}
	case len(all) > 0:
		first := all[0]
		return Headline{first.Name, string(first.Severity), lineOf(v, first)}
	case v.Phase == Starting || v.AskingKey:
		return Headline{string(Starting), string(Warning), "Starting: Clerk has not yet accepted or refused the secret key."}
	}
	text := "Serving. "
	if up := v.Now.Sub(v.Started); up < time.Minute {
		text += fmt.Sprintf("Started %.0f s ago. ", up.Seconds())
	}
	text += v.left() + v.noCalls()
	if sh := v.Gate.Shared; sh != nil && sh.Decider == quota.DecidesLearning {
		text += fmt.Sprintf(" This replica may use %d of %d requests per %s until about %s, while Redis learns what all replicas have sent.",
			sh.Allowance, v.Gate.Limit, words.Per(v.Gate.Window), v.clock(sh.Learned))
	}
	return Headline{string(Serving), "ok", text}
}

// noCalls returns a sentence if no call has been served since the start, with a space
// before it.
func (v *View) noCalls() string {
	switch report := v.Gate.Callers; {
	case sum(v.Lookups.Lookups) > 0 || sum(v.Requests.Refused) > 0,
		len(report.Busiest) > 0, report.Others != usage.Counts{}:
		return ""
	case v.Total[deniedCount]+v.Total[unknownCount] > 0:
		return " No call has been admitted yet."
	}
	return " No call has come yet."
}

// lineOf returns the line about a condition.
func lineOf(v *View, c Condition) string {
	switch c.Name {
	case keyRefused:
		place, meanwhile := v.KeyPlace, "Calls fail until then."
		if place == "" {
			place = "its place"
		}
		if v.Gate.KeyTaken {
			meanwhile = "Users in the cache are served meanwhile."
		}
		return "Clerk refuses the secret key: put a valid one into " + place + ". " + meanwhile
	case breakerOpen:
		return v.outage()
	case rateLimited:
		if v.Gate.PausedUntil.IsZero() {
			return fmt.Sprintf("Serving again. Clerk answered 429%s. %s", v.limitedAt(), v.left())
		}
		text := fmt.Sprintf("Clerk answered 429%s: nothing is sent to Clerk until %s, %s from now.",
			v.limitedAt(), v.clock(v.Gate.PausedUntil), words.Rounded(v.Gate.PausedUntil.Sub(v.Now)))
		if v.waiting() > 0 {
			text += " " + v.waits(true)
		}
		if n := v.Lately[refusalCounter("rate_limited")]; n > 0 {
			text += " " + words.Count(n, "call that can't wait so long was refused.", "calls that can't wait so long were refused.")
		}
		return text
	case redisFallback:
		text := "Redis has not answered since " + v.clock(v.AwaySince)
		if _, answer := v.redisRefuses(); answer != "" {
			text = "Redis has answered " + answer + " since " + v.clock(v.AwaySince)
		}
		if sh := v.Gate.Shared; sh != nil && sh.Allowance > 0 {
			text += fmt.Sprintf(": this replica serves within its share of the quota, %d of %d requests per %s",
				sh.Allowance, v.Gate.Limit, words.Per(v.Gate.Window))
		}
		return text + ". " + v.waits(true)
	case callsRefused:
		n := v.Lately[refusedTooShort] + v.Lately[refusedFull] + v.Lately[refusedCallerFull]
		return fmt.Sprintf("More is asked for than the quota allows: %s refused in the last minute. %s", words.Count(n, "lookup or list was", "lookups and lists were"), v.left())
	case oldestWait:
		return "Serving slowly: " + v.left()
	case quotaNearlySpent:
		return "Serving, but the quota is nearly spent: " + v.left()
	case certificateExpiresToday:
		return v.certificates(ExpiresToday, TodayLife) + " " + v.left()
	case certificateExpiresSoon:
		return "Serving. " + v.left() + " " + v.certificates(ExpiresSoon, SoonLife)
	case tlsFilesUnusable:
		return "Serving. " + v.left() + " " + v.tlsFiles()
	case inFlightFloor:
		return "Serving one request at a time, since Clerk accepts no more at once. " + v.left()
	case webhooksFailing:
		return "Serving. " + v.left() + " " + v.badWebhooks()
	}
	return "Serving. " + v.left() + " " + c.Summary
}

// limitedAt returns the time of the last 429, with the word before it; empty: it came to
// another replica.
func (v *View) limitedAt() string {
	if v.LimitedAt.IsZero() {
		return ""
	}
	return " at " + v.clock(v.LimitedAt)
}

// outage returns the line about an outage: what Clerk does, how often, and who is affected.
func (v *View) outage() string {
	since := v.clock(v.OutSince)
	silent, failed := v.Outage[failureCounter("no_answer")], v.Outage[failureCounter("server_error")]
	var text string
	switch {
	case failed > 0 && silent > 0:
		text = fmt.Sprintf("Clerk has failed since %s (%s 5xx, %d without an answer)", since, words.Count(failed, "answer", "answers"), silent)
	case failed > 0:
		text = fmt.Sprintf("Clerk has answered 5xx since %s (%s)", since, words.Count(failed, "time", "times"))
	case silent > 0:
		text = fmt.Sprintf("Clerk has not answered since %s (%s)", since, words.Count(silent, "request", "requests"))
	default:
		text = "Clerk has failed or not answered since " + since
	}
	text += ": only users in the cache are served."
	if n := v.Outage[refusedOpen]; n > 0 {
		text += " " + words.Count(n, "call was refused.", "calls were refused.")
	}
	if v.Now.Sub(v.OutSince) > span*every-Lately && len(v.Outage) > 0 {
		text += " Numbers are of the last ten minutes."
	}
	return text
}

// left returns a sentence about the rest of the quota and the queue.
func (v *View) left() string {
	return fmt.Sprintf("%d of %d requests left; %s", v.Gate.Available, v.capacity(), v.waits(false))
}

// waits returns the number of waiters as a whole sentence, or as the end of one.
func (v *View) waits(whole bool) string {
	n, some := v.waiting(), "wait"
	if n == 1 {
		some = "waits"
	}
	text := fmt.Sprintf("%d %s", n, some)
	switch {
	case n == 0 && whole:
		return "Nobody waits."
	case n == 0:
		return "nobody waits."
	case v.oldest() >= 100*time.Millisecond:
		text += ", the first for " + words.Rounded(v.oldest())
	}
	return text + "."
}

// clock returns a time of day in UTC, with the date if it is not today's.
func (v *View) clock(t time.Time) string {
	t, now := t.UTC(), v.Now.UTC()
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04:05 UTC")
	}
	return t.Format("2 January, 15:04:05 UTC")
}
