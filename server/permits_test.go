package server

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
)

func TestPermitsAreLentAndGivenBack(t *testing.T) {
	s := &quotaService{quota: &fakeUpstream{}}
	lease, err := s.AcquirePermits(t.Context(), &clerkgatev1.AcquirePermitsRequest{Count: 3})
	if err != nil {
		t.Fatal(err)
	}
	if lease.Ttl == nil || lease.LeaseId == "" || !lease.ExpireTime.AsTime().Equal(fetchedAt) {
		t.Errorf("got %v", lease)
	}
	if _, err := s.ReleasePermits(t.Context(), &clerkgatev1.ReleasePermitsRequest{LeaseId: lease.LeaseId, UsedCount: proto.Int32(2)}); err != nil {
		t.Error(err)
	}
	_, err = s.ReleasePermits(t.Context(), &clerkgatev1.ReleasePermitsRequest{LeaseId: lease.LeaseId})
	if f := classify(err); f.code != codes.NotFound || f.reasonName() != "LEASE_NOT_FOUND" {
		t.Errorf("a second release: %+v", f)
	}
}

func TestPermitArguments(t *testing.T) {
	s := &quotaService{quota: &fakeUpstream{leases: map[string]int{"lent": 2}}}
	acquire := func(r *clerkgatev1.AcquirePermitsRequest) error {
		_, err := s.AcquirePermits(t.Context(), r)
		return err
	}
	release := func(id string, used int32) error {
		_, err := s.ReleasePermits(t.Context(), &clerkgatev1.ReleasePermitsRequest{LeaseId: id, UsedCount: proto.Int32(used)})
		return err
	}
	for _, tt := range []struct {
		name  string
		err   error
		field string
	}{
		{"none", acquire(&clerkgatev1.AcquirePermitsRequest{}), "count"},
		{"negative", acquire(&clerkgatev1.AcquirePermitsRequest{Count: -1}), "count"},
		{"too many", acquire(&clerkgatev1.AcquirePermitsRequest{Count: fakeQuota + 1}), "count"},
		{"negative wait", acquire(&clerkgatev1.AcquirePermitsRequest{Count: 1, MaxWait: durationpb.New(-1)}), "max_wait"},
		{"no lease", release("", 0), "lease_id"},
		{"negative use", release("lent", -1), "used_count"},
		{"too much use", release("lent", 3), "used_count"},
	} {
		if tt.err == nil {
			t.Errorf("%s: no error", tt.name)
			continue
		}
		if f := classify(tt.err); f.code != codes.InvalidArgument || f.field != tt.field {
			t.Errorf("%s: %v naming %q, want INVALID_ARGUMENT naming %q", tt.name, f.code, f.field, tt.field)
		}
	}
}

// TestMaxWaitIsNotTheDeadline: a wait that is over while the call has time left
// is a matter of the quota, and worth coming back for.
func TestMaxWaitIsNotTheDeadline(t *testing.T) {
	up := &fakeUpstream{onCall: func(ctx context.Context, _ call) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	s := &quotaService{quota: up, totals: up}
	_, err := s.AcquirePermits(t.Context(), &clerkgatev1.AcquirePermitsRequest{Count: 1, MaxWait: durationpb.New(time.Millisecond)})
	if !errors.Is(err, gate.ErrDeadlineTooShort) {
		t.Errorf("got %v", err)
	}
	if f := classify(err); f.code != codes.ResourceExhausted || f.retry <= 0 {
		t.Errorf("got %+v, want RESOURCE_EXHAUSTED and a time to come back", f)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = s.AcquirePermits(ctx, &clerkgatev1.AcquirePermitsRequest{Count: 1, MaxWait: durationpb.New(time.Hour)})
	if f := classify(err); f.code != codes.DeadlineExceeded {
		t.Errorf("got %+v, want the call's own deadline", f)
	}
}
