package telemetry

import (
	"cmp"
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/usercache"
	"github.com/clerkgate/clerkgate/internal/webhook"
)

// figures are what the sources said at one scrape.
type figures struct {
	version      string
	gate         gate.Status
	lookups      usercache.Totals
	store        usercache.Stats
	events       map[webhook.Count]int64
	panics       int64
	refusals     map[string]int64 // of callers, by reason
	spansLost    int64
	keyFileFails bool
	unread       map[string]int64
}

// kind is a metric's type, as docs/metrics.md calls it.
type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
)

// metric is a row of the table that both registration and docs/metrics.md come from.
type metric struct {
	name   string
	kind   kind
	labels []string
	help   string
	read   func(*figures, emit)
}

// emit takes the series of a metric, with the values of its labels in their order.
type emit struct {
	kind kind
	desc *prometheus.Desc
	to   chan<- prometheus.Metric
}

// value takes a series of a counter or gauge.
func (e emit) value(v float64, labels ...string) {
	valueType := prometheus.GaugeValue
	if e.kind == counter {
		valueType = prometheus.CounterValue
	}
	e.to <- prometheus.MustNewConstMetric(e.desc, valueType, v, labels...)
}

// spread takes a series of a histogram.
func (e emit) spread(h gate.Histogram, labels ...string) {
	upTo, count := make(map[float64]uint64, len(h.Bounds)), uint64(0)
	for i, bound := range h.Bounds {
		count += h.Counts[i]
		upTo[bound] = count
	}
	e.to <- prometheus.MustNewConstHistogram(e.desc, h.Count(), h.Sum, upTo, labels...)
}

