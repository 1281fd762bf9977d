package telemetry

import (
	"io"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/usage"
	"github.com/clerkgate/clerkgate/internal/usercache"
	"github.com/clerkgate/clerkgate/internal/webhook"
)

// known is a source of known values.
type known struct {
	status gate.Status
	totals usercache.Totals
}

func (k known) Status() gate.Status      { return k.status }
func (k known) Totals() usercache.Totals { return k.totals }
func (known) Panics() int64              { return 41 }
func (known) Refusals() map[string]int64 { return map[string]int64{"unknown_token": 63} }
func (known) RefusedCalls() map[string]int64 {
	return map[string]int64{"request_late": 66}
}
func (known) Files() Files {
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	return Files{Callers: io.ErrUnexpectedEOF, TLS: []TLSFiles{
		{"grpc", io.ErrUnexpectedEOF, []Certificate{{ServerCertificate, at(71), at(72)}, {ClientCACertificate, at(73), at(74)}}},
		{"http", nil, []Certificate{{ServerCertificate, at(75), at(76)}}},
	}}
}

func (known) RefusedConnections() map[RefusedConnection]int64 {
	return map[RefusedConnection]int64{{Listener: "grpc", Reason: "address"}: 67}
}

type knownRequests GateStats

func (r knownRequests) Stats() GateStats { return GateStats(r) }

type knownStore usercache.Stats

func (s knownStore) Stats() usercache.Stats { return usercache.Stats(s) }

type knownEvents map[webhook.Count]int64

func (e knownEvents) Stats() map[webhook.Count]int64 { return e }

// knownSources returns sources in which all values differ.
func knownSources() Sources {
	k := known{
		status: gate.Status{
			Limit: 1, Window: 2 * time.Second, EffectiveLimit: 3, Available: 4, Held: 5, InFlight: 6, InFlightLimit: 64,
			PausedUntil: time.Now(),
			Shared: &gate.SharedStatus{
				ShareState: quota.ShareState{Decider: quota.DecidesLearning, Replicas: 57},
				Exchanges:  58, Failures: 59, Latency: time.Minute,
			},
			Queue:         [2]gate.QueueLevel{{Depth: 7, Oldest: 8 * time.Second}, {Depth: 9, Oldest: 10 * time.Second}},
			EstimatedWait: 1100 * time.Millisecond,
			Breaker:       gate.BreakerStatus{State: gate.HalfOpen, TimesOpened: 12},
			KeyRefused:    true,
			Callers: usage.Report{
				First: []usage.Counts{{Name: "a/b", Lookups: 48, Requests: 49.5, Refused: 50, OverLimit: 68}, {Lookups: 51, Requests: 52, Refused: 53, OverLimit: 69}},
				Later: usage.Counts{Lookups: 54, Requests: 55, Refused: 56, OverLimit: 70},
			},
		},
		totals: usercache.Totals{Stale: 18, Lookups: map[clerkgatev1.ServedFrom]int64{
			clerkgatev1.ServedFrom_SERVED_FROM_UPSTREAM: 19, clerkgatev1.ServedFrom_SERVED_FROM_MEMORY: 21, clerkgatev1.ServedFrom_SERVED_FROM_REDIS: 22,
		}},
	}
	return Sources{
		Requests: knownRequests{
			Lookups: 13, Low: 17,
			Requests: map[Ended]int64{
				{Endpoint: "list", Outcome: "ok"}: 14, {Endpoint: "list", Outcome: "rate_limited"}: 15, {Endpoint: "probe", Outcome: "no_answer"}: 0,
			},
			Durations:   map[string]Histogram{"list": {Bounds: []float64{0.5, 1}, Counts: []uint64{2, 0, 12}, Sum: 36.5}},
			LookupSizes: Histogram{Bounds: []float64{1}, Counts: []uint64{37, 38}, Sum: 39},
			Unsent:      40,
			Retries:     map[string]int64{"no_answer": 16},
			Refused:     map[string]int64{"queue_full": 42, "shutting_down": 0},
			Waits: [2]Histogram{
				{Bounds: []float64{2}, Counts: []uint64{43, 44}, Sum: 45}, {Bounds: []float64{2}, Counts: []uint64{0, 46}, Sum: 47},
			},
		},
		Version: "1.2.3", Gate: k, Cache: k, Server: k, Tracing: &Tracing{lost: &lostSpans{total: 61}},
		KeyFile: func() error { return io.ErrUnexpectedEOF }, MaxInFlight: 65, HasWebhooks: true,
		Store: knownStore{Entries: 23, Bytes: 24, MaxBytes: 25, Evictions: 26, Redis: &usercache.RedisStats{
			Connected: true, Calls: 27, Errors: map[redislink.Kind]int64{redislink.TimedOut: 28, redislink.OutOfMemory: 62}, Refused: 29, Latency: 30 * time.Second, Hits: 31, Misses: 32, Lost: 33,
		}},
		Webhooks: knownEvents{
			{Kind: "user.updated", Outcome: webhook.Applied}: 34,
			{Kind: "other", Outcome: webhook.Forged}:         35,
		},
	}
}

