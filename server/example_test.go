package server_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http/httptest"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/usage"
	"github.com/clerkgate/clerkgate/internal/usercache"
	"github.com/clerkgate/clerkgate/server"
)

// The whole service in one process: a simulated Clerk, a client of it, the gate, the cache,
// and the server.
func Example() {
	sim, err := clerksim.New(clerksim.Config{Users: 1})
	if err != nil {
		log.Fatal(err)
	}
	clerk := httptest.NewServer(sim)
	defer clerk.Close()
	client, err := clerkapi.New(clerkapi.Config{BaseURL: clerk.URL, Key: func() string { return "sk_test_example" }})
	if err != nil {
		log.Fatal(err)
	}
	defer client.CloseIdleConnections()

	store, err := usercache.NewStore(usercache.Config{})
	if err != nil {
		log.Fatal(err)
	}
	callers := usage.New()
	g := gate.New(gate.Config{Upstream: client, Callers: callers, Quota: quota.Config{Limit: 100}, Stamp: store.Stamp, Keep: store.Keep})
	cache := usercache.New(store, g, callers)

	addresses := make(chan server.Addresses, 1)
	s := server.New(server.Config{
		Users: cache, Quota: g, GRPCListen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0",
		Logger:   slog.New(slog.NewTextHandler(io.Discard, nil)),
		OnListen: func(a server.Addresses) { addresses <- a },
	})

	// New starts nothing; each Run owns its goroutines and ends with ctx.
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{store.Run, cache.Run, g.Run, s.Run} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				log.Fatal(err)
			}
		})
	}
	defer running.Wait()
	defer stop()

	conn, err := grpc.NewClient((<-addresses).GRPC.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	users := clerkgatev1.NewUserServiceClient(conn)
	id := sim.UserIDs(1)[0]
	for range 2 {
		resp, err := users.GetUser(ctx, &clerkgatev1.GetUserRequest{UserId: id})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(resp.User.Id == id, resp.Freshness.ServedFrom)
	}
	// Output:
	// true SERVED_FROM_UPSTREAM
	// true SERVED_FROM_MEMORY
}
