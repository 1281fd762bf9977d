package server

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// TestStatusBeforeTheDeadline: a call that reaches its deadline is answered shortly
// before it, with the reason and the time to try again, and not reset.
func TestStatusBeforeTheDeadline(t *testing.T) {
	waits := func(ctx context.Context, _ call) error {
		<-ctx.Done()
		return ctx.Err()
	}
	for _, tt := range []struct {
		name string
		call func(ctx context.Context, conn *grpc.ClientConn, trailer *metadata.MD) error
	}{
		{"GetUser", func(ctx context.Context, conn *grpc.ClientConn, trailer *metadata.MD) error {
			_, err := clerkgatev1.NewUserServiceClient(conn).GetUser(ctx, &clerkgatev1.GetUserRequest{UserId: "user_1"}, grpc.Trailer(trailer))
			return err
		}},
		{"ListUsers", func(ctx context.Context, conn *grpc.ClientConn, trailer *metadata.MD) error {
			_, err := clerkgatev1.NewUserServiceClient(conn).ListUsers(ctx, &clerkgatev1.ListUsersRequest{}, grpc.Trailer(trailer))
			return err
		}},
		{"CountUsers", func(ctx context.Context, conn *grpc.ClientConn, trailer *metadata.MD) error {
			_, err := clerkgatev1.NewUserServiceClient(conn).CountUsers(ctx, &clerkgatev1.CountUsersRequest{}, grpc.Trailer(trailer))
			return err
		}},
		{"InvalidateUsers", func(ctx context.Context, conn *grpc.ClientConn, trailer *metadata.MD) error {
			_, err := clerkgatev1.NewUserServiceClient(conn).InvalidateUsers(ctx, &clerkgatev1.InvalidateUsersRequest{UserIds: []string{"user_1"}}, grpc.Trailer(trailer))
			return err
		}},
		{"AcquirePermits", func(ctx context.Context, conn *grpc.ClientConn, trailer *metadata.MD) error {
			_, err := clerkgatev1.NewQuotaServiceClient(conn).AcquirePermits(ctx, &clerkgatev1.AcquirePermitsRequest{Count: 1}, grpc.Trailer(trailer))
			return err
		}},
		{"StreamUsers", func(ctx context.Context, conn *grpc.ClientConn, trailer *metadata.MD) error {
			stream, err := clerkgatev1.NewUserServiceClient(conn).StreamUsers(ctx, &clerkgatev1.StreamUsersRequest{})
			if err == nil {
				_, err = stream.Recv()
				*trailer = stream.Trailer()
			}
			return err
		}},
		{"WatchQuota", func(ctx context.Context, conn *grpc.ClientConn, trailer *metadata.MD) error {
			stream, err := clerkgatev1.NewQuotaServiceClient(conn).WatchQuota(ctx, &clerkgatev1.WatchQuotaRequest{})
			if err != nil {
				return err
			}
			for err == nil {
				_, err = stream.Recv()
			}
			*trailer = stream.Trailer()
			return err
		}},
	} {
		for _, limit := range []time.Duration{10 * time.Second, 100 * time.Millisecond} {
			t.Run(tt.name+" "+limit.String(), func(t *testing.T) {
				callInBubble(t, &fakeUpstream{onCall: waits}, func(t *testing.T, conn *grpc.ClientConn) {
					ctx, cancel := context.WithTimeout(t.Context(), limit)
					defer cancel()
					var trailer metadata.MD
					began := time.Now()
					err := tt.call(ctx, conn, &trailer)
					took := time.Since(began)
					if reasonOf(err) != "DeadlineExceeded DEADLINE_EXCEEDED" {
						t.Errorf("%s: %v", reasonOf(err), err)
					}
					if retryOf(err) <= 0 {
						t.Error("there is no time to come back")
					}
					if got := trailer.Get("clerkgate-reason"); len(got) != 1 || got[0] != "DEADLINE_EXCEEDED" {
						t.Errorf("the trailer has %v", got)
					}
					if left := limit - took; left != min(50*time.Millisecond, limit/10) {
						t.Errorf("it was answered %v before the deadline", left)
					}
				})
			})
		}
	}
}

// TestBatchAnswersBeforeTheDeadline: a batch is answered with the results that it has.
func TestBatchAnswersBeforeTheDeadline(t *testing.T) {
	up := &fakeUpstream{onCall: func(ctx context.Context, _ call) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	callInBubble(t, up, func(t *testing.T, conn *grpc.ClientConn) {
		for _, limit := range []time.Duration{10 * time.Second, 100 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			start := time.Now()
			resp, err := clerkgatev1.NewUserServiceClient(conn).BatchGetUsers(ctx, &clerkgatev1.BatchGetUsersRequest{UserIds: []string{"user_1", "-malformed"}})
			if err != nil || resp.Results[0].GetError().GetReason() != clerkgatev1.ErrorReason_ERROR_REASON_DEADLINE_EXCEEDED {
				t.Errorf("%v, %v", resp, err)
			}
			if left := limit - time.Since(start); left != min(50*time.Millisecond, limit/10) {
				t.Errorf("%v of %v were left", left, limit)
			}
			cancel()
		}
	})
}

// retryOf returns the retry delay of a failure, 0 if none.
func retryOf(err error) time.Duration {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.RetryDelay.AsDuration()
		}
	}
	return 0
}

// callInBubble runs f with a connection to a server with up, in virtual time.
func callInBubble(t *testing.T, up *fakeUpstream, f func(*testing.T, *grpc.ClientConn), prepare ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Users: up, Quota: up}
		for _, p := range prepare {
			p(&cfg)
		}
		f(t, serveInBubble(t, New(cfg)))
	})
}

// fixedWindow keeps a client from receiving more than 64 KiB of a stream ahead of its
// reader; in virtual time it would enlarge its window.
var fixedWindow = grpc.WithInitialWindowSize(64 << 10)

// serveInBubble runs s in a bubble until the test ends, and returns a connection.
func serveInBubble(t *testing.T, s *Server) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	ctx, stop := context.WithCancel(context.Background())
	following, served := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(following)
		s.runPeriodic(ctx)
	}()
	go func() {
		defer close(served)
		_ = s.grpc.Serve(listener)
	}()
	conn := dialInBubble(t, listener, fixedWindow)
	t.Cleanup(func() {
		_ = conn.Close()
		s.grpc.Stop()
		stop()
		<-following
		<-served
	})
	return conn
}
