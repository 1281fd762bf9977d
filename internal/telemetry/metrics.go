package telemetry

import (
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/usage"
	"github.com/clerkgate/clerkgate/internal/usercache"
	"github.com/clerkgate/clerkgate/internal/webhook"
)

// snapshot holds the values of the sources at one scrape.
type snapshot struct {
	version            string
	gate               gate.Status
	requests           GateStats
	lookups            usercache.Totals
	store              usercache.Stats
	events             map[webhook.Count]int64
	panics             int64
	refusals           map[string]int64 // of callers, by reason
	refusedConnections map[RefusedConnection]int64
	refusedCalls       map[string]int64
	spansLost          int64
	keyFileFails       bool
	files              Files
	unread             map[string]int64
	maxInFlight        int
	hasWebhooks        bool
}

// kind is the type of a metric, as in docs/metrics.md.
type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
)

// metric is one row of the table from which metrics are registered and docs/metrics.md is
// generated.
type metric struct {
	name   string
	kind   kind
	labels []string
	help   string
	read   func(*snapshot, emit)
}

// emit sends the series of one metric to Prometheus. Label values are in the order of
// metric.labels.
type emit struct {
	kind kind
	desc *prometheus.Desc
	to   chan<- prometheus.Metric
}

// value sends a series of a counter or gauge.
func (e emit) value(v float64, labels ...string) {
	valueType := prometheus.GaugeValue
	if e.kind == counter {
		valueType = prometheus.CounterValue
	}
	e.to <- prometheus.MustNewConstMetric(e.desc, valueType, v, labels...)
}

// histogram sends a series of a histogram.
func (e emit) histogram(h Histogram, labels ...string) {
	upTo, count := make(map[float64]uint64, len(h.Bounds)), uint64(0)
	for i, bound := range h.Bounds {
		count += h.Counts[i]
		upTo[bound] = count
	}
	e.to <- prometheus.MustNewConstHistogram(e.desc, h.Count(), h.Sum, upTo, labels...)
}

