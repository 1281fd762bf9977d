package page

import (
	"time"

	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/usage"
)

// tickReport is sent to viewers every second. Times are Unix ms, durations seconds.
type tickReport struct {
	Now        int64          `json:"now"`
	Headline   headlineReport `json:"headline"`
	Conditions []Advice       `json:"conditions"`
	Quota      quotaReport    `json:"quota"`
	QuotaNote  string         `json:"quota_note"`
	Queue      []queueReport  `json:"queue"`
	Estimated  float64        `json:"estimated_wait"` // -1: lists are refused at once
	Sample     []int64        `json:"sample"`         // as seriesOf
}

type headlineReport struct {
	Kind  string `json:"kind"`
	Level string `json:"level"`
	Text  string `json:"text"`
}

type quotaReport struct {
	Limit         int     `json:"limit"`
	Window        float64 `json:"window"`
	Burst         int     `json:"burst"`
	Capacity      int     `json:"capacity"`
	Available     int     `json:"available"`
	Held          int     `json:"held"`
	Leased        int     `json:"leased"`
	InFlight      int     `json:"in_flight"`
	InFlightLimit int     `json:"in_flight_limit"`
	MaxInFlight   int     `json:"max_in_flight"`
	PausedUntil   int64   `json:"paused_until"` // 0: not paused
}

type queueReport struct {
	Priority string  `json:"priority"`
	Depth    int     `json:"depth"`
	Oldest   float64 `json:"oldest"`
	Served   int64   `json:"served"` // in the last ten minutes
	Half     float64 `json:"half"`   // half of these waited no longer; -1: more than is measured
	Most     float64 `json:"most"`   // ... and 99 % of them
}

// stateReport is the rest, which viewers get when it has changed. Nothing in it changes by
// the passing of time alone.
type stateReport struct {
	Breaker  breakerReport  `json:"breaker"`
	Key      keyReport      `json:"key"`
	Upstream upstreamReport `json:"upstream"`
	Lookups  []countReport  `json:"lookups"`
	Stale    countReport    `json:"stale"`
	Requests requestsReport `json:"requests"`
	Failures []countReport  `json:"failures"`
	Refusals []countReport  `json:"refusals"`
	Cache    cacheReport    `json:"cache"`
	Redis    *redisReport   `json:"redis"`    // null: there is none
	Shared   *sharedReport  `json:"shared"`   // null: the quota is not shared
	Webhooks *webhookReport `json:"webhooks"` // null: none are received
	Events   []eventReport  `json:"events"`
	Callers  []callerReport `json:"callers"` // null: this viewer may not see them
	Others   *callerReport  `json:"others"`  // null: there are none
}

type breakerReport struct {
	State   string `json:"state"`
	Outages int    `json:"outages"` // since the start
}

type keyReport struct {
	State     string `json:"state"`
	Since     int64  `json:"since"`
	FileFails bool   `json:"file_fails"`
}

// upstreamReport has the values of Clerk's last headers.
type upstreamReport struct {
	Limit     int   `json:"limit"` // 0: there were none
	Remaining int   `json:"remaining"`
	Observed  int64 `json:"observed"`
}

// countReport is a number with its name, in the last ten minutes and since the start.
type countReport struct {
	Name   string `json:"name"`
	Text   string `json:"text,omitempty"`
	Recent int64  `json:"recent"`
	Total  int64  `json:"total"`
}

type requestsReport struct {
	Count             countReport `json:"count"`
	RateLimited       countReport `json:"rate_limited"`
	Retries           countReport `json:"retries"`
	UsersPerRequest   float64     `json:"users_per_request"` // of the last ten minutes; 0: none
	UsersPerRequestIn float64     `json:"users_per_request_total"`
}

type cacheReport struct {
	Entries  int         `json:"entries"`
	Bytes    int64       `json:"bytes"`
	MaxBytes int64       `json:"max_bytes"`
	Evicted  countReport `json:"evicted"`
}

type redisReport struct {
	Connected bool        `json:"connected"`
	Answers   string      `json:"answers"`    // what it answers, if that is only errors
	AwaySince int64       `json:"away_since"` // 0: it is not
	Errors    countReport `json:"errors"`
}

type sharedReport struct {
	Decider   string `json:"decider"`
	Replicas  int    `json:"replicas"`
	Most      int    `json:"most"` // in the last ten minutes
	Allowance int    `json:"allowance"`
}

