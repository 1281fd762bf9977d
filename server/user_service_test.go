package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

// TestInvalidArguments asks for what can't be: each answer names the field, and
// nothing reaches the upstream.
func TestInvalidArguments(t *testing.T) {
	get := func(id string) proto.Message { return &clerkgatev1.GetUserRequest{UserId: id} }
	many := slices.Repeat([]string{"user_1"}, 101)
	empty := &clerkgatev1.UserFilter{UserIds: &clerkgatev1.StringList{}}
	for _, tt := range []struct {
		name  string
		field string
		req   proto.Message
	}{
		{"excluding id", "user_id", get("-user_x")},
		{"including id", "user_id", get("+user_x")},
		{"path", "user_id", get("../organizations")},
		{"no id", "user_id", get("")},
		{"id with a newline", "user_id", get("user_1\n")},
		{"negative age", "max_age", &clerkgatev1.GetUserRequest{UserId: "user_1", MaxAge: durationpb.New(-1)}},
		{"age that is none", "max_age", &clerkgatev1.GetUserRequest{UserId: "user_1", MaxAge: &durationpb.Duration{Seconds: 1, Nanos: -1}}},
		{"view", "view", &clerkgatev1.GetUserRequest{UserId: "user_1", View: 3}},
		{"empty batch", "user_ids", &clerkgatev1.BatchGetUsersRequest{}},
		{"101 ids", "user_ids", &clerkgatev1.BatchGetUsersRequest{UserIds: many}},
		{"version that is no time", "min_updated_at", &clerkgatev1.GetUserRequest{UserId: "user_1", MinUpdatedAt: &timestamppb.Timestamp{Seconds: -1}}},
		{"version that is no time, of a batch", "min_updated_at", &clerkgatev1.BatchGetUsersRequest{UserIds: many[:1], MinUpdatedAt: &timestamppb.Timestamp{Nanos: -1}}},
		{"negative age of a batch", "max_age", &clerkgatev1.BatchGetUsersRequest{UserIds: many[:1], MaxAge: durationpb.New(-1)}},
		{"view of a batch", "view", &clerkgatev1.BatchGetUsersRequest{UserIds: many[:1], View: -1}},
		{"negative size", "page_size", &clerkgatev1.ListUsersRequest{PageSize: -1}},
		{"damaged token", "page_token", &clerkgatev1.ListUsersRequest{PageToken: "rubbish"}},
		{"order", "order_by", &clerkgatev1.ListUsersRequest{OrderBy: "shoe_size"}},
		{"view of a list", "view", &clerkgatev1.ListUsersRequest{View: 3}},
		{"empty list in a filter", "filter.user_ids.values", &clerkgatev1.ListUsersRequest{Filter: empty}},
		{"damaged resume token", "resume_token", &clerkgatev1.StreamUsersRequest{ResumeToken: "rubbish"}},
		{"order of a stream", "order_by", &clerkgatev1.StreamUsersRequest{OrderBy: "last_name"}},
		{"two signs", "order_by", &clerkgatev1.StreamUsersRequest{OrderBy: "+-created_at"}},
		{"empty list in a stream", "filter.user_ids.values", &clerkgatev1.StreamUsersRequest{Filter: empty}},
		{"nobody to invalidate", "user_ids", &clerkgatev1.InvalidateUsersRequest{}},
		{"101 to invalidate", "user_ids", &clerkgatev1.InvalidateUsersRequest{UserIds: many}},
		{"id to invalidate", "user_ids[1]", &clerkgatev1.InvalidateUsersRequest{UserIds: []string{"user_1", "-user_x"}}},
		{"empty list in a count", "filter.user_ids.values", &clerkgatev1.CountUsersRequest{Filter: empty}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up := &fakeUpstream{}
			err := invoke(&userService{users: up}, tt.req)
			if err == nil {
				t.Fatal("no error")
			}
			f := classify(err)
			if f.code != codes.InvalidArgument || f.reason != clerkgatev1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT || f.field != tt.field {
				t.Errorf("%v %v naming %q, want INVALID_ARGUMENT naming %q", f.code, f.reason, f.field, tt.field)
			}
			if calls := up.asked(); len(calls) > 0 {
				t.Errorf("the upstream was asked: %v", calls)
			}
		})
	}
}

// invoke calls the method that takes such a request.
func invoke(s *userService, req proto.Message) (err error) {
	ctx := context.Background()
	switch req := req.(type) {
	case *clerkgatev1.GetUserRequest:
		_, err = s.GetUser(ctx, req)
	case *clerkgatev1.BatchGetUsersRequest:
		_, err = s.BatchGetUsers(ctx, req)
	case *clerkgatev1.ListUsersRequest:
		_, err = s.ListUsers(ctx, req)
	case *clerkgatev1.StreamUsersRequest:
		err = s.StreamUsers(req, &fakeStream{ctx: ctx})
	case *clerkgatev1.CountUsersRequest:
		_, err = s.CountUsers(ctx, req)
	case *clerkgatev1.InvalidateUsersRequest:
		_, err = s.InvalidateUsers(ctx, req)
	}
	return err
}

