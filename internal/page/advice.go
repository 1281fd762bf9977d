package page

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/clerkgate/clerkgate/internal/webhook"
	"github.com/clerkgate/clerkgate/internal/words"
)

// Advice is a condition that holds, with the texts that the page shows: those of the
// Condition, or others where the view has the facts.
type Advice struct {
	Name     string `json:"name"`
	Severity string `json:"severity"`
	Summary  string `json:"summary"` // empty: the headline has it
	Look     string `json:"look"`
	Do       string `json:"do"`
	Over     bool   `json:"over"` // what caused it is over
}

// Advise returns what to do about each condition that holds, in the order of Conditions.
func Advise(v *View) []Advice {
	all := []Advice{}
	for i, c := range Holding(v) {
		a := Advice{Name: c.Name, Severity: string(c.Severity), Summary: c.Summary, Look: c.Look, Do: c.Do}
		switch c.Name {
		case keyRefused:
			a.Do = v.howToSetKey()
		case breakerOpen:
			a.Look, a.Do = v.howToReachClerk(c)
		case rateLimited:
			if a.Over = v.Gate.PausedUntil.IsZero(); a.Over {
				a.Summary = "Clerk answered 429" + v.limitedAt() + ". The pause is over."
			}
		case redisFallback:
			if kind, answer := v.redisRefuses(); answer != "" {
				a.Look = "Redis answers " + answer + ". The log has the whole text."
				a.Do = "The replicas share the quota again by themselves once Redis serves them."
				if hint := kind.Hint(); hint != "" {
					a.Do = strings.ToUpper(hint[:1]) + hint[1:] + ". " + a.Do
				}
			}
		case certificateExpiresToday:
			a.Summary, a.Look, a.Do = v.certificates(ExpiresToday, TodayLife), "Find out why it was not replaced.", v.howToReplace(ExpiresToday, TodayLife)
		case certificateExpiresSoon:
			a.Summary, a.Look, a.Do = v.certificates(ExpiresSoon, SoonLife), "Find out whether it is replaced by itself, and why that has not happened.",
				v.howToReplace(ExpiresSoon, SoonLife)
		case tlsFilesUnusable:
			a.Summary = v.tlsFiles()
		case webhooksFailing:
			a.Summary, a.Look, a.Do = v.badWebhooks(), "The log has the reasons.", v.howToTakeWebhooks()
		}
		if i == 0 && v.Phase != Stopping {
			a.Summary = ""
		}
		all = append(all, a)
	}
	return all
}

// howToSetKey returns when a key comes into effect. The headline has its place.
func (v *View) howToSetKey() string {
	switch {
	case v.KeyPlace == "":
		return "If its place is a file, that is read again within a second. Otherwise restart the server."
	case filepath.IsAbs(v.KeyPlace):
		return "The file is read again within a second."
	}
	return "The environment is read only at the start."
}

// howToReachClerk returns what to look at and to do in an outage: about the network only if
// requests got no answer.
func (v *View) howToReachClerk(c Condition) (look, do string) {
	switch silent, failed := v.Outage[failureCounter("no_answer")], v.Outage[failureCounter("server_error")]; {
	case failed > 0 && silent == 0:
		return "Look at Clerk's status page. The network is not at fault, since Clerk answers.",
			"Wait: the server keeps asking, and serves again as soon as Clerk does."
	case silent > 0 && failed == 0:
		return "Look at the network path to Clerk (DNS, proxy, firewall), then at Clerk's status page. The log has the error of each request.",
			"Fix the network path if it is at fault. The server keeps asking, and serves again as soon as Clerk answers."
	}
	return c.Look, c.Do
}

// badOutcomes are the outcomes of webhooks that an operator can do something about.
var badOutcomes = []struct {
	outcome webhook.Outcome
	do      string
}{
	{webhook.Failed, "Failed: bring Redis back; Clerk sends the events again."},
	{webhook.Forged, "Forged: compare the signing secret with the one that Clerk shows for the endpoint. " +
		"If they are the same, somebody else posts to the endpoint; that changes nothing."},
	{webhook.Stale, "Stale: set this machine's clock."},
	{webhook.Misdirected, "Misdirected: correct the endpoint's URL at Clerk."},
}

// badWebhooks returns a sentence about the bad webhooks of the last ten minutes.
func (v *View) badWebhooks() string {
	var kinds []string
	var bad, all int64
	for _, o := range outcomes {
		all += v.Recent[webhookCounter(o.outcome)]
	}
	for _, b := range badOutcomes {
		if n := v.Recent[webhookCounter(b.outcome)]; n > 0 {
			bad += n
			kinds = append(kinds, fmt.Sprintf("%d %s", n, b.outcome))
		}
	}
	were := "were"
	if bad == 1 {
		were = "was"
	}
	text := fmt.Sprintf("%d of %s in ten minutes %s ", bad, words.Count(all, "webhook", "webhooks"), were)
	if len(kinds) == 1 {
		_, kind, _ := strings.Cut(kinds[0], " ")
		text += kind
	} else {
		text += "bad (" + strings.Join(kinds, ", ") + ")"
	}
	return text + ", so old copies of users who have changed may be served."
}

// howToTakeWebhooks returns what to do about the outcomes of the last ten minutes.
func (v *View) howToTakeWebhooks() string {
	var do []string
	for _, b := range badOutcomes {
		if v.Recent[webhookCounter(b.outcome)] > 0 {
			do = append(do, b.do)
		}
	}
	return strings.Join(do, " ")
}
