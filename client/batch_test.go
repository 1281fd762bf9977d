package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// ids returns n ids.
func ids(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("user_%d", i)
	}
	return all
}

// TestBatch checks that a batch is cut into calls of 100 distinct ids, four at a time, and that
// its results are in the order of the ids, duplicates included.
func TestBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open, most atomic.Int64
		f := &fake{batch: func(_ context.Context, req *clerkgatev1.BatchGetUsersRequest) (*clerkgatev1.BatchGetUsersResponse, error) {
			most.Store(max(most.Load(), open.Add(1)))
			time.Sleep(time.Second) // all that may be open are
			open.Add(-1)
			if len(req.GetUserIds()) > maxBatch || req.GetView() != clerkgatev1.UserView_USER_VIEW_FULL ||
				req.GetMaxAge().AsDuration() != time.Minute || !req.GetMinUpdatedAt().AsTime().Equal(time.Unix(7, 0)) {
				t.Errorf("request %v", req)
			}
			resp := &clerkgatev1.BatchGetUsersResponse{}
			for _, id := range req.GetUserIds() {
				r := &clerkgatev1.LookupResult{UserId: id}
				if id == "user_205" {
					r.Result = &clerkgatev1.LookupResult_Error{Error: &clerkgatev1.LookupError{
						Code: int32(codes.NotFound), Reason: clerkgatev1.ErrorReason_ERROR_REASON_USER_NOT_FOUND, RetryDelay: durationpb.New(time.Second),
					}}
				} else {
					r.Result = &clerkgatev1.LookupResult_User{User: &clerkgatev1.User{Id: id}}
				}
				resp.Results = append(resp.Results, r)
			}
			return resp, nil
		}}
		f.run(t, Config{}, func(c *Client) {
			asked := ids(950)
			slices.Reverse(asked)
			asked = append(asked, "user_3", "user_205")
			results, err := c.BatchGetUsers(t.Context(), asked, Full(), MaxAge(time.Minute), MinUpdatedAt(time.Unix(7, 0)))
			if err != nil || len(results) != len(asked) {
				t.Fatalf("%d results, %v", len(results), err)
			}
			for i, r := range results {
				if r.ID != asked[i] {
					t.Fatalf("result %d is of %s, want %s", i, r.ID, asked[i])
				}
				var e *Error
				switch {
				case r.ID == "user_205":
					if !errors.As(r.Err, &e) || !errors.Is(e, ErrNotFound) || e.Reason != "USER_NOT_FOUND" || e.RetryAfter != time.Second || r.User != nil {
						t.Errorf("%+v", r)
					}
				case r.Err != nil || r.User.GetId() != r.ID:
					t.Errorf("%+v", r)
				}
			}
			if n := len(f.taken()); n != 10 || most.Load() != 4 {
				t.Errorf("%d calls, %d at once", n, most.Load())
			}
			if results, err := c.BatchGetUsers(t.Context(), nil); len(results) != 0 || err != nil || len(f.taken()) != 0 {
				t.Errorf("no ids: %v, %v", results, err)
			}
		})
	})
}

// TestBatchFailures checks that a call that fails affects only its own ids, and that a batch
// fails if all its calls do.
func TestBatchFailures(t *testing.T) {
	f := &fake{batch: func(_ context.Context, req *clerkgatev1.BatchGetUsersRequest) (*clerkgatev1.BatchGetUsersResponse, error) {
		if slices.Contains(req.GetUserIds(), "user_100") {
			return nil, refusal(codes.ResourceExhausted, "QUEUE_FULL", time.Second)
		}
		resp := &clerkgatev1.BatchGetUsersResponse{}
		for i, id := range req.GetUserIds() {
			if id == "user_forgotten" {
				continue
			}
			r := &clerkgatev1.LookupResult{UserId: id, Result: &clerkgatev1.LookupResult_User{User: &clerkgatev1.User{Id: id}}}
			// Ten users fit into an answer, and a big one only alone.
			if i >= 10 || id == "user_huge" || id == "user_big" && len(req.GetUserIds()) > 1 {
				r.Result = &clerkgatev1.LookupResult_Error{Error: &clerkgatev1.LookupError{
					Code: int32(codes.ResourceExhausted), Reason: clerkgatev1.ErrorReason_ERROR_REASON_ANSWER_TOO_LARGE,
				}}
			}
			resp.Results = append(resp.Results, r)
		}
		return resp, nil
	}}
	f.run(t, Config{}, func(c *Client) {
		results, err := c.BatchGetUsers(t.Context(), append(ids(230), "user_huge", "user_big", "user_forgotten"))
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			var e *Error
			want := ""
			switch {
			case i >= 100 && i < 200:
				want = "QUEUE_FULL"
			case r.ID == "user_huge":
				want = "ANSWER_TOO_LARGE"
			case r.ID == "user_forgotten":
				if !errors.As(r.Err, &e) || e.Code != codes.Internal {
					t.Errorf("%+v", r)
				}
				continue
			}
			if errors.As(r.Err, &e) != (want != "") || e != nil && e.Reason != want || (r.User == nil) != (want != "") {
				t.Errorf("%+v, want %q", r, want)
			}
		}
		_, err = c.BatchGetUsers(t.Context(), ids(200)[100:])
		var e *Error
		if !errors.As(err, &e) || e.Reason != "QUEUE_FULL" || e.RetryAfter != time.Second {
			t.Errorf("all calls fail: %v", err)
		}
	})
}

// TestInvalidate checks that any number of users can be dropped.
func TestInvalidate(t *testing.T) {
	var dropped []string
	f := &fake{invalidate: func(_ context.Context, req *clerkgatev1.InvalidateUsersRequest) (*clerkgatev1.InvalidateUsersResponse, error) {
		if len(dropped) == 200 {
			return nil, refusal(codes.Internal, "INTERNAL", 0)
		}
		dropped = append(dropped, req.GetUserIds()...)
		return nil, nil
	}}
	f.run(t, Config{}, func(c *Client) {
		if err := c.InvalidateUsers(t.Context(), ids(150)...); err != nil || !slices.Equal(dropped, ids(150)) {
			t.Errorf("%d dropped, %v", len(dropped), err)
		}
		dropped = nil
		if err := c.InvalidateUsers(t.Context(), ids(250)...); err == nil || len(dropped) != 200 {
			t.Errorf("%d dropped, %v", len(dropped), err)
		}
	})
}
