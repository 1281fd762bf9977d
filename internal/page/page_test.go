package page

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/telemetry"
	"github.com/clerkgate/clerkgate/internal/usage"
	"github.com/clerkgate/clerkgate/internal/usercache"
	"github.com/clerkgate/clerkgate/internal/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is all sources. change changes what they say.
type fake struct {
	mu       sync.Mutex
	status   gate.Status
	requests telemetry.GateStats
	health   gate.Health
	totals   usercache.Totals
	stats    usercache.Stats
	events   map[webhook.Count]int64
	last     time.Time
	refusals map[string]int64
	lost     int64
}

func newFake() *fake {
	f := &fake{status: well().Gate, stats: well().Store, events: map[webhook.Count]int64{}, refusals: map[string]int64{}}
	f.requests = telemetry.NewGateObserver(nil).Stats()
	return f
}

func (f *fake) change(do func())         { f.mu.Lock(); defer f.mu.Unlock(); do() }
func (f *fake) Status() gate.Status      { f.mu.Lock(); defer f.mu.Unlock(); return f.status }
func (f *fake) Health() gate.Health      { f.mu.Lock(); defer f.mu.Unlock(); return f.health }
func (f *fake) Totals() usercache.Totals { f.mu.Lock(); defer f.mu.Unlock(); return f.totals }

// ended sets how many lists have ended with an outcome. The page reads the old map without
// a lock.
func (f *fake) ended(outcome string, n int64) {
	f.requests.Requests = maps.Clone(f.requests.Requests)
	f.requests.Requests[telemetry.Ended{Endpoint: "list", Outcome: outcome}] = n
}

type fakeRequests struct{ *fake }

func (f fakeRequests) Stats() telemetry.GateStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests
}

type fakeStore struct{ *fake }

func (f fakeStore) Stats() usercache.Stats { f.mu.Lock(); defer f.mu.Unlock(); return f.stats }

type fakeWebhooks struct{ *fake }

func (f fakeWebhooks) Stats() map[webhook.Count]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.events
}
func (f fakeWebhooks) LastEvent() time.Time { return f.last }

func (f *fake) sources() Sources {
	return Sources{
		Version: "v1.2.3", Gate: f, Requests: fakeRequests{f}, Cache: f, Store: fakeStore{f}, Webhooks: fakeWebhooks{f}, MaxInFlight: 64,
		Refusals: func() map[string]int64 { return f.refusals }, SpansLost: func() int64 { return f.lost },
		Settings: []Setting{{"quota", "100/10s", "default"}},
		Limits: func(name string) Limits {
			if name == "billing" {
				return Limits{Guaranteed: 20, Cap: "1000 lookups per 10 s"}
			}
			return Limits{}
		},
	}
}

// inBubble runs a page over a fake until the test has ended.
func inBubble(t *testing.T, test func(t *testing.T, f *fake, p *Page)) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		p := New(f.sources())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			p.Run(t.Context())
		}()
		t.Cleanup(func() { <-ended })
		time.Sleep(every / 2) // between two samples
		test(t, f, p)
	})
}

func remembered(p *Page) []event { p.mu.Lock(); defer p.mu.Unlock(); return p.history.newest() }

func viewOf(p *Page) *View { return p.latest().view }

// TestEveryReasonHasWords checks that the tables have all that the gate and the webhooks
// count by.
func TestEveryReasonHasWords(t *testing.T) {
	names := func(reasons []reason) (all []string) {
		for _, r := range reasons {
			all = append(all, r.name)
		}
		return all
	}
	figures := newFake().requests
	for r := range figures.Requests {
		if r.Outcome != "ok" && r.Outcome != "not_found" && !slices.Contains(names(failures), r.Outcome) {
			t.Errorf("the outcome %s has no words", r.Outcome)
		}
	}
	for name := range figures.Refused {
		if !slices.Contains(names(refusals), name) {
			t.Errorf("the refusal %s has no words", name)
		}
	}
	for _, c := range webhook.Counts() {
		if _, ok := counterIndex[webhookCounter(c.Outcome)]; !ok {
			t.Errorf("the outcome %s has no words", c.Outcome)
		}
	}
	for _, h := range figures.Waits {
		if len(h.Counts) > len(waitsByBucket[0]) {
			t.Errorf("there is room for %d buckets of waits, and there are %d", len(waitsByBucket[0]), len(h.Counts))
		}
	}
}

