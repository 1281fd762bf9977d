package page

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/telemetry"
	"github.com/clerkgate/clerkgate/internal/usage"
	"github.com/clerkgate/clerkgate/internal/usercache"
	"github.com/clerkgate/clerkgate/internal/webhook"
)

// noon is when tests take place.
var noon = time.Date(2026, 11, 28, 12, 3, 16, 0, time.UTC)

// well returns a view of a server with Redis, webhooks and replicas, of which all is well.
func well() *View {
	return &View{
		Now: noon, Started: noon.Add(-48 * time.Hour), Phase: Serving, MaxInFlight: 64, KeySince: noon.Add(-48 * time.Hour),
		Gate: gate.Status{
			Limit: 100, Window: 10 * time.Second, EffectiveLimit: 100, FullLimit: 100, Available: 37, Held: 63, InFlight: 3, InFlightLimit: 64,
			KeyTaken: true, Breaker: gate.BreakerStatus{Since: noon.Add(-48 * time.Hour)},
			Callers: usage.Report{Busiest: []usage.Counts{{Name: "billing", Lookups: 5}}},
			Shared:  &gate.SharedStatus{ShareState: quota.ShareState{Replicas: 2, LastReply: noon}},
		},
		Store: usercache.Stats{Bytes: 10, MaxBytes: 100, Redis: &usercache.RedisStats{Connected: true}},
		Files: telemetry.Files{TLS: []telemetry.TLSFiles{
			{Listener: "grpc", Certificates: []telemetry.Certificate{
				lives(90*day, 60*day), {Kind: telemetry.ClientCACertificate, NotBefore: noon.Add(-day), NotAfter: noon.Add(1000 * day)},
			}},
			{Listener: "http", Certificates: []telemetry.Certificate{lives(90*day, 60*day)}},
		}},
		TakesWebhooks: true, LastEvent: noon.Add(-time.Hour), MostReplicas: 2,
		Total: Counts{requestsCount: 5}, Recent: Counts{}, Lately: Counts{},
	}
}

const day = 24 * time.Hour

// lives returns the certificate of a listener with a life of which some is left.
func lives(life, left time.Duration) telemetry.Certificate {
	return telemetry.Certificate{Kind: telemetry.ServerCertificate, NotBefore: noon.Add(left - life), NotAfter: noon.Add(left)}
}

// breaks are what makes each condition hold, and no graver one.
var breaks = map[string][]func(*View){
	keyRefused:  {func(v *View) { v.Gate.KeyRefused = true }},
	breakerOpen: {func(v *View) { v.Gate.Breaker.State = gate.Open }, func(v *View) { v.Gate.Breaker.State = gate.HalfOpen }},
	rateLimited: {func(v *View) { v.Gate.PausedUntil = noon.Add(time.Second) }, func(v *View) { v.Lately[rateLimitedCount] = 1 }},
	redisFallback: {
		func(v *View) { v.Gate.Shared.Decider = quota.DecidesFallback },
		func(v *View) { v.Store.Redis.Connected = false },
	},
	callsRefused: {
		func(v *View) { v.Lately[refusedTooShort] = 1 }, func(v *View) { v.Lately[refusedFull] = 1 },
		func(v *View) { v.Lately[refusedCallerFull] = 1 },
	},
	oldestWait: {
		func(v *View) { v.Gate.Queue[gate.Batch] = gate.QueueLevel{Depth: 1, Oldest: LongWait + 1} },
		func(v *View) { v.Gate.Queue[gate.Interactive] = gate.QueueLevel{Depth: 1, Oldest: LongWait + 1} },
	},
	quotaNearlySpent: {
		func(v *View) { v.Gate.Available = 9 },
		func(v *View) { v.Gate.Burst, v.Gate.Available = 200, 19 },
	},
	inFlightFloor:   {func(v *View) { v.Gate.InFlightLimit = 1 }},
	keyFileUnusable: {func(v *View) { v.KeyFileFails = true }},

	callersFileUnusable: {func(v *View) { v.Files.Callers = io.ErrUnexpectedEOF }},
	tlsFilesUnusable:    {func(v *View) { v.Files.TLS[1].Err = io.ErrUnexpectedEOF }},
	certificateExpiresSoon: {
		func(v *View) { v.Files.TLS[1].Certificates[0] = lives(90*day, 7*day-1) },
		func(v *View) { v.Files.TLS[0].Certificates[1].NotAfter = noon.Add(4 * time.Hour) }, // of a life of 28 hours
		func(v *View) { v.Files.TLS[0].Certificates[0] = lives(time.Hour, 11*time.Minute) },
	},
	certificateExpiresToday: {
		func(v *View) { v.Files.TLS[0].Certificates[0] = lives(90*day, day-1) },
		func(v *View) { v.Files.TLS[0].Certificates[0] = lives(time.Hour, 5*time.Minute) },
		func(v *View) { v.Files.TLS[1].Certificates[0] = lives(90*day, -day) },
		func(v *View) { // another one expires soon
			v.Files.TLS[0].Certificates[0], v.Files.TLS[1].Certificates[0] = lives(90*day, -day), lives(90*day, 5*day)
		},
	},
	webhooksFailing: {
		func(v *View) { v.Recent[webhookCounter(webhook.Failed)] = 1 },
		func(v *View) { v.Recent[webhookCounter(webhook.Forged)] = 1 },
		func(v *View) { v.Recent[webhookCounter(webhook.Stale)] = 1 },
		func(v *View) { v.Recent[webhookCounter(webhook.Misdirected)] = 1 },
	},
	webhooksSilent: {
		func(v *View) { v.LastEvent = noon.Add(-SilentAfter - 1) },
		func(v *View) { v.LastEvent = time.Time{} },
	},
	replicasLost:  {func(v *View) { v.MostReplicas = 3 }},
	cacheEvicting: {func(v *View) { v.Store.Bytes, v.Lately[evictedCount] = 96, 1 }},
	spansLost:     {func(v *View) { v.Recent[spansLostCount] = 1 }},
}

