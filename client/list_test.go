package client

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

type streamOfUsers = grpc.ServerStreamingServer[clerkgatev1.StreamUsersResponse]

// message returns users, and a token for those behind.
func message(token string, ids ...string) *clerkgatev1.StreamUsersResponse {
	m := &clerkgatev1.StreamUsersResponse{ResumeToken: token}
	for _, id := range ids {
		m.Users = append(m.Users, &clerkgatev1.User{Id: id})
	}
	return m
}

// TestStreamResumes has streams break in each way that passes.
func TestStreamResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tokens []string
		f := &fake{stream: func(req *clerkgatev1.StreamUsersRequest, s streamOfUsers) error {
			tokens = append(tokens, req.GetResumeToken())
			switch len(tokens) {
			case 1:
				return refusal(codes.Unavailable, "SHUTTING_DOWN", 0)
			case 2:
				_ = s.Send(message("a", "user_1", "user_2"))
				return refusal(codes.Aborted, "STREAM_NOT_READ", 0)
			case 3:
				return refusal(codes.ResourceExhausted, "DEADLINE_TOO_SHORT", time.Minute)
			case 4:
				_ = s.Send(message("b"))
				return refusal(codes.Internal, "", 0)
			}
			_ = s.Send(message("", "user_3"))
			return refusal(codes.Internal, "INTERNAL", 0) // behind the last message
		}}
		f.run(t, Config{}, func(c *Client) {
			start := time.Now()
			var got []string
			for u, err := range c.StreamUsers(t.Context(), StreamOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, u.GetId())
			}
			if !slices.Equal(got, []string{"user_1", "user_2", "user_3"}) || !slices.Equal(tokens, []string{"", "", "a", "a", "b"}) {
				t.Errorf("users %q, tokens %q", got, tokens)
			}
			if took := time.Since(start); took < time.Minute || took > time.Minute+2*time.Second {
				t.Errorf("it took %v: the server asked for a minute", took)
			}
		})
	})
}

// TestStreamBreaksOften has a stream break after each user.
func TestStreamBreaksOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		f := &fake{stream: func(_ *clerkgatev1.StreamUsersRequest, s streamOfUsers) error {
			if n++; n == 4*maxBreaks {
				return s.Send(message("", "user_last"))
			}
			_ = s.Send(message("a", "user_1"))
			return refusal(codes.Unavailable, "SHUTTING_DOWN", 0)
		}}
		f.run(t, Config{}, func(c *Client) {
			got := 0
			for _, err := range c.StreamUsers(t.Context(), StreamOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				got++
			}
			if got != 4*maxBreaks {
				t.Errorf("%d users", got)
			}
		})
	})
}

// TestStreamEnds checks which errors end a stream, and how often it is begun again in vain.
func TestStreamEnds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		begun bool
		err   error
		calls int
	}{
		{"outdated", true, refusal(codes.Aborted, "TOKEN_OUTDATED", 0), 1},
		{"refused at first", false, refusal(codes.ResourceExhausted, "CALLER_OVER_QUOTA", time.Second), 1},
		{"a fault", true, refusal(codes.Internal, "INTERNAL", 0), 1},
		{"unavailable", false, refusal(codes.Unavailable, "BREAKER_OPEN", 0), 1 + maxRefusals},
		{"no last message", true, nil, 1},
		{"no message", false, nil, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{stream: func(_ *clerkgatev1.StreamUsersRequest, s streamOfUsers) error {
					if tt.begun {
						_ = s.Send(message("a", "user_1"))
					}
					return tt.err
				}}
				f.run(t, Config{}, func(c *Client) {
					var last error
					n := 0
					for u, err := range c.StreamUsers(t.Context(), StreamOptions{}) {
						if last != nil {
							t.Error("it goes on after an error")
						}
						if last = err; u != nil {
							n++
						}
					}
					var e *Error
					if !errors.As(last, &e) || tt.err != nil && e.Message != "refused" || (n == 1) != tt.begun {
						t.Errorf("%d users, %v", n, last)
					}
					if calls := len(f.taken()); calls != tt.calls {
						t.Errorf("%d calls, want %d", calls, tt.calls)
					}
				})
			})
		})
	}
}

