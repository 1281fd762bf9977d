package client

import (
	"context"
	"iter"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// ListOptions are the options of ListUsers. The zero value is valid.
type ListOptions struct {
	// Filter selects the users. A filter without a condition is an error. Default: everybody.
	Filter *clerkgatev1.UserFilter
	// OrderBy is the order, in Clerk's form, such as "-created_at" or "last_name". Default
	// "-created_at", the newest first.
	OrderBy string
	// PageSize is the maximum of users in a page, up to 500. Default 100.
	PageSize int
	// Full asks for all fields, private metadata among them. The server may not allow it.
	Full bool
	// OnUnreadable is called with users who can't be read and are left out. Default: they
	// are logged as warnings by slog.Default.
	OnUnreadable func(*clerkgatev1.UnreadableUser)
}

// StreamOptions are the options of StreamUsers. The zero value is valid.
type StreamOptions struct {
	// Filter selects the users. A filter without a condition is an error. Default: everybody.
	Filter *clerkgatev1.UserFilter
	// OrderBy is "created_at" or "-created_at". Default "created_at", the oldest first.
	OrderBy string
	// Full and OnUnreadable are as in ListOptions.
	Full         bool
	OnUnreadable func(*clerkgatev1.UnreadableUser)
}

// AnyOf returns a condition of a filter that any of the values meets.
func AnyOf(values ...string) *clerkgatev1.StringList {
	return &clerkgatev1.StringList{Values: values}
}

// ListUsers returns the users that match a filter, page by page. Each page is a call, made
// when the iteration reaches it, and costs a request to Clerk. An error ends the iteration.
func (c *Client) ListUsers(ctx context.Context, o ListOptions) iter.Seq2[*User, error] {
	return func(yield func(*User, error) bool) {
		req := &clerkgatev1.ListUsersRequest{
			Filter: o.Filter, OrderBy: o.OrderBy, PageSize: int32Of(o.PageSize), View: viewOf(o.Full),
		}
		if o.PageSize == 0 {
			req.PageSize = 100
		}
		for {
			page, err := c.users.ListUsers(ctx, req)
			if err != nil {
				yield(nil, err)
				return
			}
			report(page.GetUnreadable(), o.OnUnreadable)
			for _, u := range page.GetUsers() {
				if !yield(&User{u, page.GetFreshness()}, nil) {
					return
				}
			}
			if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
				return
			}
		}
	}
}

// StreamUsers returns all users that match a filter, by time of creation and with priority
// Batch. A stream that breaks is resumed behind the last user. An error ends the iteration.
func (c *Client) StreamUsers(ctx context.Context, o StreamOptions) iter.Seq2[*User, error] {
	return func(yield func(*User, error) bool) {
		req := &clerkgatev1.StreamUsersRequest{Filter: o.Filter, OrderBy: o.OrderBy, View: viewOf(o.Full)}
		open := func(ctx context.Context) (grpc.ServerStreamingClient[clerkgatev1.StreamUsersResponse], error) {
			return c.users.StreamUsers(ctx, req)
		}
		for m, err := range resume(ctx, open) {
			if err != nil {
				yield(nil, err)
				return
			}
			report(m.GetUnreadable(), o.OnUnreadable)
			for _, u := range m.GetUsers() {
				if !yield(&User{u, m.GetFreshness()}, nil) {
					return
				}
			}
			if req.ResumeToken = m.GetResumeToken(); req.ResumeToken == "" {
				return // the last message
			}
		}
		yield(nil, &Error{Code: codes.Internal, Message: "the stream ended before its last message"})
	}
}

// report hands over users who are left out.
func report(users []*clerkgatev1.UnreadableUser, on func(*clerkgatev1.UnreadableUser)) {
	for _, u := range users {
		if on != nil {
			on(u)
			continue
		}
		slog.Warn("clerkgate: a user is left out", "user_id", u.GetUserId(), "reason", u.GetReason(), "message", u.GetMessage())
	}
}
