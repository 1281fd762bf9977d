package server

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/usercache"
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
	releaseAs := func(r *clerkgatev1.ReleasePermitsRequest) error {
		_, err := s.ReleasePermits(t.Context(), r)
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
		{"ttl too short", acquire(&clerkgatev1.AcquirePermitsRequest{Count: 1, Ttl: durationpb.New(time.Second - 1)}), "ttl"},
		{"ttl too long", acquire(&clerkgatev1.AcquirePermitsRequest{Count: 1, Ttl: durationpb.New(5*time.Minute + 1)}), "ttl"},
		{"ttl of nothing", acquire(&clerkgatev1.AcquirePermitsRequest{Count: 1, Ttl: &durationpb.Duration{Seconds: 2, Nanos: -1}}), "ttl"},
		{"request id too long", acquire(&clerkgatev1.AcquirePermitsRequest{Count: 1, RequestId: strings.Repeat("x", 65)}), "request_id"},
		{"request id with blanks", acquire(&clerkgatev1.AcquirePermitsRequest{Count: 1, RequestId: "a b"}), "request_id"},
		{"no lease", release("", 0), "lease_id"},
		{"more without answers than used", releaseAs(&clerkgatev1.ReleasePermitsRequest{LeaseId: "lent", UsedCount: proto.Int32(1), UnansweredCount: 2}), "unanswered_count"},
		{"more without answers than permits", releaseAs(&clerkgatev1.ReleasePermitsRequest{LeaseId: "lent", UnansweredCount: 3}), "unanswered_count"},
		{"negative without answers", releaseAs(&clerkgatev1.ReleasePermitsRequest{LeaseId: "lent", UnansweredCount: -1}), "unanswered_count"},
		{"no user", releaseAs(&clerkgatev1.ReleasePermitsRequest{LeaseId: "lent", ChangedUserIds: []string{"user_1", "org_1"}}), "changed_user_ids[1]"},
		{"too many users", releaseAs(&clerkgatev1.ReleasePermitsRequest{LeaseId: "lent", ChangedUserIds: slices.Repeat([]string{"user_1"}, 101)}), "changed_user_ids"},
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

// TestMaxWaitIsNotTheDeadline: if max_wait is over before the deadline, the reason is the
// quota, and a retry is worthwhile.
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

// TestLeaseFields: the request's fields reach the gate.
func TestLeaseFields(t *testing.T) {
	up := &fakeUpstream{}
	s := &quotaService{quota: up, users: up}
	lease, err := s.AcquirePermits(t.Context(), &clerkgatev1.AcquirePermitsRequest{
		Count: 3, RequestId: "order/7:a_b-c.d", Ttl: durationpb.New(time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := up.asked()[0].lease, (gate.LeaseRequest{Permits: 3, TTL: time.Minute, ID: "order/7:a_b-c.d"}); got != want {
		t.Errorf("asked for %+v, want %+v", got, want)
	}
	if _, err := s.ReleasePermits(t.Context(), &clerkgatev1.ReleasePermitsRequest{LeaseId: lease.LeaseId, UnansweredCount: 2, RateLimited: true}); err != nil {
		t.Fatal(err)
	}
	if got, want := up.asked()[1].use, (gate.LeaseUse{Used: gate.AllUsed, Unanswered: 2, RateLimited: true}); got != want {
		t.Errorf("released as %+v, want %+v", got, want)
	}
}

// TestChangedUsersAreInvalidated: changed_user_ids are invalidated in the same call,
// whatever happens to the lease.
func TestChangedUsersAreInvalidated(t *testing.T) {
	for _, tt := range []struct {
		name   string
		lease  string
		redis  error
		reason string
	}{
		{"released", "lent", nil, ""},
		{"Redis is away", "lent", usercache.ErrRedisAway, "REDIS_UNAVAILABLE"},
		{"no such lease", "gone", nil, "LEASE_NOT_FOUND"},
		{"no such lease, and Redis is away", "gone", usercache.ErrRedisAway, "LEASE_NOT_FOUND"},
	} {
		up := &fakeUpstream{leases: map[string]int{"lent": 2}, onCall: func(_ context.Context, c call) error {
			if c.method == "invalidate" {
				return tt.redis
			}
			return nil
		}}
		s := &quotaService{quota: up, users: up}
		_, err := s.ReleasePermits(t.Context(), &clerkgatev1.ReleasePermitsRequest{LeaseId: tt.lease, ChangedUserIds: []string{"user_1", "user_2"}})
		if (err == nil) != (tt.reason == "") || err != nil && classify(err).reasonName() != tt.reason {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.reason)
		}
		if calls := up.asked(); len(calls) != 2 || !slices.Equal(calls[1].ids, []string{"user_1", "user_2"}) {
			t.Errorf("%s: %+v, want the users dropped", tt.name, calls)
		}
		if len(up.leases) != 0 && tt.lease == "lent" {
			t.Errorf("%s: the lease is not released", tt.name)
		}
	}
}

func TestAReusedRequestID(t *testing.T) {
	up := &fakeUpstream{onCall: func(context.Context, call) error { return gate.ErrRequestID }}
	s := &quotaService{quota: up, users: up}
	_, err := s.AcquirePermits(t.Context(), &clerkgatev1.AcquirePermitsRequest{Count: 1, RequestId: "x"})
	if f := classify(err); f.code != codes.InvalidArgument || f.field != "request_id" {
		t.Errorf("got %+v", f)
	}
}
