package page

import (
	"fmt"

	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/telemetry"
	"github.com/clerkgate/clerkgate/internal/usercache"
	"github.com/clerkgate/clerkgate/internal/webhook"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// reading holds what the sources returned at one moment.
type reading struct {
	gate      gate.Status
	requests  telemetry.GateStats
	lookups   usercache.Totals
	store     usercache.Stats
	webhooks  map[webhook.Count]int64
	refusals  map[string]int64 // of callers, by reason
	spansLost int64
}

// Counts maps the names of counters to numbers. A missing name counts 0.
type Counts map[string]int64

// Names of single counters. Those of families are made by functions.
const (
	requestsCount    = "requests"
	batchesCount     = "batches"
	batchUsersCount  = "batch_users"
	rateLimitedCount = "rate_limited"
	retriesCount     = "retries"
	staleCount       = "stale"
	evictedCount     = "evicted"
	spansLostCount   = "spans_lost"
	deniedCount      = "caller_denied"
	unknownCount     = "caller_unknown"

	refusedTooShort   = "refused.deadline_too_short"
	refusedFull       = "refused.queue_full"
	refusedCallerFull = "refused.caller_queue_full"
	refusedOpen       = "refused.breaker_open"
)

func failureCounter(outcome string) string             { return "failed." + outcome }
func redisErrorCounter(k redislink.Kind) string        { return "redis_error." + string(k) }
func refusalCounter(reason string) string              { return "refused." + reason }
func webhookCounter(o webhook.Outcome) string          { return "webhook." + string(o) }
func lookupCounter(from clerkgatev1.ServedFrom) string { return "lookup." + sourceName(from) }

// waitsByBucket has room for the buckets of telemetry.GateStats.Waits.
var waitsByBucket [2][16]struct{}

func waitCounter(p gate.Priority, bucket int) string { return fmt.Sprintf("wait.%d.%d", p, bucket) }

// counter is a row of the table of the counters that are read each second.
type counter struct {
	name string
	read func(*reading) int64
}

// places are where answers come from, in the order in which they are shown.
var places = []clerkgatev1.ServedFrom{
	clerkgatev1.ServedFrom_SERVED_FROM_MEMORY, clerkgatev1.ServedFrom_SERVED_FROM_REDIS, clerkgatev1.ServedFrom_SERVED_FROM_UPSTREAM,
}

func sourceName(from clerkgatev1.ServedFrom) string {
	switch from {
	case clerkgatev1.ServedFrom_SERVED_FROM_MEMORY:
		return "memory"
	case clerkgatev1.ServedFrom_SERVED_FROM_REDIS:
		return "Redis"
	}
	return "Clerk"
}

// counters are all counters. Their order is that of a second's figures.
var counters = makeCounters()

func makeCounters() []counter {
	all := []counter{
		{requestsCount, func(r *reading) int64 { return r.requests.Totals().Requests }},
		{batchesCount, func(r *reading) int64 { return int64(r.requests.LookupSizes.Count()) }},
		{batchUsersCount, func(r *reading) int64 { return int64(r.requests.LookupSizes.Sum) }},
		{rateLimitedCount, func(r *reading) int64 { return r.requests.Totals().RateLimited }},
		{retriesCount, func(r *reading) int64 { return r.requests.Totals().Retries }},
		{staleCount, func(r *reading) int64 { return r.lookups.Stale }},
		{evictedCount, func(r *reading) int64 { return r.store.Evictions }},
		{spansLostCount, func(r *reading) int64 { return r.spansLost }},
		{deniedCount, func(r *reading) int64 { return r.refusals["not_allowed"] }},
		{unknownCount, func(r *reading) int64 { return sum(r.refusals) - r.refusals["not_allowed"] }},
	}
	for _, k := range redislink.Kinds() {
		all = append(all, counter{redisErrorCounter(k), func(r *reading) int64 {
			if r.store.Redis == nil {
				return 0
			}
			return r.store.Redis.Errors[k]
		}})
	}
	for _, f := range failures {
		all = append(all, counter{failureCounter(f.name), func(r *reading) int64 {
			var n int64
			for request, count := range r.requests.Requests {
				if request.Outcome == f.name {
					n += count
				}
			}
			return n
		}})
	}
	for _, f := range refusals {
		all = append(all, counter{refusalCounter(f.name), func(r *reading) int64 { return r.requests.Refused[f.name] }})
	}
	for _, from := range places {
		all = append(all, counter{lookupCounter(from), func(r *reading) int64 { return r.lookups.Lookups[from] }})
	}
	for p := range waitsByBucket {
		for i := range waitsByBucket[p] {
			all = append(all, counter{waitCounter(gate.Priority(p), i), func(r *reading) int64 {
				if counts := r.requests.Waits[p].Counts; i < len(counts) {
					return int64(counts[i])
				}
				return 0
			}})
		}
	}
	for _, o := range outcomes {
		all = append(all, counter{webhookCounter(o.outcome), func(r *reading) int64 {
			var n int64
			for count, times := range r.webhooks {
				if count.Outcome == o.outcome {
					n += times
				}
			}
			return n
		}})
	}
	return all
}

// redisErrors returns the number of errors of Redis, of all kinds.
func redisErrors(counts Counts) (n int64) {
	for _, k := range redislink.Kinds() {
		n += counts[redisErrorCounter(k)]
	}
	return n
}

func sum[K comparable](counts map[K]int64) (total int64) {
	for _, n := range counts {
		total += n
	}
	return total
}
