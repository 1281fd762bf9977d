package server

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/words"
)

// leastLeaseTTL is the minimum ttl of a lease.
const leastLeaseTTL = time.Second

var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._/:-]{1,64}$`)

func (s *quotaService) AcquirePermits(ctx context.Context, req *clerkgatev1.AcquirePermitsRequest) (*clerkgatev1.AcquirePermitsResponse, error) {
	ask := gate.LeaseRequest{Permits: int(req.GetCount()), ID: req.GetRequestId()}
	if ask.ID != "" && !requestIDPattern.MatchString(ask.ID) {
		return nil, invalid("request_id", "must be 1 to 64 letters, digits, '.', '_', '-', '/' and ':', or empty")
	}
	if ttl := req.GetTtl(); ttl != nil {
		if ask.TTL = ttl.AsDuration(); ttl.CheckValid() != nil || ask.TTL < leastLeaseTTL || ask.TTL > gate.MaxLeaseTTL {
			return nil, invalid("ttl", fmt.Sprintf("must be %s to %s, or unset", words.Duration(leastLeaseTTL), words.Duration(gate.MaxLeaseTTL)))
		}
	}
	if err := s.guard.spendRequests(ctx, max(ask.Permits, 0)); err != nil {
		if never, ok := errors.AsType[*tooMany](err); ok {
			return nil, invalid("count", fmt.Sprintf("must be 1 to %d, this server's part of the caller's max_requests", never.most))
		}
		return nil, err
	}
	waiting := ctx
	if wait := req.GetMaxWait(); wait != nil {
		if err := checkDuration("max_wait", wait); err != nil {
			return nil, err
		}
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, wait.AsDuration())
		defer cancel()
	}
	lease, err := s.quota.Acquire(waiting, ask, optionsOf(ctx))
	if err != nil || lease.Repeated {
		s.guard.giveBackRequests(ctx, max(ask.Permits, 0))
	}
	var size *gate.LeaseSizeError
	switch {
	case errors.As(err, &size):
		return nil, invalid("count", fmt.Sprintf("must be 1 to %d, the share of the quota that may be lent at once", size.Max))
	case errors.Is(err, gate.ErrRequestID):
		return nil, invalid("request_id", "was used for another count or ttl; a retry must repeat both")
	case err != nil && waiting.Err() != nil && ctx.Err() == nil:
		// max_wait is over, not the call's deadline.
		return nil, &gate.Error{Kind: gate.ErrDeadlineTooShort, Err: err}
	case err != nil:
		return nil, err
	}
	return &clerkgatev1.AcquirePermitsResponse{
		LeaseId: lease.ID, ExpireTime: timestamp(lease.Expires), Ttl: durationpb.New(time.Until(lease.Expires)),
	}, nil
}

// Descriptions of valid counts in errors.
const (
	usedForm       = "must be 0 to the number of permits of the lease, or unset for all"
	unansweredForm = "must be 0 to the number of requests that were sent"
)

func (s *quotaService) ReleasePermits(ctx context.Context, req *clerkgatev1.ReleasePermitsRequest) (*clerkgatev1.ReleasePermitsResponse, error) {
	use, err := leaseUse(req)
	if err != nil {
		return nil, err
	}
	err = s.quota.Release(ctx, req.GetLeaseId(), use)
	// The users were changed, whatever happened to the lease.
	if ids := req.GetChangedUserIds(); len(ids) > 0 {
		if stale := s.users.Invalidate(ctx, ids); err == nil {
			err = stale
		}
	}
	switch {
	case errors.Is(err, gate.ErrLeaseUse):
		return nil, invalid("used_count", usedForm)
	case errors.Is(err, gate.ErrUnanswered):
		return nil, invalid("unanswered_count", unansweredForm)
	case err != nil:
		return nil, err
	}
	return &clerkgatev1.ReleasePermitsResponse{}, nil
}

// leaseUse checks a release and returns its use of the lease.
func leaseUse(req *clerkgatev1.ReleasePermitsRequest) (gate.LeaseUse, error) {
	use := gate.LeaseUse{Used: gate.AllUsed, Unanswered: int(req.GetUnansweredCount()), RateLimited: req.GetRateLimited()}
	if req.GetLeaseId() == "" {
		return use, invalid("lease_id", "must be the lease_id that AcquirePermits returned")
	}
	if req.UsedCount != nil {
		if use.Used = int(req.GetUsedCount()); use.Used < 0 {
			return use, invalid("used_count", usedForm)
		}
	}
	if use.Unanswered < 0 || req.UsedCount != nil && use.Unanswered > use.Used {
		return use, invalid("unanswered_count", unansweredForm)
	}
	ids := req.GetChangedUserIds()
	if len(ids) > maxBatch {
		return use, invalid("changed_user_ids", fmt.Sprintf("must hold at most %d ids", maxBatch))
	}
	return use, checkUserIDs("changed_user_ids", ids)
}

// checkUserIDs checks the ids in a field of a request.
func checkUserIDs(field string, ids []string) error {
	for i, id := range ids {
		if !clerkapi.ValidUserID(id) {
			return invalid(fmt.Sprintf("%s[%d]", field, i), userIDForm)
		}
	}
	return nil
}
