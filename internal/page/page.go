package page

import (
	"context"
	"sync"
	"time"

	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/telemetry"
	"github.com/clerkgate/clerkgate/internal/usercache"
	"github.com/clerkgate/clerkgate/internal/webhook"
	"github.com/clerkgate/clerkgate/internal/words"
)

// Limits is a caller's guarantee and its limits in the callers file.
type Limits struct {
	Guaranteed int    // of all requests to Clerk, in percent; 0: nothing
	Cap        string // in words; empty: none
}

// Sources are read by the page, once a second and from one goroutine. Gate, Requests,
// Cache and Store are required.
type Sources struct {
	Version string // of the build
	Gate    interface {
		Status() gate.Status
		Health() gate.Health
	}
	Requests interface{ Stats() telemetry.GateStats }
	Cache    interface{ Totals() usercache.Totals }
	Store    interface{ Stats() usercache.Stats }
	// Webhooks counts events. Nil: none are received.
	Webhooks interface {
		Stats() map[webhook.Count]int64
		LastEvent() time.Time
	}
	// Phase returns the phase of the server. Default: Serving.
	Phase func() Phase
	// Refusals returns the number of calls refused because of their callers, by reason.
	Refusals func() map[string]int64
	// SpansLost returns the number of lost spans. Nil: none are sent.
	SpansLost func() int64
	// KeyFile returns the error that keeps the key in the secret key's file from being used.
	// Nil: there is no such file.
	KeyFile func() error
	// Files returns the state of the callers file and of the TLS files. Default: there are none.
	Files func() telemetry.Files
	// KeyPlace names the place for the secret key, after the word "into".
	KeyPlace string
	// MaxInFlight is the configured limit of requests in flight.
	MaxInFlight int
	// Settings are those in effect, without secrets.
	Settings []Setting
	// Limits returns a caller's guarantee and its limits in the callers file.
	// Nil: there is no such file.
	Limits func(name string) Limits
}

// Setting is a setting in effect.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"` // empty: none
	From  string `json:"from"`
}

// Page samples its sources every second and serves the page. New returns one; Run must run
// while it serves. Its methods are safe for concurrent use.
type Page struct {
	sources Sources
	started time.Time

	mu      sync.Mutex
	history *history       // guarded by mu
	last    *View          // nil before the first sample; guarded by mu
	shown   *shownMessages // for viewers; nil before the first sample; guarded by mu
	viewers int            // guarded by mu
}

// New makes a Page. It starts nothing.
func New(s Sources) *Page {
	if s.Phase == nil {
		s.Phase = func() Phase { return Serving }
	}
	if s.Files == nil {
		s.Files = func() telemetry.Files { return telemetry.Files{} }
	}
	return &Page{sources: s, history: newHistory()}
}

// Run samples the sources every second until ctx ends. It may be called once.
func (p *Page) Run(ctx context.Context) {
	p.sample()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.sample()
		case <-ctx.Done():
			return
		}
	}
}

// read reads all sources.
func (p *Page) read() *reading {
	s := &p.sources
	r := &reading{gate: s.Gate.Status(), requests: s.Requests.Stats(), lookups: s.Cache.Totals(), store: s.Store.Stats()}
	if s.Webhooks != nil {
		r.webhooks = s.Webhooks.Stats()
	}
	if s.Refusals != nil {
		r.refusals = s.Refusals()
	}
	if s.SpansLost != nil {
		r.spansLost = s.SpansLost()
	}
	return r
}

// sample adds a second to the history and wakes the viewers.
func (p *Page) sample() {
	r, now := p.read(), time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started.IsZero() {
		p.started = now
	}
	v := p.view(r, now)
	p.history.add(p.sampleOf(v), r)
	at := now.UnixMilli()
	v.Total, v.Recent, v.Lately = byName(p.history.last), byName(p.history.recent), byName(p.history.lately)
	v.MostReplicas = p.history.mostReplicas()
	newest := &p.history.samples[p.history.index(0)]
	newest.used = p.used(v, at)
	if v.Lately[rateLimitedCount] > 0 && p.history.within(rateLimitedCount, every, at) > 0 {
		v.LimitedAt = now
		newest.marks |= markLimited
	}
	if before := p.last; before != nil && badEvents(v.Total) > badEvents(before.Total) {
		v.LastBadEvent = now
	}
	if !v.OutSince.IsZero() {
		v.Outage = Counts{}
		for _, name := range []string{failureCounter("no_answer"), failureCounter("server_error"), refusedOpen} {
			v.Outage[name] = p.history.within(name, now.Sub(v.OutSince)+Lately, at)
		}
	}
	p.noteChanges(v)
	p.last = v
	p.show(v)
}

