package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/clerkgate/clerkgate/client"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

var (
	ctx   = context.Background()
	clerk *client.Client
)

func ExampleNew() {
	clerk, err := client.New(client.Config{
		Address: "https://clerkgate.example:9090",
		Token:   client.TokenFile("/run/secrets/clerkgate-token"),
		Caller:  "billing",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer clerk.Close()
	who, err := clerk.WhoAmI(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(who.GetName(), who.GetMethods())
}

func ExampleClient_GetUser() {
	user, err := clerk.GetUser(ctx, "user_CsQnnwTgmRLDZMXQVWxBwcECTyw", client.MaxAge(5*time.Second))
	var failure *client.Error
	switch {
	case errors.Is(err, client.ErrNotFound):
		fmt.Println("no such user")
	case errors.As(err, &failure):
		fmt.Println(failure.Reason, "come back in", failure.RetryAfter)
	default:
		fmt.Println(user.GetFirstName())
	}
}

func ExampleClient_BatchGetUsers() {
	results, err := clerk.BatchGetUsers(ctx, []string{"user_CsQnnwTgmRLDZMXQVWxBwcECTyw", "user_nobody"})
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			fmt.Println(r.ID, r.Err)
			continue
		}
		fmt.Println(r.ID, r.User.GetFirstName())
	}
}

func ExampleClient_ListUsers() {
	filter := &clerkgatev1.UserFilter{EmailAddresses: client.AnyOf("ann@example.com", "bob@example.com")}
	for user, err := range clerk.ListUsers(ctx, client.ListOptions{Filter: filter}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(user.GetFirstName())
	}
}

func ExampleClient_WithPermits() {
	err := clerk.WithPermits(ctx, 1, 0, func(ctx context.Context, lease *client.Lease) error {
		// Send a request to Clerk here, with this ctx.
		lease.Changed("user_CsQnnwTgmRLDZMXQVWxBwcECTyw")
		return nil
	})
	if errors.Is(err, client.ErrNotReleased) {
		log.Print(err) // do not send the request again
	} else if err != nil {
		log.Fatal(err)
	}
}

func ExampleWithPriority() {
	job := client.WithPriority(ctx, client.Batch)
	n, err := clerk.CountUsers(job, nil)
	fmt.Println(n, err)
}

func ExampleDecodeMetadata() {
	type plan struct {
		Plan string `json:"plan"`
	}
	p, err := client.DecodeMetadata[plan](`{"plan": "business"}`) // such as user.GetPublicMetadataJson()
	fmt.Println(p.Plan, err)
	// Output: business <nil>
}
