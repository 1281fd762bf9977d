package server

import (
	"context"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

func (s *userService) ListUsers(ctx context.Context, req *clerkgatev1.ListUsersRequest) (*clerkgatev1.ListUsersResponse, error) {
	size := int(req.GetPageSize())
	switch {
	case size < 0:
		return nil, invalid("page_size", "must not be negative")
	case size == 0:
		size = 50
	default:
		size = min(size, maxPage)
	}
	l, err := s.newListing(ctx, "list", req, "-created_at")
	if err != nil {
		return nil, err
	}
	c, err := l.start("page_token", req.GetPageToken())
	if err != nil {
		return nil, err
	}
	page, err := l.fetch(ctx, c, size)
	if err != nil {
		return nil, err
	}
	shown := l.show(page.entries)
	n := fitting(shown, maxAnswer-answerMargin)
	resp := &clerkgatev1.ListUsersResponse{Freshness: fromUpstream(page.at)}
	resp.Users, resp.Unreadable = parted(shown[:n])
	if !page.last || n < len(page.entries) {
		if resp.NextPageToken, err = encodeToken(l.binding, l.advance(c, page.entries[:n])); err != nil {
			return nil, err
		}
	}
	return resp, nil
}
