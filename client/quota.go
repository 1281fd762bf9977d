package client

import (
	"context"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// GetQuota returns the state of the quota, the queue, the breaker and the key.
func (c *Client) GetQuota(ctx context.Context) (*clerkgatev1.Quota, error) {
	resp, err := c.quota.GetQuota(ctx, &clerkgatev1.GetQuotaRequest{})
	return resp.GetQuota(), err
}

// WatchQuota returns the current state of the quota, then each change, at most one per
// minInterval; 0 means 1 s. A watch that breaks is begun again. An error ends the iteration.
func (c *Client) WatchQuota(ctx context.Context, minInterval time.Duration) iter.Seq2[*clerkgatev1.Quota, error] {
	req := &clerkgatev1.WatchQuotaRequest{}
	if minInterval != 0 {
		req.MinInterval = durationpb.New(minInterval)
	}
	open := func(ctx context.Context) (grpc.ServerStreamingClient[clerkgatev1.WatchQuotaResponse], error) {
		return c.quota.WatchQuota(ctx, req)
	}
	return func(yield func(*clerkgatev1.Quota, error) bool) {
		for m, err := range resume(ctx, open) {
			if !yield(m.GetQuota(), err) {
				return
			}
		}
	}
}

// GetUsage returns what the quota was spent on, in all and by each caller.
func (c *Client) GetUsage(ctx context.Context) (*clerkgatev1.GetUsageResponse, error) {
	return c.quota.GetUsage(ctx, &clerkgatev1.GetUsageRequest{})
}

// WhoAmI returns who the server takes the caller for, and what the caller may do.
func (c *Client) WhoAmI(ctx context.Context) (*clerkgatev1.WhoAmIResponse, error) {
	return c.callers.WhoAmI(ctx, &clerkgatev1.WhoAmIRequest{})
}