// TestSums checks what is counted in the last minute and the last ten.
func TestSums(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake, p *Page) {
		check := func(total, recent, lately int64) {
			t.Helper()
			v := viewOf(p)
			if a, b, c := v.Total[rateLimitedCount], v.Recent[rateLimitedCount], v.Lately[rateLimitedCount]; a != total || b != recent || c != lately {
				t.Errorf("%d since the start, %d in ten minutes, %d in the last one; want %d, %d, %d", a, b, c, total, recent, lately)
			}
		}
		f.change(func() { f.ended("rate_limited", 3) })
		time.Sleep(every)
		check(3, 3, 3)
		time.Sleep(59 * time.Second)
		check(3, 3, 3)
		time.Sleep(time.Second)
		check(3, 3, 0)
		f.change(func() { f.ended("rate_limited", 5) })
		time.Sleep(time.Second)
		check(5, 5, 2)
		time.Sleep(538 * time.Second)
		check(5, 5, 0)
		time.Sleep(time.Second)
		check(5, 2, 0)
		time.Sleep(time.Hour)
		check(5, 0, 0)
	})
}

// TestWhatWasBefore checks that a page that starts late counts nothing as recent.
func TestWhatWasBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.ended("rate_limited", 7)
		p := New(f.sources())
		p.sample()
		if v := viewOf(p); v.Total[rateLimitedCount] != 7 || v.Recent[rateLimitedCount] != 0 {
			t.Errorf("%d since the start, %d lately", v.Total[rateLimitedCount], v.Recent[rateLimitedCount])
		}
	})
}

// TestGap checks that seconds in which the machine slept count as time.
func TestGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		p := New(f.sources())
		p.sample()
		f.ended("rate_limited", 7)
		time.Sleep(every)
		p.sample()
		time.Sleep(9 * time.Minute)
		p.sample()
		if v := viewOf(p); v.Lately[rateLimitedCount] != 0 || v.Recent[rateLimitedCount] != 7 || p.history.count != 3 {
			t.Errorf("%d lately, %d recently, %d samples", v.Lately[rateLimitedCount], v.Recent[rateLimitedCount], p.history.count)
		}
		time.Sleep(9 * time.Minute)
		p.sample()
		if v := viewOf(p); v.Recent[rateLimitedCount] != 0 || p.history.count != 2 {
			t.Errorf("%d recently, %d samples", v.Recent[rateLimitedCount], p.history.count)
		}
	})
}

// TestHistoryIsBounded checks that ten minutes are kept, and what of them.
func TestHistoryIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake, p *Page) {
		time.Sleep(time.Hour)
		h := p.helloOf(true)
		if len(h.History) != span {
			t.Fatalf("%d samples", len(h.History))
		}
		oldest, newest := h.History[0][0], h.History[span-1][0]
		if newest-oldest != (span-1)*1000 {
			t.Errorf("they are of %d ms", newest-oldest)
		}
	})
}

// TestUsed checks that requests are counted over a window.
func TestUsed(t *testing.T) {
	for _, tt := range []struct {
		window time.Duration
		want   int64
	}{{10 * time.Second, 20}, {time.Second, 2}, {500 * time.Millisecond, 1}, {time.Hour, 60}} {
		inBubble(t, func(t *testing.T, f *fake, p *Page) {
			f.change(func() { f.status.Window = tt.window })
			for i := range int64(30) { // 2 a second
				f.change(func() { f.ended("ok", 2*(i+1)) })
				time.Sleep(every)
			}
			history := p.helloOf(true).History
			if got := history[len(history)-1][1]; got != tt.want {
				t.Errorf("window %v: used %d, want %d", tt.window, got, tt.want)
			}
		})
	}
}

// TestUsedByUnevenSamples checks that a sample that comes late or early does not bring
// another second into the window.
func TestUsedByUnevenSamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.status.Window = 10 * time.Second
		p := New(f.sources())
		for i := range 60 { // 10 a second
			f.ended("ok", int64(10*(i+1)))
			p.sample()
			late := time.Duration(1-2*(i%2)) * 3 * time.Millisecond // late and early in turn
			if i%10 == 9 {
				late *= 30
			}
			time.Sleep(every + late)
		}
		for _, s := range p.history.samples[20:60] {
			if s.used != 100 {
				t.Fatalf("used %d, want 100", s.used)
			}
		}
	})
}