type webhookReport struct {
	Last     int64         `json:"last"`     // the last good one; 0: none
	LastBad  int64         `json:"last_bad"` // 0: none
	Outcomes []countReport `json:"outcomes"`
}

type eventReport struct {
	At   int64  `json:"at"`
	Kind string `json:"kind"`
	Text string `json:"text"`
}

type callerReport struct {
	Name       string  `json:"name"`
	Lookups    int64   `json:"lookups"`
	Requests   float64 `json:"requests"` // to Clerk
	Share      float64 `json:"share"`    // of all requests to Clerk, 0 to 1
	Waiting    int     `json:"waiting"`
	Refused    int64   `json:"refused"`
	OverLimit  int64   `json:"over_limit"` // refused because of its cap; not in refused
	Guaranteed int     `json:"guaranteed"` // of all requests to Clerk, in percent; 0: nothing
	Cap        string  `json:"cap"`        // in words; empty: none
}

// helloReport is sent to viewers first.
type helloReport struct {
	Build    string    `json:"build"` // of the assets: if it differs, the page must be reloaded
	Version  string    `json:"version"`
	Started  int64     `json:"started"`
	History  [][]int64 `json:"history"`  // samples, the oldest first
	Settings []Setting `json:"settings"` // null: this viewer may not see them
}

var breakerNames = map[gate.BreakerState]string{gate.Closed: "closed", gate.HalfOpen: "half open", gate.Open: "open"}

var deciderNames = map[quota.Decider]string{
	quota.DecidesState: "Redis", quota.DecidesLearning: "each replica for itself",
	quota.DecidesFallback: "this replica alone, without Redis",
}

// seriesOf returns a sample as numbers, in the order that the browser expects.
func seriesOf(s *sample) []int64 {
	return []int64{
		s.at, int64(s.used), int64(s.held), int64(s.limit), int64(s.waiting), int64(s.inFlight), int64(s.inFlightLimit), int64(s.marks),
	}
}

func tickOf(v *View, newest sample) *tickReport {
	g, head := &v.Gate, Tell(v)
	t := &tickReport{
		Now: millis(v.Now), Headline: headlineReport(head), Conditions: Advise(v), QuotaNote: quotaNote(v),
		Quota: quotaReport{
			Limit: g.Limit, Window: g.Window.Seconds(), Burst: g.Burst, Capacity: v.capacity(), Available: g.Available,
			Held: g.Held, Leased: g.Leased, InFlight: g.InFlight, InFlightLimit: g.InFlightLimit, MaxInFlight: v.MaxInFlight,
			PausedUntil: millis(g.PausedUntil),
		},
		Estimated: g.EstimatedWait.Seconds(), Sample: seriesOf(&newest),
	}
	if g.KeyRefused || g.Breaker.State != gate.Closed {
		t.Estimated = -1
	}
	for p, name := range []string{gate.Interactive: "interactive", gate.Batch: "batch"} {
		q := queueReport{Priority: name, Depth: g.Queue[p].Depth, Oldest: g.Queue[p].Oldest.Seconds()}
		q.Served, q.Half, q.Most = waitsOf(v, gate.Priority(p))
		t.Queue = append(t.Queue, q)
	}
	return t
}

// waitsOf returns the number of wants that were sent in the last ten minutes, and upper bounds
// of the waits of half and of 99 % of them.
func waitsOf(v *View, p gate.Priority) (served int64, half, most float64) {
	bounds := v.Requests.Waits[p].Bounds
	of := func(i int) int64 { return v.Recent[waitCounter(p, i)] }
	for i := range waitsByBucket[p] {
		served += of(i)
	}
	within := func(share float64) float64 {
		var n int64
		for i, bound := range bounds {
			if n += of(i); float64(n) >= share*float64(served) {
				return bound
			}
		}
		return -1
	}
	if served == 0 {
		return 0, 0, 0
	}
	return served, within(0.5), within(0.99)
}

