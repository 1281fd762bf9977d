package client

import (
	"context"
	"slices"
	"sync"

	"google.golang.org/grpc/codes"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

const (
	maxBatch    = 100 // ids of one call
	batchesOpen = 4   // calls of one BatchGetUsers in flight at once
)

// Result is the result for one id of a batch: User or Err is set. Err is an *Error.
type Result struct {
	ID   string
	User *User
	Err  error
}

// BatchGetUsers returns one result for each id, in their order, duplicates included. Any
// number of ids is allowed: they are looked up in calls of 100, four at a time, each with the
// client's time limit if ctx has no deadline. An id that fails does not affect the others. The
// error is not nil only if every call failed as a whole; it is then one of theirs.
func (c *Client) BatchGetUsers(ctx context.Context, ids []string, options ...ReadOption) ([]Result, error) {
	b := &batch{users: c.users, reading: readingOf(options), found: make(map[string]Result, len(ids))}
	var unique []string
	for _, id := range ids {
		if _, ok := b.found[id]; !ok {
			b.found[id] = Result{ID: id, Err: &Error{Code: codes.Internal, Message: "the answer has no result for this id"}}
			unique = append(unique, id)
		}
	}
	var wg sync.WaitGroup
	room := make(chan struct{}, batchesOpen)
	for some := range slices.Chunk(unique, maxBatch) {
		room <- struct{}{}
		wg.Go(func() {
			b.read(ctx, some)
			<-room
		})
	}
	wg.Wait()
	if b.failure != nil && !b.answered {
		return nil, b.failure
	}
	results := make([]Result, len(ids))
	for i, id := range ids {
		results[i] = b.found[id]
	}
	return results, nil
}

// batch collects the answers to one BatchGetUsers.
type batch struct {
	users   clerkgatev1.UserServiceClient
	reading readSettings

	mu       sync.Mutex // guards all that follows
	found    map[string]Result
	answered bool  // whether a call was answered
	failure  error // of a call that failed as a whole
}

// read looks up at most maxBatch ids.
func (b *batch) read(ctx context.Context, ids []string) {
	resp, err := b.users.BatchGetUsers(ctx, &clerkgatev1.BatchGetUsersRequest{
		UserIds: ids, View: b.reading.view, MaxAge: b.reading.maxAge, MinUpdatedAt: b.reading.minUpdatedAt,
	})
	tooLarge := b.take(ids, resp, err)
	// They did not fit into this answer. Fewer at once may.
	for some := range slices.Chunk(tooLarge, (len(ids)+1)/2) {
		b.read(ctx, some)
	}
}

// take keeps the answer to a call. It returns the ids to look up again.
func (b *batch) take(ids []string, resp *clerkgatev1.BatchGetUsersResponse, err error) (tooLarge []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.failure = err
		for _, id := range ids {
			b.found[id] = Result{ID: id, Err: err}
		}
		return nil
	}
	b.answered = true
	for _, r := range resp.GetResults() {
		id, failed := r.GetUserId(), r.GetError()
		switch {
		case r.GetUser() != nil:
			b.found[id] = Result{ID: id, User: &User{r.GetUser(), r.GetFreshness()}}
		case failed.GetReason() == clerkgatev1.ErrorReason_ERROR_REASON_ANSWER_TOO_LARGE && len(ids) > 1:
			tooLarge = append(tooLarge, id)
		case failed != nil:
			b.found[id] = Result{ID: id, Err: lookupError(failed)}
		}
	}
	return tooLarge
}

// InvalidateUsers drops users from every cache, for a caller that has just changed them at
// Clerk: no read that starts later returns an older copy. Any number of ids is allowed.
func (c *Client) InvalidateUsers(ctx context.Context, ids ...string) error {
	for some := range slices.Chunk(ids, maxBatch) {
		if _, err := c.users.InvalidateUsers(ctx, &clerkgatev1.InvalidateUsersRequest{UserIds: some}); err != nil {
			return err
		}
	}
	return nil
}
