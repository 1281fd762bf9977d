package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// quotaCmd is `clerkgate quota`.
type quotaCmd struct {
	clientFlags `embed:""`
	Output      string        `short:"o" enum:"json,table" default:"table" help:"json (one line a message with --watch) or table."`
	Watch       bool          `short:"w" help:"Go on printing whenever something changes, until interrupted."`
	Interval    time.Duration `default:"1s" help:"With --watch, the least time between two messages; 100ms or more."`
}

// Run prints how the quota stands.
func (c *quotaCmd) Run(ctx context.Context, std streams) error {
	const least = 100 * time.Millisecond
	if c.Interval < least {
		return usagef("--interval: want %v or more", least)
	}
	if c.Watch {
		return c.watch(ctx, std)
	}
	return c.once(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		client := clerkgatev1.NewQuotaServiceClient(conn)
		resp, err := client.GetQuota(ctx, &clerkgatev1.GetQuotaRequest{})
		if err != nil {
			return callError(err)
		}
		if c.Output == "json" {
			return printJSON(std.out, resp.GetQuota(), true)
		}
		used, err := usage(ctx, client)
		if err != nil {
			return err
		}
		return printQuota(std.out, resp.GetQuota(), used, time.Now())
	})
}

// usage returns what the quota was spent on, nil for a caller that may not know.
func usage(ctx context.Context, client clerkgatev1.QuotaServiceClient) (*clerkgatev1.GetUsageResponse, error) {
	resp, err := client.GetUsage(ctx, &clerkgatev1.GetUsageRequest{})
	switch status.Code(err) {
	case codes.OK:
		return resp, nil
	case codes.PermissionDenied:
		return nil, nil
	}
	return nil, callError(err)
}

// watch prints how the quota stands until ctx or the server ends, on a terminal
// always at the same place. The time-out is that of the first message.
func (c *quotaCmd) watch(ctx context.Context, std streams) error {
	conn, err := c.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	interrupted := ctx
	ctx, cancel := context.WithCancelCause(callerContext(ctx))
	defer cancel(nil)
	timeout := time.AfterFunc(c.Timeout, func() { cancel(context.DeadlineExceeded) })
	defer timeout.Stop()
	req := &clerkgatev1.WatchQuotaRequest{MinInterval: durationpb.New(c.Interval)}
	client := clerkgatev1.NewQuotaServiceClient(conn)
	stream, err := client.WatchQuota(ctx, req)
	for first := true; ; first = false {
		var m *clerkgatev1.WatchQuotaResponse
		if err == nil {
			m, err = stream.Recv()
		}
		switch {
		case interrupted.Err() != nil:
			return nil
		case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
			return &codedError{fmt.Sprintf("no answer within %s", c.Timeout), exitUnavailable}
		case err != nil:
			return callError(err)
		}
		timeout.Stop()
		if c.Output == "json" {
			err = printJSON(std.out, m.GetQuota(), false)
		} else {
			var used *clerkgatev1.GetUsageResponse
			if used, err = usage(ctx, client); err == nil {
				err = printQuotaAgain(std.out, m.GetQuota(), used, time.Now(), first)
			}
		}
		if err != nil {
			return err
		}
	}
}