// scrape returns the lines of a scrape about clerkgate.
func scrape(t *testing.T, s Sources) []string {
	t.Helper()
	r := prometheus.NewRegistry()
	if err := Register(r, s); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	return slices.DeleteFunc(strings.Split(w.Body.String(), "\n"), func(line string) bool {
		return !strings.HasPrefix(line, "clerkgate_")
	})
}

func TestFigures(t *testing.T) {
	want := strings.Split(`clerkgate_batch_users_bucket{le="1"} 37
clerkgate_batch_users_bucket{le="+Inf"} 75
clerkgate_batch_users_sum 39
clerkgate_batch_users_count 75
clerkgate_breaker_opened_total 12
clerkgate_breaker_state{state="closed"} 0
clerkgate_breaker_state{state="half_open"} 1
clerkgate_breaker_state{state="open"} 0
clerkgate_build_info{go_version="`+runtime.Version()+`",version="1.2.3"} 1
clerkgate_cache_bytes 24
clerkgate_cache_entries 23
clerkgate_cache_evictions_total 26
clerkgate_cache_limit_bytes 25
clerkgate_caller_lookups_total{caller="(others)"} 54
clerkgate_caller_lookups_total{caller="(unnamed)"} 51
clerkgate_caller_lookups_total{caller="a/b"} 48
clerkgate_caller_over_limit_total{caller="(others)"} 70
clerkgate_caller_over_limit_total{caller="(unnamed)"} 69
clerkgate_caller_over_limit_total{caller="a/b"} 68
clerkgate_caller_refused_total{caller="(others)"} 56
clerkgate_caller_refused_total{caller="(unnamed)"} 53
clerkgate_caller_refused_total{caller="a/b"} 50
clerkgate_caller_upstream_requests_total{caller="(others)"} 55
clerkgate_caller_upstream_requests_total{caller="(unnamed)"} 52
clerkgate_caller_upstream_requests_total{caller="a/b"} 49.5
clerkgate_callers_file_unusable 1
clerkgate_callers_refused_total{reason="unknown_token"} 63
clerkgate_calls_refused_total{reason="request_late"} 66
clerkgate_certificate_not_after_timestamp_seconds{certificate="client_ca",listener="grpc"} 74
clerkgate_certificate_not_after_timestamp_seconds{certificate="server",listener="grpc"} 72
clerkgate_certificate_not_after_timestamp_seconds{certificate="server",listener="http"} 76
clerkgate_certificate_not_before_timestamp_seconds{certificate="client_ca",listener="grpc"} 73
clerkgate_certificate_not_before_timestamp_seconds{certificate="server",listener="grpc"} 71
clerkgate_certificate_not_before_timestamp_seconds{certificate="server",listener="http"} 75
clerkgate_connections_refused_total{listener="grpc",reason="address"} 67
clerkgate_key_file_unusable 1
clerkgate_key_refused 1
clerkgate_lookups_stale_total 18
clerkgate_lookups_total{served_from="memory"} 21
clerkgate_lookups_total{served_from="redis"} 22
clerkgate_lookups_total{served_from="upstream"} 19
clerkgate_panics_total 41
clerkgate_queue_estimated_wait_seconds 1.1
clerkgate_queue_oldest_seconds{priority="batch"} 10
clerkgate_queue_oldest_seconds{priority="interactive"} 8
clerkgate_queue_wait_seconds_bucket{priority="batch",le="2"} 0
clerkgate_queue_wait_seconds_bucket{priority="batch",le="+Inf"} 46
clerkgate_queue_wait_seconds_sum{priority="batch"} 47
clerkgate_queue_wait_seconds_count{priority="batch"} 46
clerkgate_queue_wait_seconds_bucket{priority="interactive",le="2"} 43
clerkgate_queue_wait_seconds_bucket{priority="interactive",le="+Inf"} 87
clerkgate_queue_wait_seconds_sum{priority="interactive"} 45
clerkgate_queue_wait_seconds_count{priority="interactive"} 87
clerkgate_queue_wants{priority="batch"} 9
clerkgate_queue_wants{priority="interactive"} 7
clerkgate_quota_available 4
clerkgate_quota_decider{decider="fallback"} 0
clerkgate_quota_decider{decider="learning"} 1
clerkgate_quota_decider{decider="redis"} 0
clerkgate_quota_effective_limit 3
clerkgate_quota_exchange_errors_total 59
clerkgate_quota_exchange_seconds_total 60
clerkgate_quota_exchanges_total 58
clerkgate_quota_held 5
clerkgate_quota_limit 1
clerkgate_quota_low_total 17
clerkgate_quota_paused 1
clerkgate_quota_replicas 57
clerkgate_quota_window_seconds 2
clerkgate_rate_limited_total 15
clerkgate_redis_call_seconds_total 30
clerkgate_redis_calls_total 27
clerkgate_redis_connected 1
clerkgate_redis_errors_total{kind="NOPERM"} 0
clerkgate_redis_errors_total{kind="OOM"} 62
clerkgate_redis_errors_total{kind="READONLY"} 0
clerkgate_redis_errors_total{kind="WRONGPASS"} 0
clerkgate_redis_errors_total{kind="no_connection"} 0
clerkgate_redis_errors_total{kind="other"} 0
clerkgate_redis_errors_total{kind="timeout"} 28
clerkgate_redis_lost_writes_total 33
clerkgate_redis_reads_total{result="hit"} 31
clerkgate_redis_reads_total{result="miss"} 32
clerkgate_redis_refused_total 29
clerkgate_refused_total{reason="queue_full"} 42
clerkgate_refused_total{reason="shutting_down"} 0
clerkgate_retries_total{reason="no_answer"} 16
clerkgate_tls_files_unusable{listener="grpc"} 1
clerkgate_tls_files_unusable{listener="http"} 0
clerkgate_trace_spans_lost_total 61
clerkgate_upstream_ids_total 13
clerkgate_upstream_request_duration_seconds_bucket{endpoint="list",le="0.5"} 2
clerkgate_upstream_request_duration_seconds_bucket{endpoint="list",le="1"} 2
clerkgate_upstream_request_duration_seconds_bucket{endpoint="list",le="+Inf"} 14
clerkgate_upstream_request_duration_seconds_sum{endpoint="list"} 36.5
clerkgate_upstream_request_duration_seconds_count{endpoint="list"} 14
clerkgate_upstream_requests_in_flight 6
clerkgate_upstream_requests_in_flight_limit 64
clerkgate_upstream_requests_in_flight_max 65
clerkgate_upstream_requests_total{endpoint="list",outcome="ok"} 14
clerkgate_upstream_requests_total{endpoint="list",outcome="rate_limited"} 15
clerkgate_upstream_requests_total{endpoint="probe",outcome="no_answer"} 0
clerkgate_upstream_requests_unsent_total 40
clerkgate_webhook_events_total{outcome="applied",type="user.updated"} 34
clerkgate_webhook_events_total{outcome="forged",type="other"} 35
clerkgate_webhooks_enabled 1`, "\n")
	all := scrape(t, knownSources())
	zeros := len(all)
	got := slices.DeleteFunc(all, func(line string) bool {
		return strings.HasPrefix(line, "clerkgate_webhook_events_total") && strings.HasSuffix(line, " 0")
	})
	if zeros -= len(got); zeros != 4*9-2 {
		t.Errorf("%d pairs of events that have not happened", zeros)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestWithoutTracing: without tracing no spans are lost, and without a key file it is not
// unusable.
func TestWithoutTracing(t *testing.T) {
	s := knownSources()
	s.Tracing, s.KeyFile = nil, nil
	if lines := scrape(t, s); !slices.Contains(lines, "clerkgate_trace_spans_lost_total 0") || !slices.Contains(lines, "clerkgate_key_file_unusable 0") {
		t.Errorf("without tracing:\n%s", strings.Join(lines, "\n"))
	}
}

// withoutRedis returns the sources of a server without Redis.
func withoutRedis() Sources {
	s := knownSources()
	k := s.Gate.(known)
	k.status.Shared = nil
	s.Gate, s.Store = k, knownStore{}
	return s
}

// TestWithoutRedis: metrics of Redis are missing without it, not zero.
func TestWithoutRedis(t *testing.T) {
	if lines := strings.Join(scrape(t, withoutRedis()), "\n"); strings.Contains(lines, "redis_") || !strings.Contains(lines, "clerkgate_cache_entries 0") {
		t.Errorf("without Redis:\n%s", lines)
	}
}

func TestLint(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	if err := Register(r, knownSources()); err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestRegisteredOnce(t *testing.T) {
	r := prometheus.NewRegistry()
	if err := Register(r, knownSources()); err != nil {
		t.Fatal(err)
	}
	if err := Register(r, knownSources()); err == nil {
		t.Error("registered twice without an error")
	}
}