var metrics = []metric{
	{"clerkgate_build_info", gauge, []string{"version", "go_version"},
		"1, with the versions of the service and of Go.",
		func(f *figures, e emit) { e.value(1, f.version, runtime.Version()) }},

	{"clerkgate_quota_limit", gauge, nil,
		"Requests per window that the quota allows.",
		one(func(f *figures) int { return f.gate.Limit })},
	{"clerkgate_quota_window_seconds", gauge, nil,
		"Length of the quota's window.",
		func(f *figures, e emit) { e.value(f.gate.Window.Seconds()) }},
	{"clerkgate_quota_effective_limit", gauge, nil,
		"Permits that may be held at once now; less than the quota allows while others use it or after a 429.",
		one(func(f *figures) int { return f.gate.EffectiveLimit })},
	{"clerkgate_quota_available", gauge, nil,
		"Requests that could be sent at once.",
		one(func(f *figures) int { return f.gate.Available })},
	{"clerkgate_quota_held", gauge, nil,
		"Permits held: for requests under way, and for a window after each.",
		one(func(f *figures) int { return f.gate.Held })},
	{"clerkgate_quota_paused", gauge, nil,
		"1 while a 429 of Clerk's holds the key, else 0.",
		func(f *figures, e emit) { e.value(oneIf(!f.gate.PausedUntil.IsZero())) }},
	{"clerkgate_quota_low_total", counter, nil,
		"Times that less than a tenth of the quota was left, but for a first window in which some is held back (`--first-window`).",
		one(func(f *figures) int64 { return f.gate.Totals.Low })},

	{"clerkgate_upstream_requests_total", counter, []string{"endpoint", "outcome"},
		"Requests to Clerk that were sent and have ended.",
		func(f *figures, e emit) {
			for r, n := range f.gate.Stats.Requests {
				e.value(float64(n), r.Endpoint, r.Outcome)
			}
		}},
	{"clerkgate_upstream_request_duration_seconds", histogram, []string{"endpoint"},
		"How long these took.",
		func(f *figures, e emit) {
			for endpoint, h := range f.gate.Stats.Durations {
				e.spread(h, endpoint)
			}
		}},
	{"clerkgate_upstream_requests_unsent_total", counter, nil,
		"Requests to Clerk that did not leave, since there was no connection or no key. They cost no quota.",
		one(func(f *figures) int64 { return f.gate.Stats.Unsent })},
	{"clerkgate_unread_fields_total", counter, []string{"field"},
		"Values of fields of Clerk's users that could not be read, because of their types.",
		func(f *figures, e emit) {
			for field, n := range f.unread {
				e.value(float64(n), field)
			}
		}},
	{"clerkgate_upstream_requests_in_flight_limit", gauge, nil,
		"How many requests may be at Clerk at once: --max-in-flight, or fewer if Clerk bears fewer.",
		one(func(f *figures) int { return f.gate.InFlightLimit })},
	{"clerkgate_upstream_requests_in_flight", gauge, nil,
		"Requests to Clerk under way.",
		one(func(f *figures) int { return f.gate.InFlight })},
	{"clerkgate_upstream_ids_total", counter, nil,
		"Ids that Clerk has answered in lookups, found or not.",
		one(func(f *figures) int64 { return f.gate.Totals.Lookups })},
	{"clerkgate_batch_users", histogram, nil,
		"Ids in each lookup that was sent and has ended; a full one has 100.",
		func(f *figures, e emit) { e.spread(f.gate.Stats.LookupSizes) }},
	{"clerkgate_rate_limited_total", counter, nil,
		"Answers of Clerk's with status 429.",
		one(func(f *figures) int64 { return f.gate.Totals.RateLimited })},
	{"clerkgate_retries_total", counter, []string{"reason"},
		"Requests to Clerk that failed and were to be tried again, by how they had ended.",
		byReason(func(f gate.Stats) map[string]int64 { return f.Retries })},
	{"clerkgate_refused_total", counter, []string{"reason"},
		"Wants (ids, lists, counts, permits to lend) that were refused.",
		byReason(func(f gate.Stats) map[string]int64 { return f.Refused })},

	{"clerkgate_queue_wants", gauge, []string{"priority"},
		"Wants (ids, lists, counts, permits to lend) that wait, for the quota or for their next try. An id for which several callers wait is one, and interactive if one of them is.",
		byPriority(func(l gate.QueueLevel) float64 { return float64(l.Depth) })},
	{"clerkgate_queue_oldest_seconds", gauge, []string{"priority"},
		"How long who has waited longest at this priority has, whatever Clerk answered meanwhile; 0 if nobody waits.",
		byPriority(func(l gate.QueueLevel) float64 { return l.Oldest.Seconds() })},
	{"clerkgate_queue_wait_seconds", histogram, []string{"priority"},
		"How long wants waited in the queue until their turn came. One that comes back to the queue waits anew; one that leaves or is refused does not count.",
		func(f *figures, e emit) {
			for p, h := range f.gate.Stats.Waits {
				e.spread(h, priorities[p])
			}
		}},
	{"clerkgate_queue_estimated_wait_seconds", gauge, nil,
		"How long an interactive list call that came now would wait.",
		func(f *figures, e emit) { e.value(f.gate.EstimatedWait.Seconds()) }},

	{"clerkgate_key_refused", gauge, nil,
		"1 while Clerk refuses the secret key, by its last word on it, else 0.",
		func(f *figures, e emit) { e.value(oneIf(f.gate.KeyRefused)) }},
	{"clerkgate_key_file_unusable", gauge, nil,
		"1 while the secret key's file can't be read, or holds no key or one of another kind of instance, so that the last one stays in use, else 0.",
		func(f *figures, e emit) { e.value(oneIf(f.keyFileFails)) }},
	{"clerkgate_breaker_state", gauge, []string{"state"},
		"1 for the state of the circuit breaker before Clerk, 0 for the others.",
		func(f *figures, e emit) {
			for state, name := range breakerStates {
				e.value(oneIf(f.gate.Breaker.State == gate.BreakerState(state)), name)
			}
		}},
	{"clerkgate_breaker_opened_total", counter, nil,
		"Times that the breaker has opened.",
		one(func(f *figures) int64 { return f.gate.Breaker.TimesOpened })},

	{"clerkgate_lookups_total", counter, []string{"served_from"},
		"Ids answered, by where the answer came from.",
		func(f *figures, e emit) {
			for _, s := range servedFrom {
				e.value(float64(f.lookups.Lookups[s]), strings.ToLower(strings.TrimPrefix(s.String(), "SERVED_FROM_")))
			}
		}},
	{"clerkgate_lookups_stale_total", counter, nil,
		"Ids answered by copies older than the time to live, since Clerk is away.",
		one(func(f *figures) int64 { return f.lookups.Stale })},

	{"clerkgate_caller_lookups_total", counter, []string{"caller"},
		"Ids that the caller has asked for, wherever they were answered from.",
		byCaller(func(c gate.CallerStatus) float64 { return float64(c.Lookups) })},
	{"clerkgate_caller_upstream_requests_total", counter, []string{"caller"},
		"The caller's share of the requests to Clerk: a list or a count is 1, an id its part of the request that carried it, and a permit lent that was used 1, once its lease has ended.",
		byCaller(func(c gate.CallerStatus) float64 { return c.Requests })},
	{"clerkgate_caller_refused_total", counter, []string{"caller"},
		"Wants of the caller's that were refused.",
		byCaller(func(c gate.CallerStatus) float64 { return float64(c.Refused) })},

	{"clerkgate_cache_entries", gauge, nil,
		"Entries in memory: users, tombstones, and ids of nobody.",
		one(func(f *figures) int { return f.store.Entries })},
	{"clerkgate_cache_bytes", gauge, nil,
		"Memory that they take, as it is reckoned against the limit.",
		one(func(f *figures) int64 { return f.store.Bytes })},
	{"clerkgate_cache_limit_bytes", gauge, nil,
		"Memory that they may take.",
		one(func(f *figures) int64 { return f.store.MaxBytes })},
	{"clerkgate_cache_evictions_total", counter, nil,
		"Entries that left memory because they were too old or there was no room.",
		one(func(f *figures) int64 { return f.store.Evictions })},

	{"clerkgate_redis_connected", gauge, nil,
		"1 while Redis is connected, else 0.",
		redis(func(r *usercache.RedisStats, e emit) { e.value(oneIf(r.Connected)) })},
	{"clerkgate_redis_calls_total", counter, nil,
		"Calls to Redis, those that failed included.",
		redis(func(r *usercache.RedisStats, e emit) { e.value(float64(r.Calls)) })},
	{"clerkgate_redis_call_seconds_total", counter, nil,
		"Time that these took.",
		redis(func(r *usercache.RedisStats, e emit) { e.value(r.Latency.Seconds()) })},
	{"clerkgate_redis_errors_total", counter, []string{"kind"},
		"Calls to Redis that failed or took too long, of the cache and of the shared quota, and failures to connect, by kind: OOM, WRONGPASS, NOPERM, READONLY, other (another error of Redis's), timeout, no_connection.",
		redis(func(r *usercache.RedisStats, e emit) {
			for _, kind := range redislink.Kinds() {
				e.value(float64(r.Errors[kind]), string(kind))
			}
		})},
	{"clerkgate_redis_refused_total", counter, nil,
		"Calls to Redis that were not tried, since it is away.",
		redis(func(r *usercache.RedisStats, e emit) { e.value(float64(r.Refused)) })},
	{"clerkgate_redis_reads_total", counter, []string{"result"},
		"Ids looked for in Redis.",
		redis(func(r *usercache.RedisStats, e emit) {
			e.value(float64(r.Hits), "hit")
			e.value(float64(r.Misses), "miss")
		})},
	{"clerkgate_redis_lost_writes_total", counter, nil,
		"Copies that were not written to Redis because too many waited.",
		redis(func(r *usercache.RedisStats, e emit) { e.value(float64(r.Lost)) })},

	{"clerkgate_webhook_events_total", counter, []string{"type", "outcome"},
		"Webhooks received, by the type of the event and what became of it.",
		func(f *figures, e emit) {
			for _, c := range webhook.Counts() {
				e.value(float64(f.events[c]), string(c.Kind), string(c.Outcome))
			}
		}},

	{"clerkgate_quota_replicas", gauge, nil,
		"Replicas that share the quota, this one included, as it last heard.",
		shared(func(s *gate.SharedStatus, e emit) { e.value(float64(s.Replicas)) })},
	{"clerkgate_quota_decider", gauge, []string{"decider"},
		"1 for who decides what may be sent, 0 for the others: redis, or this replica by itself, learning or fallback.",
		shared(func(s *gate.SharedStatus, e emit) {
			for decider, name := range deciders {
				e.value(oneIf(s.Decider == quota.Decider(decider)), name)
			}
		})},
	{"clerkgate_quota_exchanges_total", counter, nil,
		"Exchanges with the state in Redis that replicas share, those that failed included.",
		shared(func(s *gate.SharedStatus, e emit) { e.value(float64(s.Exchanges)) })},
	{"clerkgate_quota_exchange_errors_total", counter, nil,
		"Exchanges that had no answer in time.",
		shared(func(s *gate.SharedStatus, e emit) { e.value(float64(s.Failures)) })},
	{"clerkgate_quota_exchange_seconds_total", counter, nil,
		"Time that the exchanges took.",
		shared(func(s *gate.SharedStatus, e emit) { e.value(s.Latency.Seconds()) })},

	{"clerkgate_callers_refused_total", counter, []string{"reason"},
		"Calls and HTTP requests whose callers were refused: not_allowed, a known caller asked for what it may not have; the other reasons, the caller is not known.",
		func(f *figures, e emit) {
			for reason, n := range f.refusals {
				e.value(float64(n), reason)
			}
		}},
	{"clerkgate_panics_total", counter, nil,
		"Calls that ended in a panic.",
		one(func(f *figures) int64 { return f.panics })},
	{"clerkgate_trace_spans_lost_total", counter, nil,
		"Spans that could not be sent: more ended than the collector took, or it failed. 0 without tracing.",
		one(func(f *figures) int64 { return f.spansLost })},
}