// TestEvents checks what is remembered of the breaker, the key, pauses and Redis.
func TestEvents(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake, p *Page) {
		step := func(do func()) { f.change(do); time.Sleep(every) }
		step(func() { f.status.Breaker = gate.BreakerStatus{State: gate.Open, Since: time.Now(), TimesOpened: 1} })
		since := viewOf(p).OutSince
		step(func() { f.status.Breaker.State, f.status.Breaker.Since = gate.HalfOpen, time.Now() })
		if !viewOf(p).OutSince.Equal(since) {
			t.Error("a half-open breaker is another outage")
		}
		step(func() { f.status.Breaker.State = gate.Closed })
		step(func() { f.status.Breaker.TimesOpened = 2 })
		step(func() { f.status.KeyRefused = true })
		step(func() { f.status.KeyRefused = false })
		step(func() { f.status.PausedUntil = time.Now().Add(30 * time.Second); f.ended("rate_limited", 1) })
		if v := viewOf(p); v.Now.Sub(v.LimitedAt) != 0 || !strings.HasPrefix(Tell(v).Text, "Clerk answered 429 at ") {
			t.Errorf("%s", Tell(v).Text)
		}
		step(func() {})
		if v := viewOf(p); v.Now.Sub(v.LimitedAt) != every {
			t.Error("a 429 has moved")
		}
		step(func() { f.status.PausedUntil = time.Time{} })
		step(func() { f.stats.Redis = &usercache.RedisStats{} })
		step(func() { f.stats.Redis = &usercache.RedisStats{Connected: true} })
		step(func() { f.status.Shared = &gate.SharedStatus{ShareState: quota.ShareState{Replicas: 3}} })
		var texts []string
		for _, e := range remembered(p) {
			texts = append(texts, e.text)
		}
		slices.Reverse(texts)
		want := []string{
			"The server started.", "Clerk failed: the breaker opened.", "Clerk answered again after 2.5 s: the breaker closed.",
			"Clerk failed for a moment: the breaker opened and closed.", "Clerk refused the secret key.",
			"Clerk accepted the secret key.", "Clerk answered 429: nothing is sent to Clerk until 00:00:36 UTC.",
			"Redis stopped answering.", "Redis is back after 1.0 s.", "The quota is shared by 3 replicas, before by 2 replicas.",
		}
		if !slices.Equal(texts, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(texts, "\n"), strings.Join(want, "\n"))
		}
		for i := range 200 {
			step(func() { f.status.KeyRefused = i%2 == 0 })
		}
		if n := len(remembered(p)); n != maxEvents {
			t.Errorf("%d events are kept", n)
		}
	})
}

// TestOutage checks what is counted of an outage, and how many there were.
func TestOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake, p *Page) {
		step := func(do func()) { f.change(do); time.Sleep(every) }
		step(func() { f.ended("server_error", 4); f.ended("no_answer", 2) })
		step(func() { f.status.Breaker = gate.BreakerStatus{State: gate.Open, Since: time.Now(), TimesOpened: 1} })
		step(func() { f.status.Breaker.State, f.status.Breaker.TimesOpened = gate.HalfOpen, 1 })
		step(func() { f.status.Breaker.State, f.status.Breaker.TimesOpened = gate.Open, 2 })
		step(func() { f.requests.Refused = map[string]int64{"breaker_open": 5}; f.ended("server_error", 7) })
		v := viewOf(p)
		if want := (Counts{failureCounter("server_error"): 7, failureCounter("no_answer"): 2, refusedOpen: 5}); !maps.Equal(v.Outage, want) || v.Outages != 1 {
			t.Errorf("got %v in %d outages, want %v in one", v.Outage, v.Outages, want)
		}
		var tick tickReport
		if err := json.Unmarshal(p.latest().tick(), &tick); err != nil || tick.Estimated != -1 {
			t.Errorf("a list is expected to wait for %v s during an outage, %v", tick.Estimated, err)
		}
		step(func() { f.status.Breaker.State = gate.Closed })
		step(func() { f.status.Breaker.TimesOpened++ })
		if v := viewOf(p); v.Outage != nil || v.Outages != 2 {
			t.Errorf("got %v in %d outages after them, want nothing in 2", v.Outage, v.Outages)
		}
		time.Sleep(2 * Lately)
		step(func() { f.status.Breaker.State, f.status.Breaker.Since = gate.Open, time.Now() })
		if v := viewOf(p); v.Outage[failureCounter("server_error")] != 0 || v.Outages != 3 {
			t.Errorf("an outage has counts of the one before: %v", v.Outage)
		}
	})
}

