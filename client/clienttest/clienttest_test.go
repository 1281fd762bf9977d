package clienttest

import (
	"errors"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	"github.com/clerkgate/clerkgate/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestUsers checks that users can be added, changed and deleted, and that the client sees it
// at once.
func TestUsers(t *testing.T) {
	clerk, server := New(t, Config{Users: -1})
	ctx := t.Context()
	if n, err := clerk.CountUsers(ctx, nil); n != 0 || err != nil {
		t.Errorf("%d users at first, %v", n, err)
	}
	if _, err := clerk.GetUser(ctx, "user_ann"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	id := server.Add(&clerksim.User{ID: "user_ann", FirstName: new("Ann")})
	server.Add(&clerksim.User{})
	if n, err := clerk.CountUsers(ctx, nil); n != 2 || err != nil {
		t.Errorf("%d users, %v", n, err)
	}
	name := func() string {
		t.Helper()
		u, err := clerk.GetUser(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		return u.GetFirstName()
	}
	if got := name(); got != "Ann" {
		t.Errorf("first name %q", got)
	}
	server.Update(id, func(u *clerksim.User) { u.FirstName = new("Anna") })
	if got := name(); got != "Anna" {
		t.Errorf("changed first name %q", got)
	}
	server.Delete(id)
	if _, err := clerk.GetUser(ctx, id); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
	if n := server.Sim().Stats().Requests; n == 0 {
		t.Error("Clerk was not asked")
	}
}

// TestTrouble checks what callers get in each kind of trouble, and that it ends at once.
func TestTrouble(t *testing.T) {
	clerk, server := New(t, Config{Client: client.Config{Priority: client.Batch}})
	ctx := t.Context()
	ids := server.UserIDs(3)
	known := ids[0]
	if _, err := clerk.GetUser(ctx, known); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		begin  func()
		code   codes.Code
		reason string
		retry  time.Duration
	}{
		{"outage", server.Outage, codes.Unavailable, "CLERK_UNAVAILABLE", time.Millisecond},
		{"spent quota", func() { server.SpendQuota(time.Hour) }, codes.ResourceExhausted, "DEADLINE_TOO_SHORT", time.Hour},
		{"429", func() { server.RateLimit(time.Minute) }, codes.ResourceExhausted, "CLERK_RATE_LIMITED", time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.begin()
			check := func(err error) {
				t.Helper()
				var e *client.Error
				if !errors.As(err, &e) || e.Code != tt.code || e.Reason != tt.reason || e.RetryAfter != tt.retry {
					t.Errorf("%#v", err)
				}
			}
			if _, err := clerk.GetUser(ctx, known); err != nil {
				t.Errorf("a known user: %v", err)
			}
			_, err := clerk.GetUser(ctx, ids[1], client.MaxAge(0))
			check(err)
			_, err = clerk.CountUsers(ctx, nil)
			check(err)
			results, err := clerk.BatchGetUsers(ctx, []string{known, ids[2]})
			if err != nil || results[0].Err != nil {
				t.Fatalf("%v, %v", results, err)
			}
			check(results[1].Err)
			for _, err := range clerk.ListUsers(ctx, client.ListOptions{}) {
				check(err)
			}
			check(clerk.WithPermits(ctx, 1, 0, nil))
			server.Recover()
			if _, err := clerk.GetUser(ctx, ids[1], client.MaxAge(0)); err != nil {
				t.Errorf("recovered: %v", err)
			}
		})
	}
}

// TestSeveral runs several servers at once.
func TestSeveral(t *testing.T) {
	for range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			clerk, server := New(t, Config{})
			if n, err := clerk.CountUsers(t.Context(), nil); n != 100 || err != nil {
				t.Errorf("%d users, %v", n, err)
			}
			other, err := client.New(client.Config{Address: server.Address()})
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			u, err := other.GetUser(t.Context(), server.UserIDs(1)[0], client.Full())
			if err != nil || u.PrivateMetadataJson == nil {
				t.Errorf("%v, %v", u, err)
			}
		})
	}
}

// TestEnds checks that the server has ended when the test has.
func TestEnds(t *testing.T) {
	var address string
	t.Run("", func(t *testing.T) {
		_, server := New(t, Config{})
		address = server.Address()
	})
	if conn, err := net.Dial("tcp", address); err == nil {
		_ = conn.Close()
		t.Error("the server still listens")
	}
}
