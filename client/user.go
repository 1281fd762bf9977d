package client

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// User is a user, as the contract describes it, and how fresh this copy is.
type User struct {
	*clerkgatev1.User
	Freshness *clerkgatev1.Freshness
}

// String returns the id alone, so that logs get no personal data.
func (u User) String() string { return u.GetId() }

// LogValue returns the id alone, for handlers of slog that do not use String.
func (u User) LogValue() slog.Value { return slog.StringValue(u.GetId()) }

// PrimaryEmailAddress returns the primary email address, empty if there is none.
func (u *User) PrimaryEmailAddress() string {
	for _, e := range u.GetEmailAddresses() {
		if e.GetId() != "" && e.GetId() == u.GetPrimaryEmailAddressId() {
			return e.GetEmailAddress()
		}
	}
	return ""
}

// DecodeMetadata decodes a field of JSON text, such as that of GetPublicMetadataJson of a user,
// a membership or an organization. It returns the zero value for an empty text, which a field
// has that is not set.
func DecodeMetadata[T any](text string) (T, error) {
	var v T
	if text == "" {
		return v, nil
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return v, fmt.Errorf("metadata: %w", err)
	}
	return v, nil
}

// ReadOption selects which copies of users are acceptable, and which fields they have. A nil
// ReadOption has no effect.
type ReadOption func(*readSettings)

// readSettings has the settings of ReadOptions.
type readSettings struct {
	view         clerkgatev1.UserView
	maxAge       *durationpb.Duration
	minUpdatedAt *timestamppb.Timestamp
}

func readingOf(options []ReadOption) readSettings {
	r := readSettings{view: viewOf(false)}
	for _, set := range options {
		if set != nil {
			set(&r)
		}
	}
	return r
}

func viewOf(full bool) clerkgatev1.UserView {
	if full {
		return clerkgatev1.UserView_USER_VIEW_FULL
	}
	return clerkgatev1.UserView_USER_VIEW_BASIC
}

// Full asks for all fields, private metadata among them. The server may not allow it.
func Full() ReadOption { return func(r *readSettings) { r.view = viewOf(true) } }

// MaxAge sets the age of the oldest acceptable copy. 0 asks Clerk. Without it, what the server
// keeps is acceptable, for a minute unless it is configured otherwise.
func MaxAge(d time.Duration) ReadOption {
	return func(r *readSettings) { r.maxAge = durationpb.New(d) }
}

// MinUpdatedAt sets the updated_at that the users are known to have. Older copies are not
// returned.
func MinUpdatedAt(t time.Time) ReadOption {
	return func(r *readSettings) { r.minUpdatedAt = timestamppb.New(t) }
}

// GetUser returns a user. The error matches ErrNotFound if Clerk has no user of this id.
func (c *Client) GetUser(ctx context.Context, id string, options ...ReadOption) (*User, error) {
	r := readingOf(options)
	resp, err := c.users.GetUser(ctx, &clerkgatev1.GetUserRequest{
		UserId: id, View: r.view, MaxAge: r.maxAge, MinUpdatedAt: r.minUpdatedAt,
	})
	if err != nil {
		return nil, err
	}
	return &User{resp.GetUser(), resp.GetFreshness()}, nil
}

// CountUsers returns how many users match the filter; nil means everybody.
func (c *Client) CountUsers(ctx context.Context, filter *clerkgatev1.UserFilter) (int, error) {
	resp, err := c.users.CountUsers(ctx, &clerkgatev1.CountUsersRequest{Filter: filter})
	return int(resp.GetTotalCount()), err
}
