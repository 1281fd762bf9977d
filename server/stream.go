package server

import (
	"context"
	"fmt"
	"slices"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// maxStreamMessage is the size that the messages of a stream keep to, in bytes
// of users.
const maxStreamMessage = 1 << 20

// streamOrders are the orders that a stream can have.
var streamOrders = []string{"", "created_at", "+created_at", "-created_at"}

func (s *userService) StreamUsers(req *clerkgatev1.StreamUsersRequest, stream clerkgatev1.UserService_StreamUsersServer) error {
	ctx := stream.Context()
	if !slices.Contains(streamOrders, req.GetOrderBy()) {
		return invalid("order_by", "must be 'created_at', '+created_at' or '-created_at'")
	}
	l, err := s.newListing(ctx, "stream", req, "+created_at")
	if err != nil {
		return err
	}
	l.options.Priority, l.walk = gate.Batch, true
	c, err := l.start("resume_token", req.GetResumeToken())
	if err != nil {
		return err
	}
	for {
		page, err := s.fetchTimed(ctx, l, c)
		if err != nil {
			return err
		}
		if c, err = l.send(stream, c, page); err != nil {
			return err
		}
		if page.last {
			return nil
		}
	}
}

// send sends a page in messages of a moderate size, and returns the place behind
// it. The last message of the list has no token.
func (l *listing) send(stream clerkgatev1.UserService_StreamUsersServer, c cursor, page fetched) (cursor, error) {
	entries, shown, last := page.entries, l.show(page.entries), page.last
	for sent := false; len(entries) > 0 || last && !sent; sent = true {
		n := fitting(shown, maxStreamMessage)
		c = l.advance(c, entries[:n])
		msg := &clerkgatev1.StreamUsersResponse{Freshness: fromUpstream(page.at)}
		msg.Users, msg.Unreadable = parted(shown[:n])
		entries, shown = entries[n:], shown[n:]
		if !last || len(entries) > 0 {
			var err error
			if msg.ResumeToken, err = encodeToken(l.binding, c); err != nil {
				return c, err
			}
		}
		if err := stream.Send(msg); err != nil {
			return c, sendError(stream.Context(), err)
		}
	}
	return c, nil
}

// sendError says why a message could not be sent on the stream of ctx: the stream
// has ended, or the caller has gone.
func sendError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", context.Canceled, err)
}

// fetchTimed reads one page of a stream, within the default timeout if the
// stream itself has no deadline.
func (s *userService) fetchTimed(ctx context.Context, l *listing, c cursor) (fetched, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.pageTimeout)
		defer cancel()
	}
	return l.fetch(ctx, c, maxPage)
}
