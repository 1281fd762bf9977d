package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// ErrNotReleased matches, by errors.Is, the error of WithPermits if the work is done but its
// lease could not be returned: do not repeat the work.
var ErrNotReleased = errors.New("the work is done, but its lease was not returned")

// Lease is permits for requests that the caller sends to Clerk itself. What its methods
// record is reported when the lease is returned. They are safe for concurrent use.
type Lease struct {
	count int

	mu          sync.Mutex // guards all that follows
	reported    bool
	sent        int
	unanswered  int
	changed     []string
	rateLimited bool
}

// Count returns how many requests may be sent.
func (l *Lease) Count() int { return l.count }

// Report records how many requests were sent, and how many of those got no answer; the last
// call counts. Without it, all permits count as used, and their requests as answered if the
// work succeeds and as unanswered if it fails.
func (l *Lease) Report(sent, unanswered int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reported, l.sent, l.unanswered = true, sent, unanswered
}

// Changed records the ids of users that the requests changed, or may have changed. They are
// dropped from every cache.
func (l *Lease) Changed(userIDs ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed = append(l.changed, userIDs...)
}

// RateLimited records that Clerk answered one of the requests with 429.
func (l *Lease) RateLimited() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rateLimited = true
}

// release returns the request that returns the lease, and the users that do not fit into it.
func (l *Lease) release(id string, failed bool) (*clerkgatev1.ReleasePermitsRequest, []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sent, unanswered := l.sent, l.unanswered
	if !l.reported {
		sent = l.count
		if failed {
			unanswered = l.count
		}
	}
	n := min(len(l.changed), maxBatch)
	return &clerkgatev1.ReleasePermitsRequest{
		LeaseId: id, UsedCount: new(int32Of(sent)), UnansweredCount: int32Of(unanswered),
		ChangedUserIds: l.changed[:n], RateLimited: l.rateLimited,
	}, l.changed[n:]
}

// WithPermits borrows count permits from the quota, calls work, and returns them. work may
// send up to count requests to Clerk, which must be answered within ttl, 1 s to 5 min; 0 means
// 30 s. The context of work ends with the lease: send the requests with it.
//
// WithPermits returns the error of the call that borrows the permits, the error of work, or one
// that matches ErrNotReleased. A lease that has ended by then is no error: the server has
// counted all of its permits as used. The permits are returned, too, if work panics or ctx has
// ended.
func (c *Client) WithPermits(ctx context.Context, count int, ttl time.Duration, work func(context.Context, *Lease) error) error {
	// The id has a retry return the lease that was already granted.
	req := &clerkgatev1.AcquirePermitsRequest{Count: int32Of(count), RequestId: rand.Text()}
	if ttl != 0 {
		req.Ttl = durationpb.New(ttl)
	}
	granted, err := c.quota.AcquirePermits(ctx, req)
	if err != nil {
		return err
	}
	lease := &Lease{count: count}
	working, cancel := context.WithTimeout(ctx, granted.GetTtl().AsDuration())
	defer cancel()
	failed := true // unless work returns
	defer func() {
		if failed { // its own error, or panic, matters more
			_ = c.release(ctx, lease, granted.GetLeaseId(), true)
		}
	}()
	if err := work(working, lease); err != nil {
		return err
	}
	failed = false
	if err := c.release(ctx, lease, granted.GetLeaseId(), false); err != nil {
		return fmt.Errorf("%w: %w", ErrNotReleased, err)
	}
	return nil
}

// release returns a lease, even if ctx has ended. The users that were changed are dropped from
// every cache, or it returns an error.
func (c *Client) release(ctx context.Context, lease *Lease, id string, failed bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
	defer cancel()
	req, changed := lease.release(id, failed)
	_, err := c.quota.ReleasePermits(ctx, req)
	var e *Error
	if errors.As(err, &e) && (e.Reason == "LEASE_NOT_FOUND" || e.Reason == "LEASE_UNREACHABLE") {
		// It has ended, or ends by itself. Its error hides one of the caches.
		err, changed = nil, slices.Concat(req.GetChangedUserIds(), changed)
	}
	return errors.Join(err, c.InvalidateUsers(ctx, changed...))
}
