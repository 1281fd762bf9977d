package main

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// server is a running server and a client of it.
type server struct {
	*process
	*client
}

var serverAddress = regexp.MustCompile(`"grpc":"(127\.0\.0\.1:\d+)"`)

// startServer starts a server for c with the given flags, and connects to it for the
// given number of concurrent calls.
func (l *lab) startServer(ctx context.Context, c *clerk, calls int, flags ...string) (*server, error) {
	flags = append([]string{
		"serve", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--log-format", "json",
		"--clerk-api-url", c.address, "--quota", fmt.Sprintf("%d/%s", c.quota.Limit, c.quota.Window),
	}, flags...)
	p, err := startProcess(ctx, l.binary, serverAddress, flags...)
	if err != nil {
		return nil, err
	}
	s := &server{process: p, client: &client{}}
	for range 1 + (calls-1)/streamsPerConn {
		if err = s.connect(p.address); err == nil {
			_, err = s.totals(ctx)
		}
		if err != nil {
			s.stop()
			return nil, fmt.Errorf("connect to the server: %w", err)
		}
	}
	return s, nil
}

func (s *server) stop() {
	s.close()
	s.process.stop()
}

// client calls one or more servers over connections in turn.
type client struct {
	conns []*grpc.ClientConn
}

// streamsPerConn is the maximum of concurrent calls on one connection; servers accept
// 2000.
const streamsPerConn = 1000

// connect adds a connection to target.
func (c *client) connect(target string, options ...grpc.DialOption) error {
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient(target, options...)
	if err == nil {
		c.conns = append(c.conns, conn)
	}
	return err
}

func (c *client) close() {
	for _, conn := range c.conns {
		conn.Close()
	}
}

// users returns a client for the i-th of many calls.
func (c *client) users(i int) clerkgatev1.UserServiceClient {
	return clerkgatev1.NewUserServiceClient(c.conns[i%len(c.conns)])
}

// totals returns the server's counters.
func (c *client) totals(ctx context.Context) (*clerkgatev1.Totals, error) {
	resp, err := clerkgatev1.NewQuotaServiceClient(c.conns[0]).GetUsage(ctx, &clerkgatev1.GetUsageRequest{})
	return resp.GetTotals(), err
}

// list requests a page of one user: a call that can't share its request.
func (c *client) list(ctx context.Context, i int) error {
	_, err := c.users(i).ListUsers(ctx, &clerkgatev1.ListUsersRequest{PageSize: 1})
	return err
}

// get requests one user from Clerk, and returns when the request left.
func (c *client) get(ctx context.Context, i int, id string) (sent time.Time, err error) {
	resp, err := c.users(i).GetUser(ctx, &clerkgatev1.GetUserRequest{UserId: id, MaxAge: durationpb.New(0)})
	if err == nil && resp.User.GetId() != id {
		err = fmt.Errorf("asked for %s and got %q", id, resp.User.GetId())
	}
	return resp.GetFreshness().GetFetchTime().AsTime(), err
}
