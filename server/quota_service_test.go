package server

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/telemetry"
	"github.com/clerkgate/clerkgate/internal/usage"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

func TestGetQuota(t *testing.T) {
	at := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	up := &fakeUpstream{status: gate.Status{
		Limit: 100, Window: 10 * time.Second, Burst: 200, EffectiveLimit: 95, Available: 7, Held: 88, InFlight: 3, InFlightLimit: 64, Leased: 5,
		Upstream:    &gate.Upstream{Limit: 100, Remaining: 6, Reset: at, Observed: at.Add(-time.Second)},
		PausedUntil: at, Queue: [2]gate.QueueLevel{{Depth: 2, Oldest: time.Second}, {}}, EstimatedWait: time.Minute,
		Breaker: gate.BreakerStatus{State: gate.HalfOpen, Since: at, TimesOpened: 4}, KeyTaken: true,
	}}
	resp, err := (&quotaService{quota: up, totals: up}).GetQuota(t.Context(), &clerkgatev1.GetQuotaRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := &clerkgatev1.Quota{
		Limit: 100, Window: durationpb.New(10 * time.Second), Burst: 200, EffectiveLimit: 95, Available: 7, Held: 88, InFlight: 3, InFlightLimit: 64, Leased: 5,
		Upstream:    &clerkgatev1.UpstreamQuota{Limit: 100, Remaining: 6, ResetTime: timestamppb.New(at), ObserveTime: timestamppb.New(at.Add(-time.Second))},
		PausedUntil: timestamppb.New(at),
		Queue: &clerkgatev1.Queue{
			Interactive:   &clerkgatev1.QueueLevel{Depth: 2, OldestWait: durationpb.New(time.Second)},
			Batch:         &clerkgatev1.QueueLevel{},
			EstimatedWait: durationpb.New(time.Minute),
		},
		Breaker: &clerkgatev1.Breaker{State: clerkgatev1.Breaker_STATE_HALF_OPEN, Since: timestamppb.New(at), TimesOpened: 4},
		Key:     &clerkgatev1.Key{State: clerkgatev1.Key_STATE_ACCEPTED},
	}
	if diff := cmp.Diff(want, resp.Quota, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	idle := quotaOf(gate.Status{})
	if idle.Upstream != nil || idle.PausedUntil != nil || idle.Breaker.Since != nil ||
		idle.Breaker.State != clerkgatev1.Breaker_STATE_CLOSED || idle.Key.State != clerkgatev1.Key_STATE_UNPROVEN {
		t.Errorf("an idle gate: %v", idle)
	}
	if refused := quotaOf(gate.Status{KeyRefused: true, KeyTaken: true}); refused.Key.State != clerkgatev1.Key_STATE_REFUSED {
		t.Errorf("a refused key: %v", refused.Key)
	}
}

type knownRequests telemetry.GateStats

func (r knownRequests) Stats() telemetry.GateStats { return telemetry.GateStats(r) }

func TestGetUsage(t *testing.T) {
	up := &fakeUpstream{status: gate.Status{
		Callers: usage.Report{
			Busiest: []usage.Counts{{Name: "a", Lookups: 1, Requests: 2.5, Queued: 3, Refused: 4, OverLimit: 9}},
			Others:  usage.Counts{Lookups: 5, Requests: 6.5, Queued: 7, Refused: 8, OverLimit: 10},
		},
	}}
	sent := knownRequests{
		Requests:    map[telemetry.Ended]int64{{Endpoint: "list", Outcome: "ok"}: 12, {Endpoint: "lookup", Outcome: "rate_limited"}: 13},
		Retries:     map[string]int64{"server_error": 14},
		LookupSizes: telemetry.Histogram{Bounds: []float64{1}, Counts: []uint64{1, 1}, Sum: 3},
	}
	resp, err := (&quotaService{quota: up, sent: sent, totals: up}).GetUsage(t.Context(), &clerkgatev1.GetUsageRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := &clerkgatev1.GetUsageResponse{
		Totals: &clerkgatev1.Totals{
			Lookups: []*clerkgatev1.LookupCount{
				{ServedFrom: clerkgatev1.ServedFrom_SERVED_FROM_UPSTREAM, Count: 11}, {ServedFrom: clerkgatev1.ServedFrom_SERVED_FROM_MEMORY, Count: 22},
			},
			UpstreamRequests: 25, UpstreamRateLimited: 13, Retries: 14, UsersPerRequest: 1.5,
		},
		Callers:      []*clerkgatev1.Caller{{Name: "a", Lookups: 1, UpstreamShare: 2.5, Queued: 3, Refused: 4, OverLimit: 9}},
		OtherCallers: &clerkgatev1.Caller{Lookups: 5, UpstreamShare: 6.5, Queued: 7, Refused: 8, OverLimit: 10},
	}
	if diff := cmp.Diff(want, resp, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if idle := usageOf(usage.Report{}, telemetry.Totals{}, usercache.Totals{}); idle.OtherCallers != nil {
		t.Errorf("an idle gate: %v", idle)
	}
}
