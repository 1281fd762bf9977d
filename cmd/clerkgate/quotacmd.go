package main

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/words"
)

// quotaCmd is `clerkgate quota`.
type quotaCmd struct {
	clientFlags `embed:"" group:"Connection"`
	Output      string        `short:"o" enum:"json,table" default:"table" help:"json (one line a message with --watch) or table."`
	Watch       bool          `short:"w" help:"Print the quota whenever it changes, until interrupted: on a terminal in one place, with bars; elsewhere one line each."`
	Interval    time.Duration `default:"1s" help:"With --watch, the minimum time between two messages; 100ms or more."`
}

// Run prints the state of the quota.
func (c *quotaCmd) Run(ctx context.Context, std streams) error {
	const least = 100 * time.Millisecond
	if c.Interval < least {
		return usagef("--interval: want %s or more", words.Setting(least))
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
		used, err := getUsage(ctx, client)
		if err != nil {
			return err
		}
		if c.Output == "json" {
			return printQuotaJSON(std.out, resp.GetQuota(), used)
		}
		return printQuota(std.out, resp.GetQuota(), used, time.Now())
	})
}

// getUsage returns what the quota was spent on, nil for a caller that may not know.
func getUsage(ctx context.Context, client clerkgatev1.QuotaServiceClient) (*clerkgatev1.GetUsageResponse, error) {
	resp, err := client.GetUsage(ctx, &clerkgatev1.GetUsageRequest{})
	switch status.Code(err) {
	case codes.OK:
		return resp, nil
	case codes.PermissionDenied:
		return nil, nil
	}
	return nil, callError(err)
}