func TestGetUser(t *testing.T) {
	secret := userAt(1, 0)
	secret.PrivateMetadataJson = proto.String(`{"a":1}`)
	up := &fakeUpstream{users: []*clerkgatev1.User{secret}, failures: map[string]error{"user_9": clerkapi.ErrKeyRejected}}
	s := &userService{users: up, fullView: FullViewAny}

	resp, err := s.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: secret.Id, MaxAge: durationpb.New(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	resp = received(t, resp)
	if resp.User.Id != secret.Id || resp.User.PrivateMetadataJson != nil || resp.User.ExtraJson != nil {
		t.Errorf("user %v", resp.User)
	}
	if f := resp.Freshness; f.Origin != clerkgatev1.Origin_ORIGIN_CLERK || f.ServedFrom != clerkgatev1.ServedFrom_SERVED_FROM_UPSTREAM || !f.FetchTime.AsTime().Equal(fetchedAt) || f.Age == nil || f.Stale {
		t.Errorf("freshness %v", f)
	}
	resp, err = s.GetUser(t.Context(),
		&clerkgatev1.GetUserRequest{UserId: secret.Id, View: clerkgatev1.UserView_USER_VIEW_FULL, MaxAge: durationpb.New(0)})
	if err != nil {
		t.Fatal(err)
	}
	if u := received(t, resp).User; u.GetPrivateMetadataJson() != `{"a":1}` || u.ExtraJson == nil || u.GetExtraJson() != "" {
		t.Errorf("FULL: %v", u)
	}
	if calls := up.asked(); *calls[0].maxAge != time.Minute || *calls[1].maxAge != 0 {
		t.Errorf("the ages asked for are %v and %v", *calls[0].maxAge, *calls[1].maxAge)
	}
	for id, want := range map[string]codes.Code{"user_2": codes.NotFound, "user_9": codes.FailedPrecondition} {
		if _, err := s.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: id}); err == nil || classify(err).code != want {
			t.Errorf("%s: %v, want %v", id, err, want)
		}
	}
}

func TestInvalidateUsers(t *testing.T) {
	up := &fakeUpstream{}
	s := &userService{users: up}
	ids := []string{"user_1", "user_2"}
	if _, err := s.InvalidateUsers(t.Context(), &clerkgatev1.InvalidateUsersRequest{UserIds: ids}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(ids, up.asked()[0].ids); diff != "" {
		t.Errorf("ids invalidated (-want +got):\n%s", diff)
	}
	up.onCall = func(context.Context, call) error { return usercache.ErrRedisAway }
	_, err := s.InvalidateUsers(t.Context(), &clerkgatev1.InvalidateUsersRequest{UserIds: ids})
	if f := classify(err); f.code != codes.Unavailable || f.reasonName() != "REDIS_UNAVAILABLE" || f.retry <= 0 {
		t.Errorf("with Redis away: %+v", f)
	}
}

func TestCountUsers(t *testing.T) {
	up := &fakeUpstream{users: usersAt(1, 2, 3)}
	s := &userService{users: up}
	if resp, err := s.CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{}); err != nil || resp.TotalCount != 3 {
		t.Errorf("%v, %v", resp, err)
	}
	up.listErr = &clerkapi.Error{Kind: clerkapi.ErrRejected}
	if _, err := s.CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{}); !errors.Is(err, errListRejected) {
		t.Errorf("a filter that Clerk refuses: %v", err)
	}
}

