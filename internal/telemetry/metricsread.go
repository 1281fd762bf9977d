package telemetry

import (
	"cmp"

	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/usage"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

// one reads a metric without labels.
func one[N int | int64](read func(*snapshot) N) func(*snapshot, emit) {
	return func(f *snapshot, e emit) { e.value(float64(read(f))) }
}

// byPriority reads a metric with a series for each priority.
func byPriority(read func(gate.QueueLevel) float64) func(*snapshot, emit) {
	return func(f *snapshot, e emit) {
		for p, l := range f.gate.Queue {
			e.value(read(l), priorities[p])
		}
	}
}

// byReason reads a metric with a series for each reason.
func byReason(read func(GateStats) map[string]int64) func(*snapshot, emit) {
	return func(f *snapshot, e emit) {
		for reason, n := range read(f.requests) {
			e.value(float64(n), reason)
		}
	}
}

// Values of the label caller that are no caller's name. validName in package server
// rejects them.
const (
	unnamed      = "(unnamed)"
	laterCallers = "(others)"
)

// byCaller reads a metric with a series for each of the first callers.
func byCaller(read func(usage.Counts) float64) func(*snapshot, emit) {
	return func(f *snapshot, e emit) {
		for _, c := range f.gate.Callers.First {
			e.value(read(c), cmp.Or(c.Name, unnamed))
		}
		e.value(read(f.gate.Callers.Later), laterCallers)
	}
}

// redis reads a metric that exists only with Redis.
func redis(read func(*usercache.RedisStats, emit)) func(*snapshot, emit) {
	return func(f *snapshot, e emit) {
		if f.store.Redis != nil {
			read(f.store.Redis, e)
		}
	}
}

// shared reads a metric that exists only if replicas share the quota.
func shared(read func(*gate.SharedStatus, emit)) func(*snapshot, emit) {
	return func(f *snapshot, e emit) {
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
