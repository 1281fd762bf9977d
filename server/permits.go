package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
)

func (s *quotaService) AcquirePermits(ctx context.Context, req *clerkgatev1.AcquirePermitsRequest) (*clerkgatev1.AcquirePermitsResponse, error) {
	waiting := ctx
	if wait := req.GetMaxWait(); wait != nil {
		if err := checkDuration("max_wait", wait); err != nil {
			return nil, err
		}
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, wait.AsDuration())
		defer cancel()
	}
	lease, err := s.quota.Acquire(waiting, int(req.GetCount()), optionsOf(ctx))
	var size *gate.LeaseSizeError
	switch {
	case errors.As(err, &size):
		return nil, invalid("count", fmt.Sprintf("must be 1 to %d, what the quota allows at once", size.Max))
	case err != nil && waiting.Err() != nil && ctx.Err() == nil:
		// It is max_wait that is over, not the call's deadline.
		return nil, &gate.Error{Kind: gate.ErrDeadlineTooShort, Err: err}
	case err != nil:
		return nil, err
	}
	return &clerkgatev1.AcquirePermitsResponse{
		LeaseId: lease.ID, ExpireTime: timestamp(lease.Expires), Ttl: durationpb.New(time.Until(lease.Expires)),
	}, nil
}

// usedForm describes used_count to those who got it wrong.
const usedForm = "must be 0 to the number of permits of the lease, or unset for all"

func (s *quotaService) ReleasePermits(_ context.Context, req *clerkgatev1.ReleasePermitsRequest) (*clerkgatev1.ReleasePermitsResponse, error) {
	if req.GetLeaseId() == "" {
		return nil, invalid("lease_id", "must be given, as AcquirePermits answered it")
	}
	used := gate.AllUsed
	if req.UsedCount != nil {
		if used = int(req.GetUsedCount()); used < 0 {
			return nil, invalid("used_count", usedForm)
		}
	}
	err := s.quota.Release(req.GetLeaseId(), used)
	if errors.Is(err, gate.ErrLeaseUse) {
		return nil, invalid("used_count", usedForm)
	}
	if err != nil {
		return nil, err
	}
	return &clerkgatev1.ReleasePermitsResponse{}, nil
}
