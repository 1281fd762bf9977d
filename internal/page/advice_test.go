package page

import (
	"strings"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/webhook"
)

// TestAdvise checks that advice is about what has happened, and about nothing else.
func TestAdvise(t *testing.T) {
	out := func(counts Counts) func(*View) {
		return func(v *View) { v.Gate.Breaker.State, v.OutSince, v.Outage = gate.Open, noon, counts }
	}
	for name, tt := range map[string]struct {
		change       func(*View)
		want, absent string
	}{
		"Clerk answers 5xx":     {out(Counts{failureCounter("server_error"): 1}), "Clerk's status page", "DNS"},
		"Clerk does not answer": {out(Counts{failureCounter("no_answer"): 1}), "DNS", "The network is not at fault"},
		"Clerk does both": {
			out(Counts{failureCounter("no_answer"): 1, failureCounter("server_error"): 1}), "DNS", "The network is not at fault",
		},
		"it is not known what Clerk does": {out(nil), "DNS", "The network is not at fault"},
		"forged":                          {func(v *View) { v.Recent[webhookCounter(webhook.Forged)] = 1 }, "somebody else posts", "Redis"},
		"failed":                          {func(v *View) { v.Recent[webhookCounter(webhook.Failed)] = 1 }, "bring Redis back", "secret"},
		"a key in a file":                 {func(v *View) { v.Gate.KeyRefused, v.KeyPlace = true, "/etc/key" }, "The file is read again", "if Clerk has"},
		"a certificate of a listener":     {func(v *View) { v.Files.TLS[0].Certificates[0] = lives(90*day, time.Hour) }, "into the listener's files", "--client-ca-file"},
		"an authority": {
			func(v *View) { v.Files.TLS[0].Certificates[1].NotAfter = noon.Add(-1) }, "--client-ca-file", "the listener's files",
		},
		"Redis refuses": {
			func(v *View) {
				v.Store.Redis.Connected, v.Lately[redisErrorCounter(redislink.WrongPassword)] = false, 1
			}, "Redis answers WRONGPASS. The log has the whole text. Check the user and the password in --redis-url.", "Bring Redis back",
		},
		"Redis is away": {
			func(v *View) { v.Store.Redis.Connected, v.Lately[redisErrorCounter(redislink.Unreachable)] = false, 1 }, "Bring Redis back", "answers",
		},
		"a key in the environment": {func(v *View) { v.Gate.KeyRefused, v.KeyPlace = true, "X" }, "only at the start", "file"},
	} {
		v := well()
		tt.change(v)
		all := Advise(v)
		if len(all) != 1 {
			t.Fatalf("%s: %+v", name, all)
		}
		text := all[0].Look + " " + all[0].Do
		if !strings.Contains(text, tt.want) || strings.Contains(text, tt.absent) {
			t.Errorf("%s: got %q, want %q in it, and not %q", name, text, tt.want, tt.absent)
		}
	}
}

// TestHeadlineIsNotRepeated checks that each condition has its summary, except the one that
// the headline is about.
func TestHeadlineIsNotRepeated(t *testing.T) {
	v := well()
	v.Gate.Breaker.State, v.Lately[rateLimitedCount], v.LimitedAt = gate.Open, 1, noon.Add(-time.Second)
	all := Advise(v)
	if len(all) != 2 || all[0].Summary != "" || all[0].Over ||
		all[1].Summary != "Clerk answered 429 at 12:03:15 UTC. The pause is over." || !all[1].Over {
		t.Errorf("%+v", all)
	}
	v.Phase = Stopping
	if all := Advise(v); all[0].Summary == "" {
		t.Error("while the server stops, the first condition has no summary")
	}
}

// TestQuotaNote checks what is said of the part of the quota that can't be used.
func TestQuotaNote(t *testing.T) {
	for want, change := range map[string]func(*View){
		"": func(*View) {},
		"45 of the held are kept back, the last until 12:03:20 UTC: requests from before the start may still count at Clerk.": func(v *View) {
			v.Gate.KeptBack, v.Gate.KeptUntil = 45, noon.Add(4*time.Second)
		},
		"25 of 100 may be used: the share of this replica, until Redis knows at about 12:03:20 UTC what all replicas have sent.": func(v *View) {
			v.Gate.EffectiveLimit = 25
			v.Gate.Shared.ShareState = quota.ShareState{Decider: quota.DecidesLearning, Learned: noon.Add(4 * time.Second)}
		},
		"50 of 100 may be used: the share of this replica, until Redis is back.": func(v *View) {
			v.Gate.EffectiveLimit, v.Gate.Shared.Decider = 50, quota.DecidesFallback
		},
		"90 of 100 may be used: the rest is reserved for others by --quota-reserve.": func(v *View) {
			v.Gate.EffectiveLimit, v.Gate.FullLimit = 90, 90
		},
		"64 of 100 may be used: the 429 at 12:03:06 UTC has lowered it, and without another all is back by 12:22:00 UTC.": func(v *View) {
			v.Gate.EffectiveLimit, v.LimitedAt = 64, noon.Add(-10*time.Second)
		},
		"64 of 100 may be used: Clerk's 429s or headers show that others use the key; it rises again by itself.": func(v *View) {
			v.Gate.EffectiveLimit = 64
		},
	} {
		v := well()
		change(v)
		if got := quotaNote(v); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}
