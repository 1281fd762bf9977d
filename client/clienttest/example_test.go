package clienttest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	"github.com/clerkgate/clerkgate/client"
	"github.com/clerkgate/clerkgate/client/clienttest"
)

// greeting is the code under test.
func greeting(ctx context.Context, clerk *client.Client, id string) (string, error) {
	user, err := clerk.GetUser(ctx, id)
	if errors.Is(err, client.ErrNotFound) {
		return "Hello stranger", nil
	}
	if err != nil {
		return "", err
	}
	return "Hello " + user.GetFirstName(), nil
}

// TestGreeting is an example of a test with New.
func TestGreeting(t *testing.T) {
	clerk, server := clienttest.New(t, clienttest.Config{})
	ann := server.Add(&clerksim.User{FirstName: new("Ann")})
	for id, want := range map[string]string{ann: "Hello Ann", "user_nobody": "Hello stranger"} {
		if got, err := greeting(t.Context(), clerk, id); got != want || err != nil {
			t.Errorf("greeting(%s) = %q, %v; want %q", id, got, err, want)
		}
	}
	server.Outage()
	if _, err := greeting(t.Context(), clerk, "user_new"); err == nil {
		t.Error("no error while Clerk is unavailable")
	}
}
