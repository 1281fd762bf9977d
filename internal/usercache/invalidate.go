package usercache

import (
	"context"
	"errors"
	"time"

	"github.com/maypok86/otter/v2"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// Invalidate drops all copies of the ids: no read that starts later, at any replica,
// returns one of them, nor one that is being fetched now. It returns ErrRedisAway if the
// other replicas could not be notified, and ctx's error if ctx ended before they were
// known to be.
func (s *Store) Invalidate(ctx context.Context, ids []string) error {
	now := time.Now()
	if s.redis == nil {
		s.drop(s.order.draw(ids, now), ids)
		return nil
	}
	for _, id := range ids {
		s.order.invalidate(id, 0, true, now)
		s.memory.Compute(id, dropCopy)
	}
	seq, err := s.redis.invalidate(ctx, ids)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return errors.Join(ErrRedisAway, err)
	}
	s.invalidated(seq, ids)
	return nil
}

// dropCopy marks a copy as outdated unless it is a tombstone.
func dropCopy(old *Entry, found bool) (*Entry, otter.ComputeOp) {
	switch {
	case !found, old.Deleted, old.outdated:
		return nil, otter.CancelOp
	case old.Missing:
		return nil, otter.InvalidateOp
	}
	return old.madeOld(), otter.WriteOp
}

// invalidated records an invalidation with the number seq and drops the copies of the ids
// that it makes old.
func (s *Store) invalidated(seq uint64, ids []string) {
	s.order.raise(seq)
	now := time.Now()
	for _, id := range ids {
		s.order.invalidate(id, seq, false, now)
	}
	s.drop(seq, ids)
}

func (s *Store) drop(seq uint64, ids []string) {
	for _, id := range ids {
		s.memory.Compute(id, func(old *Entry, found bool) (*Entry, otter.ComputeOp) {
			if found && old.outdatedBy(seq) {
				return dropCopy(old, found)
			}
			return nil, otter.CancelOp
		})
	}
}

// drawn records that all numbers up to seq have been drawn.
func (s *Store) drawn(seq uint64) { s.order.raise(seq) }

// alive records that all invalidations up to seq had been received at since.
func (s *Store) alive(since time.Time, seq uint64) {
	s.order.raise(seq)
	s.lease.Store(int64(since.Add(leaseTime).Sub(s.start)))
}

// missed marks all copies as old, since invalidations may have been missed. Copies in
// Redis are still good, unless Redis has lost marks.
func (s *Store) missed(lost bool) {
	s.lease.Store(0)
	s.order.missed(lost, time.Now())
}

// Updated stores the copy of a user from a webhook about a change at when. It fails if
// Redis does not accept it, so that Clerk sends the event again.
func (s *Store) Updated(ctx context.Context, u *clerkgatev1.User, when time.Time) error {
	e, err := Encode(u, 0, happened(when), clerkgatev1.Origin_ORIGIN_WEBHOOK)
	if err != nil {
		return err
	}
	return s.apply(ctx, u.Id, e)
}

// Deleted stores a tombstone for a user that was deleted at when.
func (s *Store) Deleted(ctx context.Context, id string, when time.Time) error {
	return s.apply(ctx, id, tombstone(0, happened(when)))
}

// happened returns the time of an event with a reading of the monotonic clock.
func happened(when time.Time) time.Time {
	now := time.Now()
	return now.Add(-max(0, now.Sub(when)))
}

// apply applies a webhook, in Redis and here, and here even if Redis is unavailable.
func (s *Store) apply(ctx context.Context, id string, e *Entry) error {
	if s.redis == nil {
		seq := s.order.seq.Add(1)
		s.applyHere(id, e.stamped(seq), seq, applyResult{outcome: applyPlaced})
		return nil
	}
	now := time.Now()
	a, err := s.redis.apply(ctx, id, e, s.keepFor(e, now), s.order.blind(now))
	if err != nil {
		// The copies of other replicas are unknown. Even the highest number would be too
		// low for a request that left before, so the time decides.
		s.applyHere(id, e.stamped(s.order.stamp()), 0, applyResult{outcome: applyPlaced})
		return errors.Join(ErrRedisAway, err)
	}
	s.order.raise(a.seq)
	s.applyHere(id, e.stamped(a.seq), a.seq, a)
	return nil
}

// applyHere stores a webhook's copy in memory. seq is its number, 0 if it has none; a is
// the result in Redis.
func (s *Store) applyHere(id string, received *Entry, seq uint64, a applyResult) {
	now := time.Now()
	mayPlace := s.order.recordWebhook(id, received.UpdatedAt, seq, now)
	if a.outcome == applyDeleted && !received.Deleted {
		received = tombstone(received.Stamp, received.fetched)
	}
	if received.Deleted {
		s.order.invalidate(id, seq, seq == 0, now)
	}
	received.asOf = now
	newest := max(received.UpdatedAt, a.updatedAt)
	s.memory.Compute(id, func(old *Entry, found bool) (*Entry, otter.ComputeOp) {
		switch {
		case received.Deleted:
			return received, otter.WriteOp
		case found && old.Deleted:
			return nil, otter.CancelOp
		case found && !old.Missing && old.UpdatedAt >= newest:
			// Events arrive in any order. The present copy has the same version, and is
			// as good from now on, unless it is known to be old.
			if old.outdated {
				return nil, otter.CancelOp
			}
			return old.stamped(max(received.Stamp, old.Stamp)), otter.WriteOp
		case a.outcome == applyPlaced && (found && !old.Missing && !old.outdated || mayPlace):
			return received, otter.WriteOp
		case found && !old.Missing && old.UpdatedAt >= received.UpdatedAt:
			return dropCopy(old, found)
		}
		return received.madeOld(), otter.WriteOp
	})
}

// Seen reports whether an event has been recorded as applied.
func (s *Store) Seen(ctx context.Context, eventID string) (bool, error) {
	if s.redis != nil {
		return s.redis.seen(ctx, eventID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.events[eventID]), nil
}

// maxEvents is the maximum of remembered events without Redis. Applying one twice does no
// harm.
const maxEvents = 100_000

// Record records an event as applied.
func (s *Store) Record(ctx context.Context, eventID string) error {
	if s.redis != nil {
		return s.redis.record(ctx, eventID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if len(s.events) >= maxEvents {
		clear(s.events)
	}
	s.events[eventID] = now.Add(tombstoneTTL)
	return nil
}
