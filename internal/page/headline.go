package page

import (
	"fmt"
	"time"
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
		return Headline{string(Stopping), string(Warning), "Stopping: the server takes no new calls."}
	case len(all) > 0:
		first := all[0]
		return Headline{first.Name, string(first.Severity), tell(v, first)}
	case v.Phase == Starting || v.AskingKey:
		return Headline{string(Starting), string(Warning), "Starting: Clerk has not said yet whether it accepts the secret key."}
	}
	text := "Serving. " + v.left()
	if v.Total[requestsCount] == 0 && v.lookups() == 0 {
		text += " No call has come yet."
	}
	return Headline{string(Serving), "ok", text}
}

// tell returns the line about a condition.
func tell(v *View, c Condition) string {
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
		return "Clerk has failed or not answered since " + v.clock(v.OutSince) + ": only users in the cache are served."
	case rateLimited:
		if v.Gate.PausedUntil.IsZero() {
			return fmt.Sprintf("Serving again after a 429 of Clerk's at %s. %s", v.clock(v.LimitedAt), v.left())
		}
		at := ""
		if !v.LimitedAt.IsZero() {
			at = " at " + v.clock(v.LimitedAt)
		}
		text := fmt.Sprintf("Clerk answered 429%s: everything waits until %s, %s from now.",
			at, v.clock(v.Gate.PausedUntil), short(v.Gate.PausedUntil.Sub(v.Now)))
		if v.waiting() > 0 {
			text += " " + v.waits(true)
		}
		if n := v.Lately[refusalCounter("rate_limited")]; n > 0 {
			text += " " + count(n, "call that can't wait so long was refused.", "calls that can't wait so long were refused.")
		}
		return text
	case redisFallback:
		text := "Redis has not answered since " + v.clock(v.AwaySince)
		if sh := v.Gate.Shared; sh != nil && sh.Allowance > 0 {
			text += fmt.Sprintf(": this replica serves within its share of the quota, %d of %d requests per %v",
				sh.Allowance, v.Gate.Limit, v.Gate.Window)
		}
		return text + ". " + v.waits(true)
	case callsRefused:
		n := v.Lately[refusedTooShort] + v.Lately[refusedFull] + v.Lately[refusedCallerFull]
		return fmt.Sprintf("More is asked for than the quota allows: %s refused in the last minute. %s", count(n, "lookup or list was", "lookups and lists were"), v.left())
	case oldestWait:
		return "Serving slowly: " + v.left()
	case quotaNearlySpent:
		return "Serving, but the quota is nearly spent: " + v.left()
	case inFlightFloor:
		return "Serving one request at a time, since Clerk accepts no more at once. " + v.left()
	}
	return "Serving. " + v.left() + " " + c.Summary
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
		text += ", the first for " + short(v.oldest())
	}
	return text + "."
}

// clock returns a time of day in UTC, with the date if it is not today's.
func (v *View) clock(t time.Time) string {
	t, now := t.UTC(), v.Now.UTC()
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04:05")
	}
	return t.Format("2 January, 15:04:05")
}

// lookups returns the number of ids that have been answered since the start.
func (v *View) lookups() int64 { return sum(v.Lookups.Lookups) }

// short returns a duration as people write it.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", max(0, d.Seconds()))
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
}

func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