// TestStreamIsLeft checks that a stream ends with the iteration and with its context, also
// while it waits to be resumed.
func TestStreamIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		f := &fake{stream: func(_ *clerkgatev1.StreamUsersRequest, s streamOfUsers) error {
			_ = s.Send(message("a", "user_1"))
			<-s.Context().Done()
			ended <- s.Context().Err()
			return s.Context().Err()
		}}
		f.run(t, Config{}, func(c *Client) {
			start := time.Now()
			for _, err := range c.StreamUsers(t.Context(), StreamOptions{}) {
				if err != nil {
					t.Error(err)
				}
				break
			}
			if err := <-ended; !errors.Is(err, context.Canceled) || time.Since(start) != 0 {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			var last error
			for _, err := range c.StreamUsers(ctx, StreamOptions{}) {
				last = err
			}
			if !errors.Is(last, context.DeadlineExceeded) {
				t.Error(last)
			}
			_ = <-ended
		})
		f = &fake{stream: func(*clerkgatev1.StreamUsersRequest, streamOfUsers) error {
			return refusal(codes.Unavailable, "BREAKER_OPEN", time.Hour)
		}}
		f.run(t, Config{}, func(c *Client) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			start := time.Now()
			for _, err := range c.StreamUsers(ctx, StreamOptions{}) {
				if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
			if took := time.Since(start); took != time.Second {
				t.Errorf("it ended after %v", took)
			}
		})
	})
}

// TestList checks that a list reads its pages, hands over who can't be read, and stops when it
// is left.
func TestList(t *testing.T) {
	var asked []*clerkgatev1.ListUsersRequest
	f := &fake{list: func(_ context.Context, req *clerkgatev1.ListUsersRequest) (*clerkgatev1.ListUsersResponse, error) {
		asked = append(asked, proto.CloneOf(req))
		switch req.GetPageToken() {
		case "":
			return &clerkgatev1.ListUsersResponse{Users: message("", "user_1", "user_2").Users, NextPageToken: "a"}, nil
		case "a":
			return &clerkgatev1.ListUsersResponse{NextPageToken: "b", Unreadable: []*clerkgatev1.UnreadableUser{{UserId: new("user_odd")}}}, nil
		}
		return nil, refusal(codes.Aborted, "TOKEN_OUTDATED", 0)
	}}
	f.run(t, Config{}, func(c *Client) {
		var got, odd []string
		var last error
		filter := &clerkgatev1.UserFilter{EmailAddresses: AnyOf("a@example.com", "b@example.com")}
		for u, err := range c.ListUsers(t.Context(), ListOptions{
			Filter: filter, OrderBy: "last_name", PageSize: 7, Full: true,
			OnUnreadable: func(u *clerkgatev1.UnreadableUser) { odd = append(odd, u.GetUserId()) },
		}) {
			if last = err; err == nil {
				got = append(got, u.GetId())
			}
		}
		var e *Error
		if !slices.Equal(got, []string{"user_1", "user_2"}) || !slices.Equal(odd, []string{"user_odd"}) || !errors.As(last, &e) || e.Reason != "TOKEN_OUTDATED" {
			t.Errorf("users %q, left out %q, %v", got, odd, last)
		}
		want := &clerkgatev1.ListUsersRequest{
			Filter: filter, OrderBy: "last_name", PageSize: 7, View: clerkgatev1.UserView_USER_VIEW_FULL, PageToken: "b",
		}
		if len(asked) != 3 || !proto.Equal(asked[2], want) {
			t.Errorf("asked %v, want %v", asked, want)
		}
		asked = nil
		for _, err := range c.ListUsers(t.Context(), ListOptions{}) {
			if err != nil {
				t.Error(err)
			}
			break
		}
		if len(asked) != 1 || asked[0].GetPageSize() != 100 {
			t.Errorf("asked %v", asked)
		}
	})
}

// TestUnreadableIsLogged checks the default of OnUnreadable.
func TestUnreadableIsLogged(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	f := &fake{stream: func(_ *clerkgatev1.StreamUsersRequest, s streamOfUsers) error {
		return s.Send(&clerkgatev1.StreamUsersResponse{Unreadable: []*clerkgatev1.UnreadableUser{{UserId: new("user_odd"), Message: "odd"}}})
	}}
	f.run(t, Config{}, func(c *Client) {
		for _, err := range c.StreamUsers(t.Context(), StreamOptions{}) {
			t.Error(err)
		}
	})
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "user_odd") {
		t.Errorf("log: %s", &log)
	}
}

// TestStreamThatCannotBeSent checks that a request which can't be encoded fails as any other call.
func TestStreamThatCannotBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{stream: func(_ *clerkgatev1.StreamUsersRequest, s streamOfUsers) error { return s.Send(message("")) }}
		f.run(t, Config{}, func(c *Client) {
			var failures []error
			for _, err := range c.StreamUsers(t.Context(), StreamOptions{Filter: &clerkgatev1.UserFilter{NameQuery: new("\xff")}}) {
				failures = append(failures, err)
			}
			var e *Error
			if len(failures) != 1 || !errors.As(failures[0], &e) || e.Code != codes.Internal {
				t.Errorf("got %v", failures)
			}
		})
	})
}
