package server

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// Upper bounds of answers, in bytes of encoded protobuf. gRPC clients refuse
// more than 4 MiB unless told otherwise.
const (
	maxAnswer = 7 << 19 // 3.5 MiB
	// The bytes that an answer needs beside its users: token, tags and lengths.
	answerMargin = 64 << 10
)

// userIDForm describes a user's id to those who got it wrong.
const userIDForm = "must be 'user_' and 1 to 128 letters, digits and underscores"

// upstream is where users come from. Its methods may be called at once.
type upstream interface {
	// Lookup gives one result per id, in their order. The ids are valid and
	// distinct. It blocks until all are answered or ctx ends; those without an
	// answer then carry the context's error.
	Lookup(ctx context.Context, ids []string, o gate.Options) []gate.Result
	List(ctx context.Context, p clerkapi.ListParams, o gate.Options) (*clerkapi.Page, error)
	Count(ctx context.Context, f *clerkgatev1.UserFilter, o gate.Options) (int64, error)
	keeper
}

// userService is clerkgate.v1.UserService.
type userService struct {
	clerkgatev1.UnimplementedUserServiceServer
	upstream upstream
	// pageTimeout bounds the fetch of one page of a stream that has no deadline.
	pageTimeout time.Duration
}

func (s *userService) GetUser(ctx context.Context, req *clerkgatev1.GetUserRequest) (*clerkgatev1.GetUserResponse, error) {
	view, o, err := lookupArgs(ctx, req.GetView(), req.GetMaxAge())
	if err != nil {
		return nil, err
	}
	id := req.GetUserId()
	if !clerkapi.ValidUserID(id) {
		return nil, invalid("user_id", userIDForm)
	}
	r := s.upstream.Lookup(ctx, []string{id}, o)[0]
	if r.Err != nil {
		return nil, &userError{id, r.Err}
	}
	resp := &clerkgatev1.GetUserResponse{User: applyView(r.User, view), Freshness: freshness(r)}
	if proto.Size(resp) > maxAnswer {
		return nil, errAnswerTooLarge
	}
	return resp, nil
}

func (s *userService) CountUsers(ctx context.Context, req *clerkgatev1.CountUsersRequest) (*clerkgatev1.CountUsersResponse, error) {
	if err := clerkapi.ValidateFilter(req.GetFilter()); err != nil {
		return nil, err
	}
	total, err := s.upstream.Count(ctx, req.GetFilter(), optionsOf(ctx))
	if err != nil {
		return nil, listError(err)
	}
	return &clerkgatev1.CountUsersResponse{TotalCount: total}, nil
}

func (s *userService) InvalidateUsers(context.Context, *clerkgatev1.InvalidateUsersRequest) (*clerkgatev1.InvalidateUsersResponse, error) {
	return nil, errUnimplemented
}

// freshness says where and when a result was read.
func freshness(r gate.Result) *clerkgatev1.Freshness {
	f := &clerkgatev1.Freshness{Source: clerkgatev1.Source_SOURCE_CLERK}
	if !r.FetchTime.IsZero() {
		f.FetchTime = timestamppb.New(r.FetchTime)
	}
	return f
}