// TestConditions checks that each condition holds when it should, alone.
func TestConditions(t *testing.T) {
	if all := Holding(well()); len(all) > 0 {
		t.Fatalf("%s holds though all is well", all[0].Name)
	}
	for _, c := range Conditions() {
		if len(breaks[c.Name]) == 0 {
			t.Errorf("%s: there is nothing that makes it hold", c.Name)
		}
		for i, fault := range breaks[c.Name] {
			v := well()
			fault(v)
			if all := Holding(v); len(all) != 1 || all[0].Name != c.Name {
				t.Errorf("%s, %d: %d conditions hold", c.Name, i, len(all))
			}
		}
	}
}

// TestConditionsThatDoNotHold checks what looks like a fault and is none.
func TestConditionsThatDoNotHold(t *testing.T) {
	for name, change := range map[string]func(*View){
		"the first window, in which some is held back": func(v *View) { v.Started, v.Gate.Available = noon.Add(-5*time.Second), 2 },
		"a tenth is left":                      func(v *View) { v.Gate.Available = 10 },
		"one request at a time, as configured": func(v *View) { v.MaxInFlight, v.Gate.InFlightLimit = 1, 1 },
		"a certificate for seven days":         func(v *View) { v.Files.TLS[0].Certificates[0] = lives(90*day, 7*day) },
		"a certificate of a short life":        func(v *View) { v.Files.TLS[0].Certificates[0] = lives(time.Hour, 12*time.Minute) },
		"no TLS":                               func(v *View) { v.Files = telemetry.Files{} },
		"no webhooks are taken":                func(v *View) { v.TakesWebhooks, v.LastEvent = false, time.Time{} },
		"it runs for an hour":                  func(v *View) { v.Started, v.LastEvent = noon.Add(-time.Hour), time.Time{} },
		"no Redis":                             func(v *View) { v.Gate.Shared, v.Store.Redis = nil, nil },
		"copies expire":                        func(v *View) { v.Lately[evictedCount] = 10 },
		"a full cache":                         func(v *View) { v.Store.Bytes = 99 },
		"duplicates":                           func(v *View) { v.Recent[webhookCounter(webhook.Duplicate)] = 10 },
	} {
		v := well()
		change(v)
		if all := Holding(v); len(all) > 0 {
			t.Errorf("%s: %s holds", name, all[0].Name)
		}
	}
}

// TestConditionTexts checks the form of the texts, and that the metrics that they name exist.
func TestConditionTexts(t *testing.T) {
	metrics, err := os.ReadFile("../../docs/metrics.md") // written from the table of metrics
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`clerkgate_[a-z_]+`)
	var names []string
	gravest := Critical
	for _, c := range Conditions() {
		names = append(names, c.Name)
		for _, text := range []string{c.Summary, c.Look, c.Do, c.When} {
			if !strings.HasSuffix(text, ".") || strings.ContainsAny(text, "\n") || strings.Contains(text, "{{") {
				t.Errorf("%s: %q: want sentences without line breaks and templates", c.Name, text)
			}
		}
		for _, metric := range named.FindAllString(c.When, -1) {
			if !bytes.Contains(metrics, []byte("`"+metric+"`")) {
				t.Errorf("%s: there is no metric %s", c.Name, metric)
			}
		}
		if c.Severity == Critical && gravest == Warning {
			t.Errorf("%s is graver than one before it", c.Name)
		}
		gravest = c.Severity
	}
	slices.Sort(names)
	if len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Error("a name is there twice")
	}
}