// TestLastBadEvent checks when a webhook was last refused or failed.
func TestLastBadEvent(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake, p *Page) {
		count := func(o webhook.Outcome) {
			f.change(func() { f.events = map[webhook.Count]int64{{Outcome: o}: 1} }) // the page reads the old one without a lock
			time.Sleep(every)
		}
		if count(webhook.Applied); !viewOf(p).LastBadEvent.IsZero() {
			t.Error("a good event counts as a bad one")
		}
		count(webhook.Forged)
		at := viewOf(p).Now
		time.Sleep(every)
		if got := viewOf(p).LastBadEvent; !got.Equal(at) {
			t.Errorf("the last bad event is of %v, want %v", got, at)
		}
	})
}

// TestState checks what viewers get, and that those who may not see names get none.
func TestState(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake, p *Page) {
		f.change(func() {
			f.status.Callers.Busiest = []usage.Counts{{Name: "billing", Requests: 3, Lookups: 30, OverLimit: 5}, {Name: "mailer", Requests: 1, Queued: 2}}
			f.status.Callers.Others = usage.Counts{Requests: 4}
			f.totals.Lookups = map[clerkgatev1.ServedFrom]int64{clerkgatev1.ServedFrom_SERVED_FROM_MEMORY: 12}
			waits := &f.requests.Waits[gate.Batch]
			waits.Counts = slices.Clone(waits.Counts) // the page reads the old ones without a lock
			waits.Counts[2] = 10
		})
		time.Sleep(every)
		var state stateReport
		if err := json.Unmarshal(p.latest().state[true](), &state); err != nil {
			t.Fatal(err)
		}
		if len(state.Callers) != 2 || state.Callers[0] != (callerReport{
			Name: "billing", Lookups: 30, Requests: 3, Share: 0.375, OverLimit: 5, Guaranteed: 20, Cap: "1000 lookups per 10 s",
		}) || state.Callers[1] != (callerReport{Name: "mailer", Requests: 1, Share: 0.125, Waiting: 2}) ||
			state.Others.Share != 0.5 || state.Lookups[0] != (countReport{"memory", "", 12, 12}) {
			t.Errorf("%+v", state)
		}
		var tick tickReport
		if err := json.Unmarshal(p.latest().tick(), &tick); err != nil {
			t.Fatal(err)
		}
		if q := tick.Queue[gate.Batch]; q.Served != 10 || q.Half != 0.05 || q.Most != 0.05 {
			t.Errorf("%+v", q)
		}
		less := string(p.latest().state[false]())
		if strings.Contains(less, "billing") || !strings.Contains(less, `"callers":null`) || p.helloOf(false).Settings != nil {
			t.Errorf("%s", less)
		}
		time.Sleep(time.Minute)
		if again := string(p.latest().state[false]()); again != less {
			t.Errorf("the state changes though nothing does:\n%s\n%s", less, again)
		}
	})
}

func BenchmarkSample(b *testing.B) {
	b.ReportAllocs()
	f := newFake()
	for range 100 {
		f.status.Callers.Busiest = append(f.status.Callers.Busiest, usage.Counts{Name: strings.Repeat("x", 64)})
	}
	p := New(f.sources())
	for b.Loop() {
		p.sample()
	}
}

// BenchmarkSampleAndEncode is a second while somebody watches.
func BenchmarkSampleAndEncode(b *testing.B) {
	b.ReportAllocs()
	f := newFake()
	for range 100 {
		f.status.Callers.Busiest = append(f.status.Callers.Busiest, usage.Counts{Name: strings.Repeat("x", 64)})
	}
	p := New(f.sources())
	for b.Loop() {
		p.sample()
		p.latest().tick()
		p.latest().state[true]()
	}
}
