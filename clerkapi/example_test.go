package clerkapi_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http/httptest"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
)

// One request reads up to MaxLookup users, and each id has its own result.
func ExampleClient_LookupUsers() {
	sim, err := clerksim.New(clerksim.Config{Users: 1})
	if err != nil {
		log.Fatal(err)
	}
	clerk := httptest.NewServer(sim)
	defer clerk.Close()

	key, err := clerkapi.ParseKey("sk_test_example")
	if err != nil {
		log.Fatal(err)
	}
	client, err := clerkapi.New(clerkapi.Config{BaseURL: clerk.URL, Key: key.Secret})
	if err != nil {
		log.Fatal(err)
	}
	defer client.CloseIdleConnections()

	ids := []string{sim.UserIDs(1)[0], "user_nobody"}
	lookup, err := client.LookupUsers(context.Background(), ids)
	if err != nil {
		log.Fatal(err)
	}
	for i, result := range lookup.Results {
		switch {
		case result.Err == nil:
			fmt.Println("found:", result.User.Id == ids[i])
		case errors.Is(result.Err, clerkapi.ErrNotFound):
			fmt.Println("not found:", ids[i])
		}
	}
	// Output:
	// found: true
	// not found: user_nobody
}

// A malformed id never reaches Clerk: there "-user_x" would mean everybody but user_x.
func ExampleParamError() {
	client, err := clerkapi.New(clerkapi.Config{Key: func() string { return "sk_test_example" }})
	if err != nil {
		log.Fatal(err)
	}
	_, err = client.LookupUsers(context.Background(), []string{"-user_x"})
	if param, ok := errors.AsType[*clerkapi.ParamError](err); ok {
		fmt.Println(param.Field)
	}
	// Output:
	// ids[0]
}

// Judge decides what a failure means for the permit, the circuit breaker and retries.
func ExampleJudge() {
	err := &clerkapi.Error{Kind: clerkapi.ErrUnavailable, Status: 503}
	v := clerkapi.Judge(err)
	fmt.Println(v.Retry, v.Breaker, v.Spent)
	// Output:
	// true failure answered
}

// A Key never shows itself.
func ExampleKey() {
	key, err := clerkapi.ParseKey("sk_live_secret")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(key, key.Instance())
	// Output:
	// [redacted] live
}
