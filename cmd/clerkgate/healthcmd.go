package main

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// healthCmd is `clerkgate health`.
type healthCmd struct {
	clientFlags `embed:"" group:"Connection"`
	Service     string `placeholder:"NAME" help:"The service whose health to read: clerk, for the connection to Clerk; alive, which is SERVING as long as the process runs; or a service such as clerkgate.v1.UserService. Default: the server as a whole."`
	SkipVerify  bool   `help:"Use TLS, and accept any certificate of the server: for probes on its own machine, at an address that the certificate does not name. No token is sent."`
	Output      string `short:"o" enum:"json,table" default:"table" help:"json, or table (the status alone)."`
}

// Run prints the health of the server, and fails unless it is SERVING. It is the
// probe for images that have no shell.
func (c *healthCmd) Run(ctx context.Context, std streams) error {
	switch {
	case c.SkipVerify && c.CAFile != "":
		return usagef("--skip-verify: not together with --ca-file")
	case c.SkipVerify && c.TokenFile != "":
		return usagef("--skip-verify: not together with --token-file")
	}
	c.anyServer = c.SkipVerify
	return c.once(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		resp, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: c.Service})
		switch {
		case status.Code(err) == codes.NotFound:
			return usagef("--service: the server knows no service %q", c.Service)
		case err != nil:
			return callError(err)
		}
		if c.Output == "json" {
			err = printJSON(std.out, resp, true)
		} else {
			_, err = fmt.Fprintln(std.out, resp.GetStatus())
		}
		if err != nil {
			return err
		}
		if resp.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			return &codedError{"the server is not serving", exitUnavailable}
		}
		return nil
	})
}