func TestBatchGetUsers(t *testing.T) {
	up := &fakeUpstream{users: usersAt(0, 1), failures: map[string]error{
		"user_busy": &gate.Error{Kind: gate.ErrQueueFull, RetryAfter: 2 * time.Second},
	}}
	s := &userService{users: up}
	ids := []string{"user_0001", "user_none", "user_0000", "-user_x", "user_busy", "user_0001"}
	resp, err := s.BatchGetUsers(t.Context(), &clerkgatev1.BatchGetUsersRequest{UserIds: ids})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range received(t, resp).Results {
		line := r.UserId + " "
		if e := r.GetError(); e != nil {
			line += strings.TrimPrefix(e.Reason.String(), "ERROR_REASON_") + " " + codes.Code(e.Code).String()
			if e.RetryDelay != nil {
				line += " " + e.RetryDelay.AsDuration().String()
			}
		} else {
			line += "is " + r.GetUser().GetId()
		}
		if r.Freshness != nil {
			line += " fresh"
		}
		got = append(got, line)
	}
	want := []string{
		"user_0001 is user_0001 fresh", "user_none USER_NOT_FOUND NotFound fresh", "user_0000 is user_0000 fresh",
		"-user_x INVALID_ARGUMENT InvalidArgument", "user_busy QUEUE_FULL ResourceExhausted 2s", "user_0001 is user_0001 fresh",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if !strings.Contains(resp.Results[3].GetError().Message, "user_ids[3]") {
		t.Errorf("the malformed id is not named: %v", resp.Results[3])
	}
	if diff := cmp.Diff([]string{"user_0001", "user_none", "user_0000", "user_busy"}, up.asked()[0].ids); diff != "" {
		t.Errorf("ids that went up (-want +got):\n%s", diff)
	}

	up.calls = nil
	if resp, err := s.BatchGetUsers(t.Context(), &clerkgatev1.BatchGetUsersRequest{UserIds: []string{"+user_x"}}); err != nil || resp.Results[0].GetError() == nil || len(up.calls) > 0 {
		t.Errorf("malformed ids alone: %v, %v, calls %v", resp, err, up.calls)
	}
}

func TestBatchFailsAsOne(t *testing.T) {
	busy := func(d time.Duration) error { return &gate.Error{Kind: gate.ErrQueueFull, RetryAfter: d} }
	for _, tt := range []struct {
		name string
		errs []error
		want clerkgatev1.ErrorReason // of the call
		wait time.Duration
	}{
		{"all for one reason", []error{busy(time.Second), busy(3 * time.Second), busy(2 * time.Second)}, clerkgatev1.ErrorReason_ERROR_REASON_QUEUE_FULL, 3 * time.Second},
		{"for two reasons", []error{busy(time.Second), &gate.Error{Kind: gate.ErrBreakerOpen}, busy(time.Minute)}, clerkgatev1.ErrorReason_ERROR_REASON_QUEUE_FULL, time.Minute},
		{"for two reasons, the second more often", []error{busy(time.Second), clerkapi.ErrKeyRejected, clerkapi.ErrKeyRejected}, clerkgatev1.ErrorReason_ERROR_REASON_CLERK_KEY_REJECTED, 0},
		{"but one", []error{busy(time.Second), clerkapi.ErrNotFound}, 0, 0},
		{"but one answered", []error{busy(time.Second), nil}, 0, 0},
		{"but one that Clerk refused for itself", []error{busy(time.Second), clerkapi.ErrRejected}, 0, 0},
		{"for good", []error{clerkapi.ErrKeyRejected, clerkapi.ErrKeyRejected}, clerkgatev1.ErrorReason_ERROR_REASON_CLERK_KEY_REJECTED, 0},
		{"for want of time", []error{context.DeadlineExceeded}, clerkgatev1.ErrorReason_ERROR_REASON_DEADLINE_EXCEEDED, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up := &fakeUpstream{failures: map[string]error{}}
			var ids []string
			for i, err := range tt.errs {
				ids = append(ids, fmt.Sprintf("user_%d", i))
				if up.failures[ids[i]] = err; err == nil {
					up.users = append(up.users, &clerkgatev1.User{Id: ids[i]})
				}
			}
			_, err := (&userService{users: up}).BatchGetUsers(t.Context(), &clerkgatev1.BatchGetUsersRequest{UserIds: ids})
			if (err != nil) != (tt.want != 0) {
				t.Fatalf("error %v", err)
			}
			if err != nil && (classify(err).reason != tt.want || classify(err).retry != tt.wait) {
				t.Errorf("%+v", classify(err))
			}
		})
	}
}

func TestBatchAnswerFits(t *testing.T) {
	up := &fakeUpstream{}
	var ids []string
	for i := range 100 {
		u := userAt(i, 0)
		u.UnsafeMetadataJson = proto.String(strings.Repeat("x", 60<<10))
		if i == 97 {
			u.UnsafeMetadataJson = nil
		}
		up.users = append(up.users, u)
		ids = append(ids, u.Id)
	}
	resp, err := (&userService{users: up}).BatchGetUsers(t.Context(), &clerkgatev1.BatchGetUsersRequest{UserIds: ids})
	if err != nil {
		t.Fatal(err)
	}
	if size := proto.Size(resp); size > maxAnswer || size < maxAnswer-61<<10 {
		t.Errorf("the answer has %d bytes, bound %d", size, maxAnswer)
	}
	for i, r := range resp.Results {
		tooLarge := r.GetError().GetReason() == clerkgatev1.ErrorReason_ERROR_REASON_ANSWER_TOO_LARGE
		if want := i >= 59 && i != 97; r.UserId != ids[i] || tooLarge != want {
			t.Errorf("result %d: %s, left out %v, want %v", i, r.UserId, tooLarge, want)
		}
	}
}