// stateOf returns the report of a view, with the callers if names is set.
func (p *Page) stateOf(v *View, events []event, names bool) *stateReport {
	g := &v.Gate
	s := &stateReport{
		Breaker: breakerReport{breakerNames[g.Breaker.State], v.Outages},
		Key:     keyReport{keyState(v), millis(v.KeySince), v.KeyFileFails},
		Stale:   v.count(staleCount, "older than their time to live, since Clerk is away"),
		Requests: requestsReport{
			Count: v.count(requestsCount, ""), RateLimited: v.count(rateLimitedCount, ""), Retries: v.count(retriesCount, ""),
			UsersPerRequestIn: v.Requests.Totals().UsersPerRequest,
		},
		Cache: cacheReport{v.Store.Entries, v.Store.Bytes, v.Store.MaxBytes, v.count(evictedCount, "")},
	}
	if u := g.Upstream; u != nil {
		s.Upstream = upstreamReport{u.Limit, u.Remaining, millis(u.Observed)}
	}
	if n := v.Recent[batchesCount]; n > 0 {
		s.Requests.UsersPerRequest = float64(v.Recent[batchUsersCount]) / float64(n)
	}
	for _, from := range places {
		s.Lookups = append(s.Lookups, v.named(lookupCounter(from), sourceName(from), ""))
	}
	for _, f := range failures {
		s.Failures = append(s.Failures, v.named(failureCounter(f.name), f.name, f.text))
	}
	for _, f := range refusals {
		s.Refusals = append(s.Refusals, v.named(refusalCounter(f.name), f.name, f.text))
	}
	s.Refusals = append(s.Refusals,
		v.named(deniedCount, "not_allowed", "a known caller may not do this"),
		v.named(unknownCount, "unknown_caller", "the caller is not known"))
	if r := v.Store.Redis; r != nil {
		_, answer := v.redisRefuses()
		s.Redis = &redisReport{
			r.Connected, answer, millis(v.AwaySince), countReport{Name: "redis_errors", Recent: redisErrors(v.Recent), Total: redisErrors(v.Total)},
		}
	}
	if sh := g.Shared; sh != nil {
		s.Shared = &sharedReport{deciderNames[sh.Decider], sh.Replicas, v.MostReplicas, sh.Allowance}
	}
	if v.TakesWebhooks {
		s.Webhooks = &webhookReport{Last: millis(v.LastEvent), LastBad: millis(v.LastBadEvent)}
		for _, o := range outcomes {
			s.Webhooks.Outcomes = append(s.Webhooks.Outcomes, v.named(webhookCounter(o.outcome), string(o.outcome), o.text))
		}
	}
	for _, e := range events {
		s.Events = append(s.Events, eventReport{millis(e.at), e.kind, e.text})
	}
	if names {
		s.Callers, s.Others = p.callersOf(v)
	}
	return s
}

// callersOf returns the callers, as GetUsage does.
func (p *Page) callersOf(v *View) (all []callerReport, others *callerReport) {
	whole := v.Gate.Callers.Others.Requests
	for _, c := range v.Gate.Callers.Busiest {
		whole += c.Requests
	}
	report := func(c usage.Counts) callerReport {
		r := callerReport{Name: c.Name, Lookups: c.Lookups, Requests: c.Requests, Waiting: c.Queued, Refused: c.Refused, OverLimit: c.OverLimit}
		if whole > 0 {
			r.Share = c.Requests / whole
		}
		return r
	}
	all = []callerReport{}
	for _, c := range v.Gate.Callers.Busiest {
		r := report(c)
		if p.sources.Limits != nil {
			l := p.sources.Limits(c.Name)
			r.Guaranteed, r.Cap = l.Guaranteed, l.Cap
		}
		all = append(all, r)
	}
	if v.Gate.Callers.Others != (usage.Counts{}) {
		r := report(v.Gate.Callers.Others)
		others = &r
	}
	return all, others
}

// helloOf returns the first report for a viewer, with the settings if names is set.
func (p *Page) helloOf(names bool) *helloReport {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &helloReport{Build: build, Version: p.sources.Version, Started: millis(p.started), History: [][]int64{}}
	for ago := p.history.count - 1; ago >= 0; ago-- {
		h.History = append(h.History, seriesOf(&p.history.samples[p.history.index(ago)]))
	}
	if names {
		h.Settings = p.sources.Settings
	}
	return h
}

func (v *View) count(counter, text string) countReport { return v.named(counter, counter, text) }

func (v *View) named(counter, name, text string) countReport {
	return countReport{name, text, v.Recent[counter], v.Total[counter]}
}

// millis returns Unix milliseconds, 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