// view returns the state at now, without counts.
func (p *Page) view(r *reading, now time.Time) *View {
	s, health := &p.sources, p.sources.Gate.Health()
	v := &View{
		Now: now, Started: p.started, Phase: s.Phase(), AskingKey: health.AskingKey,
		KeyPlace: s.KeyPlace, KeyFileFails: s.KeyFile != nil && s.KeyFile() != nil, Files: s.Files(),
		Gate: r.gate, Requests: r.requests, MaxInFlight: s.MaxInFlight, Lookups: r.lookups, Store: r.store,
		TakesWebhooks: s.Webhooks != nil, Webhooks: r.webhooks, KeySince: now,
	}
	if s.Webhooks != nil {
		v.LastEvent = s.Webhooks.LastEvent()
	}
	if v.Gate.Breaker.State != gate.Closed {
		v.OutSince = v.Gate.Breaker.Since
	}
	if redisAway(v) {
		v.AwaySince = now
	}
	if before := p.last; before != nil {
		v.LimitedAt, v.LastBadEvent, v.Outages = before.LimitedAt, before.LastBadEvent, before.Outages
		if keyState(before) == keyState(v) {
			v.KeySince = before.KeySince
		}
		if !before.OutSince.IsZero() && !v.OutSince.IsZero() {
			v.OutSince = before.OutSince
		}
		if !before.AwaySince.IsZero() && !v.AwaySince.IsZero() {
			v.AwaySince = before.AwaySince
		}
	}
	return v
}

// sampleOf returns a view as a sample for the plots.
func (p *Page) sampleOf(v *View) sample {
	g := &v.Gate
	s := sample{
		at: v.Now.UnixMilli(), held: int32(g.Held), limit: int32(v.capacity()), waiting: int32(v.waiting()),
		inFlight: int32(g.InFlight), inFlightLimit: int32(g.InFlightLimit),
	}
	if g.Burst > 0 { // a bucket holds no permits; the missing tokens count instead
		s.held = int32(max(0, v.capacity()-g.Available))
	}
	if g.Shared != nil {
		s.replicas = int32(g.Shared.Replicas)
	}
	for _, m := range []struct {
		holds bool
		mark  uint8
	}{
		{!g.PausedUntil.IsZero(), markPaused}, {g.Breaker.State != gate.Closed, markOutage},
		{g.KeyRefused, markKey}, {redisAway(v), markRedis},
	} {
		if m.holds {
			s.marks |= m.mark
		}
	}
	return s
}

// used returns the number of requests to Clerk that have ended in the last window. For a window
// below a second it is the mean over the last second, for one above ten minutes the number
// of the last ten minutes.
func (p *Page) used(v *View, at int64) int32 {
	window := v.Gate.Window
	if window <= 0 {
		return 0
	}
	n := p.history.within(requestsCount, max(window, every), at)
	if window < every {
		n = int64(float64(n) * window.Seconds() / every.Seconds())
	}
	return int32(n)
}

// keyState returns the state of the key in words.
func keyState(v *View) string {
	switch {
	case v.Gate.KeyRefused:
		return "refused"
	case v.Gate.KeyTaken:
		return "accepted"
	}
	return "not tried yet"
}

// keyEvents describe that the key has come into a state of keyState.
var keyEvents = map[string]string{
	"accepted":      "Clerk accepted the secret key.",
	"refused":       "Clerk refused the secret key.",
	"not tried yet": "The secret key is a new one, which has not been tried yet.",
}

// noteChanges adds an event to the history for each difference from the last view, and
// counts outages.
func (p *Page) noteChanges(v *View) {
	note := func(kind, text string) { p.history.note(v.Now, kind, text) }
	before := p.last
	if before == nil {
		note("server", "The server started.")
		return
	}
	if v.Phase != before.Phase && v.Phase == Stopping {
		note("server", "The server began to stop.")
	}
	isOut, wasOut := !v.OutSince.IsZero(), !before.OutSince.IsZero()
	switch {
	case isOut && !wasOut:
		v.Outages++
		note("clerk", "Clerk failed: the breaker opened.")
	case !isOut && wasOut:
		note("clerk", "Clerk answered again after "+words.Rounded(v.Now.Sub(before.OutSince))+": the breaker closed.")
	case !isOut && v.Gate.Breaker.TimesOpened > before.Gate.Breaker.TimesOpened:
		v.Outages++
		note("clerk", "Clerk failed for a moment: the breaker opened and closed.")
	}
	if now := keyState(v); now != keyState(before) {
		note("key", keyEvents[now])
	}
	if until := v.Gate.PausedUntil; !until.IsZero() && until.Sub(before.Gate.PausedUntil) > every {
		note("quota", "Clerk answered 429: nothing is sent to Clerk until "+v.clock(until)+".")
	}
	isAway, wasAway := !v.AwaySince.IsZero(), !before.AwaySince.IsZero()
	switch {
	case isAway && !wasAway:
		if _, answer := v.redisRefuses(); answer != "" {
			note("redis", "Redis answers "+answer+".")
		} else {
			note("redis", "Redis stopped answering.")
		}
	case !isAway && wasAway && !before.AwaySince.Equal(v.Started): // at the start Redis is still being connected
		note("redis", "Redis is back after "+words.Rounded(v.Now.Sub(before.AwaySince))+".")
	}
	if is, was := replicasOf(v), replicasOf(before); is != was && was > 0 && is > 0 {
		note("replicas", "The quota is shared by "+words.Count(is, "replica", "replicas")+", before by "+words.Count(was, "replica", "replicas")+".")
	}
}

func replicasOf(v *View) int {
	if v.Gate.Shared == nil || v.Gate.Shared.Decider != quota.DecidesState {
		return 0
	}
	return v.Gate.Shared.Replicas
}
