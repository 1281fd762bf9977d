package usercache

import (
	"context"
	"errors"
	"time"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// ErrRedisAway is returned by an invalidation that could not be sent to Redis, and so not
// to the other replicas. This replica has carried it out.
var ErrRedisAway = errors.New("redis can't be reached")

// sharedLevel is the cache level behind memory, shared by all replicas. get takes a few
// milliseconds at most, each step of the other methods half a second; all fail at once
// while Redis is unavailable.
type sharedLevel interface {
	// get reads entries; an element is nil if there is none. For BASIC it leaves out the
	// private part.
	get(ctx context.Context, ids []string, view clerkgatev1.UserView) ([]*Entry, error)
	// put stores Clerk's answers, except those of which a newer copy is known.
	put(ctx context.Context, items []putItem) error
	// invalidate draws the next number, marks the ids with it, and notifies all
	// replicas. It returns once none of them serves an older copy.
	invalidate(ctx context.Context, ids []string) (uint64, error)
	// apply draws the next number, stores a webhook's copy under it unless a newer one
	// is there, and notifies all replicas. It returns once none of them serves an older
	// copy. blind means that Redis may have lost copies and marks.
	apply(ctx context.Context, id string, e *Entry, ttl time.Duration, blind bool) (applyResult, error)
	// seen reports whether an event was recorded; record records it.
	seen(ctx context.Context, eventID string) (bool, error)
	record(ctx context.Context, eventID string) error
	// snapshot returns the counters, all but Lost.
	snapshot() RedisStats
	// run connects, and passes publications of other replicas to l, until ctx ends.
	run(ctx context.Context, l listener) error
}

// applyResult is the result of applying a webhook's copy in Redis.
type applyResult struct {
	seq     uint64 // the copy's number
	outcome applyOutcome
	// updatedAt is that of the present copy; set with applyKnown only.
	updatedAt int64
}

type applyOutcome int

const (
	applyRefused applyOutcome = iota // an invalidation or a NOT_FOUND may be newer
	applyPlaced                      // Redis has this copy now
	applyKnown                       // Redis has the same version or a newer one
	applyDeleted                     // Redis has a tombstone
)

// putItem is a copy to be stored.
type putItem struct {
	id          string
	entry       *Entry
	ttl         time.Duration
	onlyPresent bool // only replace another copy
}

// listener receives the publications of Redis.
type listener interface {
	// invalidated reports that copies of the ids with a stamp below seq are old.
	invalidated(seq uint64, ids []string)
	// drawn reports that all numbers up to seq have been drawn.
	drawn(seq uint64)
	// alive reports that at since all invalidations up to seq had been received.
	alive(since time.Time, seq uint64)
	// missed reports that invalidations may have been missed; lost means that Redis may
	// have lost marks.
	missed(lost bool)
}
