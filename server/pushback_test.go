package server

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/leaktest"
)

// TestRetriesKeepTheReason: a client with gRPC's own retries gets the failure at once if
// the time to come back is behind its deadline, and else retries at that time.
func TestRetriesKeepTheReason(t *testing.T) {
	const soon = 20 * time.Millisecond
	up := &fakeUpstream{failures: map[string]error{
		"user_later": &clerkapi.Error{Kind: clerkapi.ErrUnavailable, RetryAfter: time.Hour},
		"user_soon":  &clerkapi.Error{Kind: clerkapi.ErrUnavailable, RetryAfter: soon},
	}}
	r := start(t, Config{Users: up, Quota: up})
	conn, err := leaktest.Dial(r.conn.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultServiceConfig(`{
		"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.1s", "maxBackoff": "2s",
			"backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for id, want := range map[string]struct {
		calls    int
		pushback string
	}{
		"user_later": {1, "-1"},
		"user_soon":  {3, "20"},
	} {
		before := len(up.asked())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var trailer metadata.MD
		_, err := clerkgatev1.NewUserServiceClient(conn).GetUser(ctx, &clerkgatev1.GetUserRequest{UserId: id}, grpc.Trailer(&trailer))
		cancel()
		if got := reasonOf(err); got != "Unavailable CLERK_UNAVAILABLE" {
			t.Errorf("%s: %v", id, err)
		}
		if n := len(up.asked()) - before; n != want.calls {
			t.Errorf("%s: %d calls, want %d", id, n, want.calls)
		}
		if got := trailer.Get("grpc-retry-pushback-ms"); len(got) != 1 || got[0] != want.pushback {
			t.Errorf("%s: pushback %v, want %s", id, got, want.pushback)
		}
	}
}