var metrics = []metric{
	{"clerkgate_build_info", gauge, []string{"version", "go_version"},
		"Always 1; the labels have the versions of clerkgate and Go.",
		func(f *snapshot, e emit) { e.value(1, f.version, runtime.Version()) }},

	{"clerkgate_quota_limit", gauge, nil,
		"Requests per window that the quota allows.",
		one(func(f *snapshot) int { return f.gate.Limit })},
	{"clerkgate_quota_window_seconds", gauge, nil,
		"Length of the quota's window.",
		func(f *snapshot, e emit) { e.value(f.gate.Window.Seconds()) }},
	{"clerkgate_quota_effective_limit", gauge, nil,
		"Permits that may be held at once now; fewer than the quota allows while others use it or after a 429.",
		one(func(f *snapshot) int { return f.gate.EffectiveLimit })},
	{"clerkgate_quota_available", gauge, nil,
		"Requests that could be sent at once now.",
		one(func(f *snapshot) int { return f.gate.Available })},
	{"clerkgate_quota_held", gauge, nil,
		"Permits held: for requests in flight, and for a window after each.",
		one(func(f *snapshot) int { return f.gate.Held })},
	{"clerkgate_quota_paused", gauge, nil,
		"1 while a 429 pauses the key, else 0.",
		func(f *snapshot, e emit) { e.value(oneIf(!f.gate.PausedUntil.IsZero())) }},
	{"clerkgate_quota_low_total", counter, nil,
		"How often less than a tenth of the quota was left, except in a first window that is held back (`--first-window`).",
		one(func(f *snapshot) int64 { return f.requests.Low })},

	{"clerkgate_upstream_requests_total", counter, []string{"endpoint", "outcome"},
		"Requests to Clerk that were sent and have ended.",
		func(f *snapshot, e emit) {
			for r, n := range f.requests.Requests {
				e.value(float64(n), r.Endpoint, r.Outcome)
			}
		}},
	{"clerkgate_upstream_request_duration_seconds", histogram, []string{"endpoint"},
		"Duration of these requests.",
		func(f *snapshot, e emit) {
			for endpoint, h := range f.requests.Durations {
				e.histogram(h, endpoint)
			}
		}},
	{"clerkgate_upstream_requests_unsent_total", counter, nil,
		"Requests to Clerk that were not sent, because there was no connection or no key. They use no quota.",
		one(func(f *snapshot) int64 { return f.requests.Unsent })},
	{"clerkgate_unread_fields_total", counter, []string{"field"},
		"Values in Clerk's users that could not be read because of their types, by field.",
		func(f *snapshot, e emit) {
			for field, n := range f.unread {
				e.value(float64(n), field)
			}
		}},
	{"clerkgate_upstream_requests_in_flight_limit", gauge, nil,
		"Maximum of concurrent requests to Clerk: --max-in-flight, or fewer while Clerk accepts fewer.",
		one(func(f *snapshot) int { return f.gate.InFlightLimit })},
	{"clerkgate_upstream_requests_in_flight_max", gauge, nil,
		"Maximum that --max-in-flight allows.",
		one(func(f *snapshot) int { return f.maxInFlight })},
	{"clerkgate_upstream_requests_in_flight", gauge, nil,
		"Requests to Clerk in flight.",
		one(func(f *snapshot) int { return f.gate.InFlight })},
	{"clerkgate_upstream_ids_total", counter, nil,
		"Ids in lookups that Clerk has answered, found or not.",
		one(func(f *snapshot) int64 { return f.requests.Lookups })},
	{"clerkgate_batch_users", histogram, nil,
		"Ids per lookup request that was sent and has ended; at most 100.",
		func(f *snapshot, e emit) { e.histogram(f.requests.LookupSizes) }},
	{"clerkgate_rate_limited_total", counter, nil,
		"Answers of Clerk with status 429.",
		one(func(f *snapshot) int64 { return f.requests.Totals().RateLimited })},
	{"clerkgate_retries_total", counter, []string{"reason"},
		"Requests to Clerk that failed and were retried, by outcome.",
		byReason(func(s GateStats) map[string]int64 { return s.Retries })},
	{"clerkgate_refused_total", counter, []string{"reason"},
		"Wants (ids, lists, counts, leases) that were refused.",
		byReason(func(s GateStats) map[string]int64 { return s.Refused })},

	{"clerkgate_queue_wants", gauge, []string{"priority"},
		"Wants (ids, lists, counts, leases) that wait, for the quota or for a retry. An id for which several callers wait is one want, and interactive if one of them is.",
		byPriority(func(l gate.QueueLevel) float64 { return float64(l.Depth) })},
	{"clerkgate_queue_oldest_seconds", gauge, []string{"priority"},
		"Age of the oldest waiting want, retries included; 0 if none waits.",
		byPriority(func(l gate.QueueLevel) float64 { return l.Oldest.Seconds() })},
	{"clerkgate_queue_wait_seconds", histogram, []string{"priority"},
		"Time that wants waited in the queue until their turn. A want that returns to the queue counts again; one that leaves or is refused does not count.",
		func(f *snapshot, e emit) {
			for p, h := range f.requests.Waits {
				e.histogram(h, priorities[p])
			}
		}},
	{"clerkgate_queue_estimated_wait_seconds", gauge, nil,
		"Estimated wait of an interactive list call that arrives now.",
		func(f *snapshot, e emit) { e.value(f.gate.EstimatedWait.Seconds()) }},

	{"clerkgate_key_refused", gauge, nil,
		"1 while Clerk rejects the secret key, by its last answer about it, else 0.",
		func(f *snapshot, e emit) { e.value(oneIf(f.gate.KeyRefused)) }},
	{"clerkgate_key_file_unusable", gauge, nil,
		"1 while the secret key's file is unusable (unreadable, without a key, or with a key of another kind of instance) and the last key stays in use, else 0.",
		func(f *snapshot, e emit) { e.value(oneIf(f.keyFileFails)) }},
	{"clerkgate_breaker_state", gauge, []string{"state"},
		"1 for the state of the circuit breaker, 0 for the others.",
		func(f *snapshot, e emit) {
			for state, name := range breakerStates {
				e.value(oneIf(f.gate.Breaker.State == gate.BreakerState(state)), name)
			}
		}},
	{"clerkgate_breaker_opened_total", counter, nil,
		"How often the circuit breaker has opened.",
		one(func(f *snapshot) int64 { return f.gate.Breaker.TimesOpened })},

	{"clerkgate_lookups_total", counter, []string{"served_from"},
		"Ids answered, by the source of the answer.",
		func(f *snapshot, e emit) {
			for _, s := range servedFrom {
				e.value(float64(f.lookups.Lookups[s]), strings.ToLower(strings.TrimPrefix(s.String(), "SERVED_FROM_")))
			}
		}},
	{"clerkgate_lookups_stale_total", counter, nil,
		"Ids answered with copies older than their time to live because Clerk was unavailable.",
		one(func(f *snapshot) int64 { return f.lookups.Stale })},

	{"clerkgate_caller_lookups_total", counter, []string{"caller"},
		"Ids that the caller has asked for, whatever the source of the answer.",
		byCaller(func(c usage.Counts) float64 { return float64(c.Lookups) })},
	{"clerkgate_caller_upstream_requests_total", counter, []string{"caller"},
		"The caller's part of the requests to Clerk: 1 for a list or count, an id's fraction of the request that carried it, and 1 for each used permit of a lease that has ended.",
		byCaller(func(c usage.Counts) float64 { return c.Requests })},
	{"clerkgate_caller_refused_total", counter, []string{"caller"},
		"Wants of the caller that were refused, but not because of its max_lookups or max_requests.",
		byCaller(func(c usage.Counts) float64 { return float64(c.Refused) })},
	{"clerkgate_caller_over_limit_total", counter, []string{"caller"},
		"Ids, lists, counts and permits of the caller that were refused because of its max_lookups or max_requests in the callers file.",
		byCaller(func(c usage.Counts) float64 { return float64(c.OverLimit) })},

	{"clerkgate_cache_entries", gauge, nil,
		"Entries in memory: users, tombstones, and ids without a user.",
		one(func(f *snapshot) int { return f.store.Entries })},
	{"clerkgate_cache_bytes", gauge, nil,
		"Memory of these entries, as counted against the limit.",
		one(func(f *snapshot) int64 { return f.store.Bytes })},
	{"clerkgate_cache_limit_bytes", gauge, nil,
		"Memory limit of the cache.",
		one(func(f *snapshot) int64 { return f.store.MaxBytes })},
	{"clerkgate_cache_evictions_total", counter, nil,
		"Entries evicted from memory because of age or lack of room.",
		one(func(f *snapshot) int64 { return f.store.Evictions })},

	{"clerkgate_redis_connected", gauge, nil,
		"1 while Redis is connected, else 0.",
		redis(func(r *usercache.RedisStats, e emit) { e.value(oneIf(r.Connected)) })},
	{"clerkgate_redis_calls_total", counter, nil,
		"Calls to Redis, including failed ones.",
		redis(func(r *usercache.RedisStats, e emit) { e.value(float64(r.Calls)) })},
	{"clerkgate_redis_call_seconds_total", counter, nil,
		"Total duration of these calls.",
		redis(func(r *usercache.RedisStats, e emit) { e.value(r.Latency.Seconds()) })},
	{"clerkgate_redis_errors_total", counter, []string{"kind"},
		"Failed or timed-out calls to Redis, of the cache and the shared quota, and failed connections, by kind: OOM, WRONGPASS, NOPERM, READONLY, other (another error of Redis), timeout, no_connection.",
		redis(func(r *usercache.RedisStats, e emit) {
			for _, kind := range redislink.Kinds() {
				e.value(float64(r.Errors[kind]), string(kind))
			}
		})},
	{"clerkgate_redis_refused_total", counter, nil,
		"Calls to Redis that were skipped while it was unavailable.",
		redis(func(r *usercache.RedisStats, e emit) { e.value(float64(r.Refused)) })},
	{"clerkgate_redis_reads_total", counter, []string{"result"},
		"Ids looked up in Redis.",
		redis(func(r *usercache.RedisStats, e emit) {
			e.value(float64(r.Hits), "hit")
			e.value(float64(r.Misses), "miss")
		})},
	{"clerkgate_redis_lost_writes_total", counter, nil,
		"Copies not written to Redis because too many waited.",
		redis(func(r *usercache.RedisStats, e emit) { e.value(float64(r.Lost)) })},

	{"clerkgate_webhook_events_total", counter, []string{"type", "outcome"},
		"Webhooks received, by type of event and outcome.",
		func(f *snapshot, e emit) {
			for _, c := range webhook.Counts() {
				e.value(float64(f.events[c]), string(c.Kind), string(c.Outcome))
			}
		}},

	{"clerkgate_webhooks_enabled", gauge, nil,
		"1 if webhooks are received (--webhook-listen), else 0.",
		func(f *snapshot, e emit) { e.value(oneIf(f.hasWebhooks)) }},

	{"clerkgate_quota_replicas", gauge, nil,
		"Replicas that share the quota, including this one, as last known.",
		shared(func(s *gate.SharedStatus, e emit) { e.value(float64(s.Replicas)) })},
	{"clerkgate_quota_decider", gauge, []string{"decider"},
		"1 for what decides when to send, 0 for the others: redis, or this replica alone (learning or fallback).",
		shared(func(s *gate.SharedStatus, e emit) {
			for decider, name := range deciders {
				e.value(oneIf(s.Decider == quota.Decider(decider)), name)
			}
		})},
	{"clerkgate_quota_exchanges_total", counter, nil,
		"Exchanges with the shared state in Redis, including failed ones.",
		shared(func(s *gate.SharedStatus, e emit) { e.value(float64(s.Exchanges)) })},
	{"clerkgate_quota_exchange_errors_total", counter, nil,
		"Exchanges without an answer in time.",
		shared(func(s *gate.SharedStatus, e emit) { e.value(float64(s.Failures)) })},
	{"clerkgate_quota_exchange_seconds_total", counter, nil,
		"Total duration of the exchanges.",
		shared(func(s *gate.SharedStatus, e emit) { e.value(s.Latency.Seconds()) })},

	{"clerkgate_callers_refused_total", counter, []string{"reason"},
		"Calls and HTTP requests refused because of their caller: not_allowed, a known caller lacks the permission; all other reasons, the caller is unknown.",
		func(f *snapshot, e emit) {
			for reason, n := range f.refusals {
				e.value(float64(n), reason)
			}
		}},
	{"clerkgate_callers_file_unusable", gauge, nil,
		"1 while the callers file is unusable (unreadable, or with a fault in it) and the last one stays in use, else 0.",
		func(f *snapshot, e emit) { e.value(oneIf(f.files.Callers != nil)) }},
	{"clerkgate_tls_files_unusable", gauge, []string{"listener"},
		"1 while the TLS files of a listener (grpc, http, webhook) are unusable and the last ones stay in use, else 0.",
		func(f *snapshot, e emit) {
			for _, files := range f.files.TLS {
				e.value(oneIf(files.Err != nil), files.Listener)
			}
		}},
	{"clerkgate_certificate_not_after_timestamp_seconds", gauge, []string{"listener", "certificate"},
		"When the TLS certificate of a listener (grpc, http, webhook) expires, as Unix time: server, its own and the intermediate ones in the file; client_ca, the authorities in --client-ca-file. Of several in a file, the one that expires first counts.",
		readCertificates(func(c Certificate) time.Time { return c.NotAfter })},
	{"clerkgate_certificate_not_before_timestamp_seconds", gauge, []string{"listener", "certificate"},
		"Since when this certificate has been valid.",
		readCertificates(func(c Certificate) time.Time { return c.NotBefore })},
	{"clerkgate_connections_refused_total", counter, []string{"listener", "reason"},
		"Connections closed at once, by listener (grpc, http, webhook) and reason: full, --max-connections were open; address, one address had its part of them.",
		func(f *snapshot, e emit) {
			for r, n := range f.refusedConnections {
				e.value(float64(n), r.Listener, r.Reason)
			}
		}},
	{"clerkgate_calls_refused_total", counter, []string{"reason"},
		"Calls and streams that exceeded a limit of the server: request_late and requests_full, calls by gRPC whose requests did not arrive in time or while there was room; streams_full and streams_caller, streams, in all and of one caller or address; http_full and http_address, calls by HTTP and bytes of their requests, in all and of one address.",
		func(f *snapshot, e emit) {
			for reason, n := range f.refusedCalls {
				e.value(float64(n), reason)
			}
		}},
	{"clerkgate_panics_total", counter, nil,
		"Calls that ended in a panic.",
		one(func(f *snapshot) int64 { return f.panics })},
	{"clerkgate_trace_spans_lost_total", counter, nil,
		"Spans that could not be exported, because the collector was too slow or failed. 0 without tracing.",
		one(func(f *snapshot) int64 { return f.spansLost })},
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
