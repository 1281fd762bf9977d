package server

import (
	"context"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

// Limits of answers, in bytes of encoded protobuf. gRPC clients refuse more than 4 MiB by
// default.
const (
	maxAnswer = 7 << 19 // 3.5 MiB
	// Bytes of an answer beside its users: token, tags and lengths.
	answerMargin = 64 << 10
)

// userIDForm describes a valid user id in errors.
const userIDForm = "must be 'user_' and 1 to 128 letters, digits and underscores"

// users reads users; *usercache.Cache implements it. It must be safe for concurrent use.
type users interface {
	// Lookup returns one result per id, in order. The ids are valid and distinct. It
	// blocks until all are answered or ctx ends; ids without an answer then have the
	// context's error.
	Lookup(ctx context.Context, ids []string, o usercache.Options) []usercache.Result
	// List returns one page. walk means that it is one of many.
	List(ctx context.Context, p clerkapi.ListParams, walk bool, o gate.Options) (*gate.Page, error)
	Count(ctx context.Context, f *clerkgatev1.UserFilter, o gate.Options) (gate.Count, error)
	Invalidate(ctx context.Context, ids []string) error
}

// userService implements clerkgate.v1.UserService.
type userService struct {
	clerkgatev1.UnimplementedUserServiceServer
	users    users
	instance string // name of the Clerk instance
	fullView FullView
	// pageTimeout limits the fetch of one page of a stream without a deadline, and
	// maxTimeout that of one with a deadline.
	pageTimeout, maxTimeout time.Duration
	outbox                  *outbox // for the messages of streams
	guard                   *guard  // enforces limits of callers; nil: no limits
}

func (s *userService) GetUser(ctx context.Context, req *clerkgatev1.GetUserRequest) (*clerkgatev1.GetUserResponse, error) {
	o, err := s.lookupArgs(ctx, req)
	if err != nil {
		return nil, err
	}
	id := req.GetUserId()
	if !clerkapi.ValidUserID(id) {
		return nil, invalid("user_id", userIDForm)
	}
	if err := s.guard.spendLookups(ctx, 1); err != nil {
		return nil, err
	}
	results := s.users.Lookup(ctx, []string{id}, o)
	traceLookup(ctx, results)
	r := results[0]
	if r.Err != nil {
		return nil, &userError{id, r.Err}
	}
	resp := &clerkgatev1.GetUserResponse{Freshness: freshness(r, time.Now())}
	if err := putUser(resp, userOfGet, r.Entry, o.View, partsOf(ctx)); err != nil {
		return nil, err
	}
	if proto.Size(resp) > maxAnswer {
		return nil, errUserTooLarge
	}
	return resp, nil
}

func (s *userService) CountUsers(ctx context.Context, req *clerkgatev1.CountUsersRequest) (*clerkgatev1.CountUsersResponse, error) {
	if err := checkMaxAge(req.GetMaxAge()); err != nil {
		return nil, err
	}
	if err := clerkapi.ValidateCountFilter(req.GetFilter()); err != nil {
		return nil, err
	}
	if err := s.guard.spendRequests(ctx, 1); err != nil {
		return nil, err
	}
	count, err := s.users.Count(ctx, req.GetFilter(), optionsOf(ctx))
	if err != nil {
		if sentNothing(err) {
			s.guard.giveBackRequests(ctx, 1)
		}
		return nil, listError(err)
	}
	return &clerkgatev1.CountUsersResponse{
		TotalCount: int32(min(count.Users, math.MaxInt32)),
		Freshness:  fromUpstream(count.FetchTime),
	}, nil
}

func (s *userService) InvalidateUsers(ctx context.Context, req *clerkgatev1.InvalidateUsersRequest) (*clerkgatev1.InvalidateUsersResponse, error) {
	ids := req.GetUserIds()
	if len(ids) == 0 || len(ids) > maxBatch {
		return nil, invalid("user_ids", fmt.Sprintf("must hold 1 to %d ids", maxBatch))
	}
	if err := checkUserIDs("user_ids", ids); err != nil {
		return nil, err
	}
	if err := s.users.Invalidate(ctx, ids); err != nil {
		return nil, err
	}
	return &clerkgatev1.InvalidateUsersResponse{}, nil
}

// freshness returns the Freshness of a result at the time now.
func freshness(r usercache.Result, now time.Time) *clerkgatev1.Freshness {
	return &clerkgatev1.Freshness{
		FetchTime:  timestamppb.New(r.Entry.FetchTime()),
		Origin:     r.Entry.Origin,
		ServedFrom: r.ServedFrom,
		Age:        durationpb.New(max(now.Sub(r.Entry.FetchTime()), 0)),
		Stale:      r.Stale,
	}
}

// fromUpstream returns the Freshness of an answer of Clerk to a request that left at the
// given time.
func fromUpstream(fetched time.Time) *clerkgatev1.Freshness {
	return &clerkgatev1.Freshness{
		FetchTime:  timestamppb.New(fetched),
		Origin:     clerkgatev1.Origin_ORIGIN_CLERK,
		ServedFrom: clerkgatev1.ServedFrom_SERVED_FROM_UPSTREAM,
		Age:        durationpb.New(max(time.Since(fetched), 0)),
	}
}
