package main

import (
	"strings"
	"testing"
	"time"

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
			"not now (fallback): this one of 3 replicas may hold 33"},
		{&clerkgatev1.Quota{}, &clerkgatev1.GetUsageResponse{Callers: []*clerkgatev1.Caller{{Lookups: 7}}, OtherCallers: &clerkgatev1.Caller{Lookups: 8}},
			"(others)  8"},
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
