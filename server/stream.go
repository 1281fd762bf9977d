package server

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/grpc"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
)

const (
	// maxStreamMessage is the maximum size of a stream's message in bytes of users,
	// unless a single user is larger. gRPC buffers one message, and 64 KiB of others,
	// before a send blocks.
	maxStreamMessage = 32 << 10
	// maxStreamBytes is the maximum of bytes of a page that a stream holds while it
	// sends. The rest of a larger page is read again.
	maxStreamBytes = 4 << 20
)

// streamOrders are the allowed orders of a stream.
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
	for size := maxPage; ; {
		messages, next, last, err := s.nextMessages(ctx, l, c, &size)
		if err != nil {
			return err
		}
		if err := sendAll(stream, messages); err != nil || last {
			return err
		}
		c = next
	}
}

// nextMessages reads the page after c and returns it as messages, with the next cursor
// and whether they are the last. Nothing else of the page is held while they are sent. It
// lowers size if a page of that size is too large for a stream.
func (s *userService) nextMessages(ctx context.Context, l *listing, c cursor, size *int) (messages []*encoded, next cursor, last bool, err error) {
	page, err := s.fetchTimed(ctx, l, c, *size)
	if err != nil {
		return nil, c, false, err
	}
	defer func() {
		if err != nil {
			freeAll(messages)
		}
	}()
	entries, shown := page.entries, l.show(page.entries)
	if n := fitting(shown, maxStreamBytes); n < len(shown) {
		entries, shown, page.last = entries[:n], shown[:n], false
		*size = n
	}
	for len(entries) > 0 || page.last && len(messages) == 0 {
		n := fitting(shown, maxStreamMessage)
		c = l.advance(c, entries[:n])
		msg := &clerkgatev1.StreamUsersResponse{Freshness: fromUpstream(page.at)}
		msg.Users, msg.Unreadable = parted(shown[:n])
		entries, shown = entries[n:], shown[n:]
		if !page.last || len(entries) > 0 {
			if msg.ResumeToken, err = encodeToken(l.binding, c); err != nil {
				return messages, c, false, err
			}
		}
		m, err := s.outbox.encode(ctx, msg)
		if err != nil {
			return messages, c, false, err
		}
		messages = append(messages, m)
	}
	return messages, c, page.last, nil
}

// sendAll sends messages. After an error it frees the rest.
func sendAll(stream grpc.ServerStream, messages []*encoded) error {
	defer freeAll(messages)
	for _, m := range messages {
		if err := stream.SendMsg(m); err != nil {
			return sendError(stream.Context(), err)
		}
	}
	return nil
}

func freeAll(messages []*encoded) {
	for _, m := range messages {
		m.free()
	}
}

// sendError returns why a message could not be sent on the stream of ctx: the stream has
// ended, the caller does not read, or it has left.
func sendError(ctx context.Context, err error) error {
	if errors.Is(err, errNotRead) {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", context.Canceled, err)
}

// fetchTimed reads one page of a stream, within the default timeout if the stream has no
// deadline, and within the maximum if it has one.
func (s *userService) fetchTimed(ctx context.Context, l *listing, c cursor, size int) (fetched, error) {
	timeout := s.maxTimeout
	if _, ok := ctx.Deadline(); !ok {
		timeout = s.pageTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return l.fetch(ctx, c, size)
}
