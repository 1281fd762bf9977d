package client

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// TestEachCall checks what every call has: the caller, the priority, the token and a deadline.
func TestEachCall(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(token, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		f := &fake{
			get: func(_ context.Context, req *clerkgatev1.GetUserRequest) (*clerkgatev1.GetUserResponse, error) {
				return found(req.GetUserId()), nil
			},
			stream: func(_ *clerkgatev1.StreamUsersRequest, s streamOfUsers) error { return s.Send(message("")) },
		}
		f.run(t, Config{Caller: "billing", Token: TokenFile(token), Timeout: 3 * time.Second}, func(c *Client) {
			check := func(token, priority string, deadline time.Duration) {
				t.Helper()
				calls := f.taken()
				if len(calls) != 1 {
					t.Fatalf("%d calls", len(calls))
				}
				call := calls[0]
				for key, want := range map[string]string{
					"authorization": token, "clerkgate-priority": priority, "clerkgate-caller": "billing",
				} {
					if got := call.md.Get(key); !slices.Equal(got, []string{want}) {
						t.Errorf("%s: %q, want %q", key, got, want)
					}
				}
				if call.hasDeadline != (deadline > 0) || call.left.Round(time.Second) != deadline {
					t.Errorf("deadline in %v, want %v", call.left, deadline)
				}
				if agent := call.md.Get("user-agent"); len(agent) != 1 || !strings.HasPrefix(agent[0], "clerkgate-go ") {
					t.Errorf("user agent %q", agent)
				}
			}
			write("cgt_first\n")
			if _, err := c.GetUser(t.Context(), "user_x"); err != nil {
				t.Error(err)
			}
			check("Bearer cgt_first", "interactive", 3*time.Second)
			write("cgt_second")
			ctx, cancel := context.WithTimeout(WithPriority(t.Context(), Batch), time.Minute)
			defer cancel()
			if _, err := c.GetUser(ctx, "user_x"); err != nil {
				t.Error(err)
			}
			check("Bearer cgt_second", "batch", time.Minute)
			for _, err := range c.StreamUsers(t.Context(), StreamOptions{}) {
				t.Error(err)
			}
			check("Bearer cgt_second", "interactive", 0)
			write("cgt two")
			_, err := c.GetUser(t.Context(), "user_x")
			if err == nil || strings.Contains(err.Error(), "cgt") || !strings.Contains(err.Error(), "no space") {
				t.Errorf("a bad token: %v", err)
			}
		})
	})
}

// TestRetries checks what is retried, how often, and when.
func TestRetries(t *testing.T) {
	for _, tt := range []struct {
		name     string
		err      error
		pushback string
		calls    int
		least    time.Duration // that it takes
		most     time.Duration
	}{
		{"unavailable", refusal(codes.Unavailable, "SHUTTING_DOWN", 0), "", 3, 100 * time.Millisecond, time.Second},
		{"with a time", refusal(codes.Unavailable, "BREAKER_OPEN", time.Second), "1000", 3, 2 * time.Second, 2 * time.Second},
		{"too late", refusal(codes.Unavailable, "BREAKER_OPEN", time.Hour), "-1", 1, 0, 0},
		{"exhausted", refusal(codes.ResourceExhausted, "QUEUE_FULL", time.Second), "1000", 1, 0, 0},
		{"internal", refusal(codes.Internal, "INTERNAL", 0), "", 1, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{get: func(ctx context.Context, _ *clerkgatev1.GetUserRequest) (*clerkgatev1.GetUserResponse, error) {
					if tt.pushback != "" {
						_ = grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", tt.pushback))
					}
					return nil, tt.err
				}}
				f.run(t, Config{}, func(c *Client) {
					_, err := c.GetUser(t.Context(), "user_x")
					var e *Error
					if !errors.As(err, &e) || e.Code != status.Code(tt.err) || e.Message != "refused" {
						t.Errorf("error %v", err)
					}
					calls := f.taken()
					if len(calls) != tt.calls {
						t.Fatalf("%d calls, want %d", len(calls), tt.calls)
					}
					if took := calls[len(calls)-1].at.Sub(calls[0].at); took < tt.least || took > tt.most {
						t.Errorf("calls over %v, want %v to %v", took, tt.least, tt.most)
					}
				})
			})
		})
	}
}

// TestErrors checks what errors have, and what they match.
func TestErrors(t *testing.T) {
	errs := map[string]error{
		"user_none": refusal(codes.NotFound, "USER_NOT_FOUND", 0),
		"user_full": refusal(codes.ResourceExhausted, "QUEUE_FULL", 1500*time.Millisecond),
		"user_new":  refusal(codes.FailedPrecondition, "BEYOND_US", 0),
	}
	f := &fake{get: func(ctx context.Context, req *clerkgatev1.GetUserRequest) (*clerkgatev1.GetUserResponse, error) {
		if req.GetUserId() == "user_slow" {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return nil, errs[req.GetUserId()]
	}}
	f.run(t, Config{}, func(c *Client) {
		get := func(ctx context.Context, id string) *Error {
			t.Helper()
			_, err := c.GetUser(ctx, id)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%s: %v", id, err)
			}
			return e
		}
		e := get(t.Context(), "user_none")
		if !errors.Is(e, ErrNotFound) || e.Reason != "USER_NOT_FOUND" || e.RetryAfter != 0 ||
			e.ErrorReason() != clerkgatev1.ErrorReason_ERROR_REASON_USER_NOT_FOUND || status.Code(e) != codes.NotFound {
			t.Errorf("%#v", e)
		}
		if got := e.Error(); got != "clerkgate: NotFound (USER_NOT_FOUND): refused" {
			t.Error(got)
		}
		e = get(t.Context(), "user_full")
		if errors.Is(e, ErrNotFound) || e.Code != codes.ResourceExhausted || e.RetryAfter != 1500*time.Millisecond {
			t.Errorf("%#v", e)
		}
		e = get(t.Context(), "user_new")
		if e.Reason != "BEYOND_US" || e.ErrorReason() != 0 || len(status.Convert(e).Details()) != 1 {
			t.Errorf("%#v", e)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if e = get(ctx, "user_slow"); !errors.Is(e, context.DeadlineExceeded) || errors.Is(e, context.Canceled) {
			t.Errorf("%#v", e)
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		if e = get(ctx, "user_slow"); !errors.Is(e, context.Canceled) {
			t.Errorf("%#v", e)
		}
	})
	c, err := New(Config{Address: "127.0.0.1:1"}) // nobody listens there
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.GetUser(t.Context(), "user_x")
	var e *Error
	if !errors.As(err, &e) || e.Code != codes.Unavailable || e.Reason != "" {
		t.Errorf("%#v", err)
	}
}