var (
	priorities    = [...]string{gate.Interactive: "interactive", gate.Batch: "batch"}
	breakerStates = [...]string{gate.Closed: "closed", gate.HalfOpen: "half_open", gate.Open: "open"}
	deciders      = [...]string{quota.DecidesState: "redis", quota.DecidesLearning: "learning", quota.DecidesFallback: "fallback"}
	servedFrom    = []clerkgatev1.ServedFrom{
		clerkgatev1.ServedFrom_SERVED_FROM_UPSTREAM, clerkgatev1.ServedFrom_SERVED_FROM_MEMORY,
		clerkgatev1.ServedFrom_SERVED_FROM_REDIS,
	}
)

// one reads a metric without labels.
func one[N int | int64](read func(*figures) N) func(*figures, emit) {
	return func(f *figures, e emit) { e.value(float64(read(f))) }
}

// byPriority reads a metric of each level of the queue.
func byPriority(read func(gate.QueueLevel) float64) func(*figures, emit) {
	return func(f *figures, e emit) {
		for p, l := range f.gate.Queue {
			e.value(read(l), priorities[p])
		}
	}
}

// byReason reads a metric of what did not go as wanted.
func byReason(read func(gate.Stats) map[string]int64) func(*figures, emit) {
	return func(f *figures, e emit) {
		for reason, n := range read(f.gate.Stats) {
			e.value(float64(n), reason)
		}
	}
}

// What stands in the place of a caller's name. No caller can be named so.
const (
	unnamed      = "(unnamed)"
	laterCallers = "(others)"
)

// byCaller reads a metric of callers.
func byCaller(read func(gate.CallerStatus) float64) func(*figures, emit) {
	return func(f *figures, e emit) {
		for _, c := range f.gate.FirstCallers {
			e.value(read(c), cmp.Or(c.Name, unnamed))
		}
		e.value(read(f.gate.LaterCallers), laterCallers)
	}
}

// redis reads a metric that there is only with Redis.
func redis(read func(*usercache.RedisStats, emit)) func(*figures, emit) {
	return func(f *figures, e emit) {
		if f.store.Redis != nil {
			read(f.store.Redis, e)
		}
	}
}

// shared reads a metric that there is only where the quota is shared.
func shared(read func(*gate.SharedStatus, emit)) func(*figures, emit) {
	return func(f *figures, e emit) {
		if f.gate.Shared != nil {
			read(f.gate.Shared, e)
		}
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
