package main

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

func TestPrintQuotaShowsTheSharingAndTheOthers(t *testing.T) {
	for _, tt := range []struct {
		quota *clerkgatev1.Quota
		usage *clerkgatev1.GetUsageResponse
		want  string
	}{
		{&clerkgatev1.Quota{Shared: &clerkgatev1.SharedQuota{Decider: clerkgatev1.SharedQuota_DECIDER_REDIS, Replicas: 3}}, nil,
			"through Redis, by 3 replicas"},
		{&clerkgatev1.Quota{Shared: &clerkgatev1.SharedQuota{Decider: clerkgatev1.SharedQuota_DECIDER_FALLBACK, Replicas: 3, Allowance: 33}}, nil,
			"not now (fallback): of 3 replicas, this one may hold 33"},
		{&clerkgatev1.Quota{Shared: &clerkgatev1.SharedQuota{Decider: clerkgatev1.SharedQuota_DECIDER_REDIS, Replicas: 1}}, nil, "through Redis, by 1 replica\n"},
		{&clerkgatev1.Quota{Limit: 1, Window: durationpb.New(24 * time.Hour)}, nil, "  1 request per day\n"},
		{&clerkgatev1.Quota{Limit: 90, Window: durationpb.New(90 * time.Second)}, nil, "  90 requests per 1 min 30 s\n"},
		{&clerkgatev1.Quota{Queue: &clerkgatev1.Queue{Interactive: &clerkgatev1.QueueLevel{Depth: 1, OldestWait: durationpb.New(1500 * time.Millisecond)}}}, nil,
			"interactive     1 waits, the oldest for 1.5 s\n"},
		{&clerkgatev1.Quota{Breaker: &clerkgatev1.Breaker{TimesOpened: 1}}, nil, "opened 1 time\n"},
		{&clerkgatev1.Quota{}, &clerkgatev1.GetUsageResponse{Totals: &clerkgatev1.Totals{Retries: 1}}, "0 sent, 1 retry, "},
		{&clerkgatev1.Quota{}, &clerkgatev1.GetUsageResponse{Callers: []*clerkgatev1.Caller{{Lookups: 7}}, OtherCallers: &clerkgatev1.Caller{Lookups: 8}},
			"(others)  8"},
		{&clerkgatev1.Quota{}, &clerkgatev1.GetUsageResponse{Callers: []*clerkgatev1.Caller{{Name: "a", Lookups: 7}}},
			"\nCALLER  LOOKUPS  REQUESTS  QUEUED  REFUSED\na       7        0.0       0       0\n"},
		{&clerkgatev1.Quota{}, &clerkgatev1.GetUsageResponse{
			Callers: []*clerkgatev1.Caller{
				{Name: "billing", GuaranteedPercent: 20, OverLimit: 9, Refused: 3,
					MaxLookups:    &clerkgatev1.CallerLimit{Count: 5000, Window: durationpb.New(10 * time.Second)},
					LookupsBucket: &clerkgatev1.CallerBucket{Size: 2500, Available: 2488}},
				{Name: "sync", MaxRequests: &clerkgatev1.CallerLimit{Count: 20, Window: durationpb.New(time.Minute)}},
			},
			OtherCallers: &clerkgatev1.Caller{Lookups: 8},
		}, `
CALLER    LOOKUPS  REQUESTS  QUEUED  REFUSED  OVER LIMIT  GUARANTEED  MAX LOOKUPS                MAX REQUESTS
billing   0        0.0       0       3        9           20%         5000/10s, 12 of 2500 used  -
sync      0        0.0       0       0        0           -           -                          20/1m
(others)  8        0.0       0       0        0           -           -                          -
`},
		{&clerkgatev1.Quota{}, &clerkgatev1.GetUsageResponse{Callers: []*clerkgatev1.Caller{{Name: "a"}}, OtherCallers: &clerkgatev1.Caller{OverLimit: 4}},
			"(others)  0        0.0       0       0        4           -           -            -\n"},
		{&clerkgatev1.Quota{Key: &clerkgatev1.Key{State: clerkgatev1.Key_STATE_REFUSED}}, nil, "refused"},
	} {
		var b strings.Builder
		if err := printQuota(&b, tt.quota, tt.usage, time.Now()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), tt.want) {
			t.Errorf("%q is not in\n%s", tt.want, &b)
		}
	}
}
