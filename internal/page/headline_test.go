package page

import (
	"io"
	"testing"
	"time"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/telemetry"
	"github.com/clerkgate/clerkgate/internal/usage"
	"github.com/clerkgate/clerkgate/internal/webhook"
)

// TestTell checks the first line of each state.
func TestTell(t *testing.T) {
	at := func(text string) time.Time {
		clock, err := time.Parse(time.TimeOnly, text)
		if err != nil {
			t.Fatal(err)
		}
		return time.Date(2026, 11, 28, clock.Hour(), clock.Minute(), clock.Second(), 0, time.UTC)
	}
	for _, tt := range []struct {
		name, level, kind, text string
		change                  func(*View)
	}{
		{"well", "ok", "serving", "Serving. 37 of 100 requests left; nobody waits.", func(*View) {}},
		{"empty", "ok", "serving", "Serving. 100 of 100 requests left; nobody waits. No call has come yet.",
			func(v *View) { v.Gate.Available, v.Gate.Callers = 100, usage.Report{} }},
		{"callers refused", "ok", "serving",
			"Serving. 37 of 100 requests left; nobody waits. No call has been admitted yet.",
			func(v *View) { v.Gate.Callers, v.Total[unknownCount], v.Total[deniedCount] = usage.Report{}, 2, 1 }},
		{"refused by the quota", "ok", "serving", "Serving. 37 of 100 requests left; nobody waits.",
			func(v *View) { v.Gate.Callers, v.Requests.Refused = usage.Report{}, map[string]int64{"queue_full": 1} }},
		{"served from memory", "ok", "serving", "Serving. 37 of 100 requests left; nobody waits.", func(v *View) {
			v.Gate.Callers, v.Lookups.Lookups = usage.Report{}, map[clerkgatev1.ServedFrom]int64{clerkgatev1.ServedFrom_SERVED_FROM_MEMORY: 1}
		}},
		{"just started", "ok", "serving", "Serving. Started 12 s ago. 37 of 100 requests left; nobody waits.",
			func(v *View) { v.Started = noon.Add(-12 * time.Second) }},
		{"a minute ago", "ok", "serving", "Serving. 37 of 100 requests left; nobody waits.",
			func(v *View) { v.Started = noon.Add(-time.Minute) }},
		{"Redis is back", "ok", "serving", "Serving. 25 of 25 requests left; nobody waits. " +
			"This replica may use 25 of 100 requests per 10 s until about 12:03:30 UTC, while Redis learns what all replicas have sent.", func(v *View) {
			v.Gate.Shared.ShareState = quota.ShareState{Decider: quota.DecidesLearning, Replicas: 2, Allowance: 25, Learned: at("12:03:30")}
			v.Gate.Available, v.Gate.EffectiveLimit = 25, 25
		}},
		{"a bucket", "ok", "serving", "Serving. 150 of 200 requests left; nobody waits.",
			func(v *View) { v.Gate.Burst, v.Gate.Available = 200, 150 }},
		{"one waits", "ok", "serving", "Serving. 37 of 100 requests left; 1 waits.",
			func(v *View) { v.Gate.Queue[gate.Batch] = gate.QueueLevel{Depth: 1, Oldest: 50 * time.Millisecond} }},
		{"several wait", "ok", "serving", "Serving. 37 of 100 requests left; 5 wait, the first for 1.5 s.", func(v *View) {
			v.Gate.Queue = [2]gate.QueueLevel{{Depth: 2, Oldest: 1500 * time.Millisecond}, {Depth: 3, Oldest: time.Second}}
		}},
		{"starting", "warning", "starting", "Starting: Clerk has not yet accepted or refused the secret key.",
			func(v *View) { v.AskingKey = true }},
		{"stopping", "warning", "stopping", "Stopping: health is NOT_SERVING, so that new calls go elsewhere, and the server ends soon.",
			func(v *View) { v.Phase, v.Gate.KeyRefused = Stopping, true }},
		{"429", "warning", rateLimited, "Clerk answered 429 at 12:03:10 UTC: nothing is sent to Clerk until 12:03:40 UTC, 24 s from now. 545 calls that can't wait so long were refused.", func(v *View) {
			v.LimitedAt, v.Gate.PausedUntil, v.Gate.Available = at("12:03:10"), at("12:03:40"), 0
			v.Lately[refusalCounter("rate_limited")] = 545
		}},
		{"429 at another replica", "warning", rateLimited, "Clerk answered 429: nothing is sent to Clerk until 12:03:18 UTC, 2.0 s from now. 3 wait, the first for 4.0 s.", func(v *View) {
			v.Gate.PausedUntil = at("12:03:18")
			v.Gate.Queue[gate.Interactive] = gate.QueueLevel{Depth: 3, Oldest: 4 * time.Second}
		}},
		{"after a 429", "warning", rateLimited, "Serving again. Clerk answered 429 at 12:03:10 UTC. 37 of 100 requests left; nobody waits.", func(v *View) {
			v.LimitedAt, v.Lately[rateLimitedCount] = at("12:03:10"), 1
		}},
		{"key refused", "critical", keyRefused, "Clerk refuses the secret key: put a valid one into /etc/clerk/key. Users in the cache are served meanwhile.",
			func(v *View) { v.Gate.KeyRefused, v.KeyPlace = true, "/etc/clerk/key" }},
		{"key refused from the start", "critical", keyRefused, "Clerk refuses the secret key: put a valid one into its place. Calls fail until then.",
			func(v *View) { v.Gate.KeyRefused, v.Gate.KeyTaken = true, false }},
		{"outage", "critical", breakerOpen, "Clerk has failed or not answered since 12:01:00 UTC: only users in the cache are served.",
			func(v *View) { v.Gate.Breaker.State, v.OutSince = gate.Open, at("12:01:00") }},
		{"Clerk answers 5xx", "critical", breakerOpen, "Clerk has answered 5xx since 12:01:00 UTC (7 times): only users in the cache are served. 381 calls were refused.", func(v *View) {
			v.Gate.Breaker.State, v.OutSince = gate.Open, at("12:01:00")
			v.Outage = Counts{failureCounter("server_error"): 7, refusedOpen: 381}
		}},
		{"no answer", "critical", breakerOpen, "Clerk has not answered since 12:01:00 UTC (1 request): only users in the cache are served. 1 call was refused.", func(v *View) {
			v.Gate.Breaker.State, v.OutSince = gate.Open, at("12:01:00")
			v.Outage = Counts{failureCounter("no_answer"): 1, refusedOpen: 1}
		}},
		{"both, for long", "critical", breakerOpen, "Clerk has failed since 11:01:00 UTC (7 answers 5xx, 3 without an answer): only users in the cache are served. " +
			"Numbers are of the last ten minutes.", func(v *View) {
			v.Gate.Breaker.State, v.OutSince = gate.Open, at("11:01:00")
			v.Outage = Counts{failureCounter("server_error"): 7, failureCounter("no_answer"): 3}
		}},
		{"an old outage", "critical", breakerOpen, "Clerk has failed or not answered since 27 November, 12:01:00 UTC: only users in the cache are served.",
			func(v *View) { v.Gate.Breaker.State, v.OutSince = gate.HalfOpen, at("12:01:00").AddDate(0, 0, -1) }},
		{"Redis gone", "warning", redisFallback,
			"Redis has not answered since 12:03:00 UTC: this replica serves within its share of the quota, 50 of 100 requests per 10 s. Nobody waits.", func(v *View) {
				v.Gate.Shared.Decider, v.Gate.Shared.Allowance, v.AwaySince = quota.DecidesFallback, 50, at("12:03:00")
			}},
		{"Redis is full", "warning", redisFallback,
			"Redis has answered OOM since 12:03:00 UTC: this replica serves within its share of the quota, 50 of 100 requests per 10 s. Nobody waits.", func(v *View) {
				v.Gate.Shared.Decider, v.Gate.Shared.Allowance, v.AwaySince = quota.DecidesFallback, 50, at("12:03:00")
				v.Lately[redisErrorCounter(redislink.OutOfMemory)], v.Lately[redisErrorCounter(redislink.NotPermitted)] = 9, 1
				v.Lately[redisErrorCounter(redislink.Unreachable)] = 2
			}},
		{"Redis answers what nobody knows", "warning", redisFallback, "Redis has answered with errors since 12:03:00 UTC. Nobody waits.", func(v *View) {
			v.Store.Redis.Connected, v.AwaySince = false, at("12:03:00")
			v.Lately[redisErrorCounter(redislink.OtherReply)] = 3
		}},
		{"Redis went away after it was full", "warning", redisFallback, "Redis has not answered since 12:03:00 UTC. Nobody waits.", func(v *View) {
			v.Store.Redis.Connected, v.AwaySince = false, at("12:03:00")
			v.Lately[redisErrorCounter(redislink.OutOfMemory)], v.Lately[redisErrorCounter(redislink.TimedOut)] = 3, 4
		}},
		{"refused", "warning", callsRefused,
			"More is asked for than the quota allows: 20 lookups and lists were refused in the last minute. 0 of 100 requests left; 40 wait, the first for 7.0 s.", func(v *View) {
				v.Lately[refusedTooShort], v.Gate.Available = 20, 0
				v.Gate.Queue[gate.Batch] = gate.QueueLevel{Depth: 40, Oldest: 7 * time.Second}
			}},
		{"slow", "warning", oldestWait, "Serving slowly: 37 of 100 requests left; 1 waits, the first for 1 min 5 s.",
			func(v *View) { v.Gate.Queue[gate.Batch] = gate.QueueLevel{Depth: 1, Oldest: 65 * time.Second} }},
		{"nearly spent", "warning", quotaNearlySpent, "Serving, but the quota is nearly spent: 4 of 100 requests left; nobody waits.",
			func(v *View) { v.Gate.Available = 4 }},
		{"one at a time", "warning", inFlightFloor, "Serving one request at a time, since Clerk accepts no more at once. 37 of 100 requests left; nobody waits.",
			func(v *View) { v.Gate.InFlightLimit = 1 }},
		{"a certificate for hours", "critical", certificateExpiresToday,
			"The certificate of the gRPC and HTTP listeners expires at 15:03:46 UTC, in 3 h 1 min. 37 of 100 requests left; nobody waits.", func(v *View) {
				for _, files := range v.Files.TLS {
					files.Certificates[0] = lives(90*day, 3*time.Hour+30*time.Second)
				}
			}},
		{"expired certificates", "critical", certificateExpiresToday,
			"The certificate of the webhook listener expired at 26 November, 12:03:16 UTC: clients can't connect. " +
				"An authority in --client-ca-file expired at 11:03:16 UTC: clients with a certificate of it can't connect. 37 of 100 requests left; nobody waits.", func(v *View) {
				v.Files.TLS = []telemetry.TLSFiles{
					{Listener: "grpc", Certificates: []telemetry.Certificate{lives(90*day, 90*day), {Kind: telemetry.ClientCACertificate, NotAfter: noon.Add(-time.Hour)}}},
					{Listener: "webhook", Certificates: []telemetry.Certificate{lives(90*day, -2*day)}},
				}
			}},
		{"a certificate for days", "warning", certificateExpiresSoon,
			"Serving. 37 of 100 requests left; nobody waits. The certificate of the gRPC listener expires at 4 December, 11:03:16 UTC, in 5 days 23 h.",
			func(v *View) { v.Files.TLS[0].Certificates[0] = lives(90*day, 6*day-time.Hour) }},
		{"TLS files", "warning", tlsFilesUnusable,
			"Serving. 37 of 100 requests left; nobody waits. The TLS files of the gRPC, HTTP and webhook listeners can't be used, so the last ones stay in use.", func(v *View) {
				v.Files.TLS = []telemetry.TLSFiles{{Listener: "grpc", Err: io.EOF}, {Listener: "http", Err: io.EOF}, {Listener: "webhook", Err: io.EOF}}
			}},
		{"callers file", "warning", callersFileUnusable,
			"Serving. 37 of 100 requests left; nobody waits. The callers file can't be used, so the last one stays in use.",
			func(v *View) { v.Files.Callers = io.EOF }},
		{"webhooks", "warning", webhooksFailing,
			"Serving. 37 of 100 requests left; nobody waits. 9 of 29 webhooks in ten minutes were forged, so old copies of users who have changed may be served.",
			func(v *View) {
				v.Recent[webhookCounter(webhook.Forged)], v.Recent[webhookCounter(webhook.Applied)] = 9, 20
			}},
		{"webhooks of two kinds", "warning", webhooksFailing,
			"Serving. 37 of 100 requests left; nobody waits. 3 of 3 webhooks in ten minutes were bad (1 failed, 2 stale), so old copies of users who have changed may be served.",
			func(v *View) {
				v.Recent[webhookCounter(webhook.Failed)], v.Recent[webhookCounter(webhook.Stale)] = 1, 2
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := well()
			tt.change(v)
			if got, want := Tell(v), (Headline{tt.kind, tt.level, tt.text}); got != want {
				t.Errorf("\ngot  %+v\nwant %+v", got, want)
			}
		})
	}
}
