package client

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// lender is a fake that lends permits for 30 s.
type lender struct {
	fake
	acquired []*clerkgatev1.AcquirePermitsRequest
	released []*clerkgatev1.ReleasePermitsRequest
	dropped  []string
	refuse   error // of a release
}

func newLender() *lender {
	l := &lender{}
	l.acquire = func(_ context.Context, req *clerkgatev1.AcquirePermitsRequest) (*clerkgatev1.AcquirePermitsResponse, error) {
		l.acquired = append(l.acquired, req)
		return &clerkgatev1.AcquirePermitsResponse{LeaseId: "lease", Ttl: durationpb.New(30 * time.Second)}, nil
	}
	l.release = func(_ context.Context, req *clerkgatev1.ReleasePermitsRequest) (*clerkgatev1.ReleasePermitsResponse, error) {
		l.released = append(l.released, req)
		return &clerkgatev1.ReleasePermitsResponse{}, l.refuse
	}
	l.invalidate = func(_ context.Context, req *clerkgatev1.InvalidateUsersRequest) (*clerkgatev1.InvalidateUsersResponse, error) {
		l.dropped = append(l.dropped, req.GetUserIds()...)
		return &clerkgatev1.InvalidateUsersResponse{}, nil
	}
	return l
}

var errWork = errors.New("the work's own error")

// TestPermits checks what a lease is returned with.
func TestPermits(t *testing.T) {
	for _, tt := range []struct {
		name string
		work func(*Lease) error
		want *clerkgatev1.ReleasePermitsRequest
	}{
		{"nothing said", func(*Lease) error { return nil },
			&clerkgatev1.ReleasePermitsRequest{UsedCount: new(int32(3))}},
		{"failed", func(*Lease) error { return errWork },
			&clerkgatev1.ReleasePermitsRequest{UsedCount: new(int32(3)), UnansweredCount: 3}},
		{"reported", func(l *Lease) error {
			l.Report(2, 2)
			l.Report(2, 1)
			l.Changed("user_a")
			l.Changed("user_b", "user_c")
			l.RateLimited()
			return nil
		}, &clerkgatev1.ReleasePermitsRequest{
			UsedCount: new(int32(2)), UnansweredCount: 1, ChangedUserIds: []string{"user_a", "user_b", "user_c"}, RateLimited: true,
		}},
		{"reported and failed", func(l *Lease) error { l.Report(0, 0); return errWork },
			&clerkgatev1.ReleasePermitsRequest{UsedCount: new(int32(0))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLender()
			l.run(t, Config{}, func(c *Client) {
				var own error
				err := c.WithPermits(t.Context(), 3, time.Minute, func(_ context.Context, lease *Lease) error {
					if lease.Count() != 3 {
						t.Errorf("%d permits", lease.Count())
					}
					own = tt.work(lease)
					return own
				})
				if err != own {
					t.Errorf("error %v, want %v", err, own)
				}
				tt.want.LeaseId = "lease"
				if len(l.released) != 1 || !proto.Equal(l.released[0], tt.want) {
					t.Errorf("released %v, want %v", l.released, tt.want)
				}
				if a := l.acquired[0]; a.GetCount() != 3 || a.GetTtl().AsDuration() != time.Minute || len(a.GetRequestId()) < 20 {
					t.Errorf("acquired %v", a)
				}
			})
		})
	}
}

// TestPermitsAreReturned checks that they are, when work panics or its context has ended.
func TestPermitsAreReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLender()
		l.run(t, Config{}, func(c *Client) {
			func() {
				defer func() {
					if p := recover(); p != "at the disco" {
						t.Errorf("panic %v", p)
					}
				}()
				_ = c.WithPermits(t.Context(), 1, 0, func(context.Context, *Lease) error { panic("at the disco") })
			}()
			ctx, cancel := context.WithCancel(t.Context())
			err := c.WithPermits(ctx, 1, 0, func(ctx context.Context, _ *Lease) error {
				cancel()
				return ctx.Err()
			})
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			// The context of work ends with the lease.
			start := time.Now()
			err = c.WithPermits(t.Context(), 1, 0, func(ctx context.Context, _ *Lease) error {
				<-ctx.Done()
				return ctx.Err()
			})
			if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 30*time.Second {
				t.Errorf("after %v: %v", took, err)
			}
			if len(l.released) != 3 || slices.ContainsFunc(l.released, func(r *clerkgatev1.ReleasePermitsRequest) bool { return r.GetUnansweredCount() != 1 }) {
				t.Errorf("released %v", l.released)
			}
		})
	})
}

// TestPermitsTrouble checks what happens if permits can't be had or returned.
func TestPermitsTrouble(t *testing.T) {
	changed := ids(130)
	for _, tt := range []struct {
		name    string
		refuse  error
		dropped []string // by calls of their own
		fails   bool
	}{
		{"returned", nil, changed[100:], false},
		{"ended", refusal(codes.NotFound, "LEASE_NOT_FOUND", 0), changed, false},
		{"unreachable", refusal(codes.FailedPrecondition, "LEASE_UNREACHABLE", 0), changed, false}, // a code that is not retried
		{"stale replicas", refusal(codes.Internal, "REDIS_UNAVAILABLE", 0), changed[100:], true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLender()
			l.refuse = tt.refuse
			l.run(t, Config{}, func(c *Client) {
				err := c.WithPermits(t.Context(), 1, 0, func(_ context.Context, lease *Lease) error {
					lease.Changed(changed...)
					return nil
				})
				var e *Error
				if errors.Is(err, ErrNotReleased) != tt.fails || errors.As(err, &e) != tt.fails {
					t.Errorf("error %v", err)
				}
				if !slices.Equal(l.dropped, tt.dropped) || !slices.Equal(l.released[0].GetChangedUserIds(), changed[:100]) {
					t.Errorf("%d dropped, released %v", len(l.dropped), l.released)
				}
			})
		})
	}
	l := newLender()
	l.acquire = func(context.Context, *clerkgatev1.AcquirePermitsRequest) (*clerkgatev1.AcquirePermitsResponse, error) {
		return nil, refusal(codes.ResourceExhausted, "DEADLINE_TOO_SHORT", time.Second)
	}
	l.run(t, Config{}, func(c *Client) {
		err := c.WithPermits(t.Context(), 1, 0, func(context.Context, *Lease) error {
			t.Error("called without permits")
			return nil
		})
		var e *Error
		if !errors.As(err, &e) || e.RetryAfter != time.Second || len(l.released) != 0 {
			t.Errorf("%v", err)
		}
	})
}
