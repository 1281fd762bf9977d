package client_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	"github.com/clerkgate/clerkgate/client"
	"github.com/clerkgate/clerkgate/client/clienttest"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// TestLive calls every method of a real server.
func TestLive(t *testing.T) {
	clerk, server := clienttest.New(t, clienttest.Config{Users: 650, Client: client.Config{Caller: "tests"}})
	ctx := t.Context()
	all := server.UserIDs(650)
	id := all[0]

	u, err := clerk.GetUser(ctx, id)
	if err != nil || u.GetId() != id || u.PrimaryEmailAddress() == "" || u.PrivateMetadataJson != nil {
		t.Fatalf("%v, %v", u, err)
	}
	if u, err = clerk.GetUser(ctx, id, client.MaxAge(0), client.Full()); err != nil || u.PrivateMetadataJson == nil ||
		u.Freshness.GetServedFrom() != clerkgatev1.ServedFrom_SERVED_FROM_UPSTREAM {
		t.Errorf("full and fresh: %v, %v", u, err)
	}
	var e *client.Error
	for range 10 { // a busy machine may not answer so soon
		soon, cancel := context.WithTimeout(ctx, 900*time.Millisecond) // before the time to retry
		_, err = clerk.GetUser(soon, id, client.MinUpdatedAt(time.Now().Add(time.Hour)))
		cancel()
		if !errors.As(err, &e) || e.Reason == "COPY_TOO_OLD" {
			break
		}
	}
	if !errors.As(err, &e) || e.Reason != "COPY_TOO_OLD" || e.RetryAfter == 0 {
		t.Errorf("of the future: %v", err)
	}
	if _, err = clerk.GetUser(ctx, "-user_x", nil); !errors.As(err, &e) || e.ErrorReason() != clerkgatev1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT || e.RequestID == "" {
		t.Errorf("malformed: %#v", err)
	}
	for _, err := range clerk.StreamUsers(ctx, client.StreamOptions{OrderBy: "last_name"}) {
		if !errors.As(err, &e) || e.RequestID == "" {
			t.Errorf("a stream in another order: %#v", err)
		}
	}

	results, err := clerk.BatchGetUsers(ctx, append(slices.Clone(all), "user_nobody", id))
	if err != nil || len(results) != 652 || !errors.Is(results[650].Err, client.ErrNotFound) || results[651].User.GetId() != id {
		t.Errorf("%d results, %v", len(results), err)
	}

	var newest []string
	for u, err := range clerk.ListUsers(ctx, client.ListOptions{PageSize: 500}) {
		if err != nil {
			t.Fatal(err)
		}
		newest = append(newest, u.GetId())
	}
	var oldest []string
	for u, err := range clerk.StreamUsers(ctx, client.StreamOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		oldest = append(oldest, u.GetId())
	}
	slices.Reverse(oldest)
	if len(newest) != 650 || !slices.Equal(newest, oldest) {
		t.Errorf("%d listed, %d streamed, or in another order", len(newest), len(oldest))
	}
	banned := &clerkgatev1.UserFilter{Banned: new(true)}
	n, err := clerk.CountUsers(ctx, banned)
	listed := 0
	for _, err := range clerk.ListUsers(ctx, client.ListOptions{Filter: banned}) {
		if err != nil {
			t.Fatal(err)
		}
		listed++
	}
	if err != nil || n == 0 || n != listed {
		t.Errorf("%d counted, %d listed, %v", n, listed, err)
	}

	err = clerk.WithPermits(ctx, 2, 0, func(ctx context.Context, lease *client.Lease) error {
		if q, err := clerk.GetQuota(ctx); err != nil || q.GetLeased() != 2 {
			t.Errorf("%d leased, %v", q.GetLeased(), err)
		}
		// A change at Clerk that no webhook announces.
		if err := server.Sim().Update(id, func(u *clerksim.User) { u.FirstName = new("Changed") }); err != nil {
			return err
		}
		lease.Report(1, 0)
		lease.Changed(id)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err = clerk.WithPermits(ctx, 1<<32+1, 0, nil); !errors.As(err, &e) || !strings.HasPrefix(e.Message, "count: ") {
		t.Errorf("too many permits: %v", err)
	}
	if u, err = clerk.GetUser(ctx, id); err != nil || u.GetFirstName() != "Changed" {
		t.Errorf("after a change under a lease: %q, %v", u.GetFirstName(), err)
	}
	if err := server.Sim().Update(id, func(u *clerksim.User) { u.FirstName = new("Again") }); err != nil {
		t.Fatal(err)
	}
	if err := clerk.InvalidateUsers(ctx, id); err != nil {
		t.Error(err)
	}
	if u, err = clerk.GetUser(ctx, id); err != nil || u.GetFirstName() != "Again" {
		t.Errorf("invalidated: %q, %v", u.GetFirstName(), err)
	}

	states := 0
	for q, err := range clerk.WatchQuota(ctx, 100*time.Millisecond) {
		if err != nil || q.GetLimit() == 0 {
			t.Fatalf("%v, %v", q, err)
		}
		if states++; states == 1 {
			go func() { _, _ = clerk.CountUsers(ctx, nil) }() // a change
		}
		if states == 2 {
			break
		}
	}
	if usage, err := clerk.GetUsage(ctx); err != nil || len(usage.GetCallers()) != 1 || usage.GetCallers()[0].GetName() != "tests" {
		t.Errorf("%v, %v", usage, err)
	}
	if who, err := clerk.WhoAmI(ctx); err != nil || !slices.Contains(who.GetMethods(), "GetUser") {
		t.Errorf("%v, %v", who, err)
	}
	if _, err := clerkgatev1.NewUserServiceClient(clerk.Conn()).GetUser(ctx, &clerkgatev1.GetUserRequest{UserId: "user_nobody"}); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("by generated code: %v", err)
	}
	if err := clerk.Close(); err != nil {
		t.Error(err)
	}
	if _, err := clerk.GetUser(ctx, id); !errors.As(err, &e) {
		t.Errorf("closed: %v", err)
	}
}
