package usercache

import (
	"context"
	"errors"
	"time"

	"github.com/maypok86/otter/v2"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// Invalidate drops all copies of the ids: no read that starts later, at any
// replica, returns one, nor one that is being fetched now. It fails with
// ErrRedisAway if the other replicas could not be told, and with ctx's error if ctx
// ended before it was known that they have heard.
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

// dropCopy makes old whatever is kept but a tombstone.
func dropCopy(old *Entry, found bool) (*Entry, otter.ComputeOp) {
	switch {
	case !found, old.Deleted, old.outdated:
		return nil, otter.CancelOp
	case old.Missing:
		return nil, otter.InvalidateOp
	}
	return old.madeOld(), otter.WriteOp
}

// invalidated notes an invalidation with the number seq, and drops the copies of
// the ids that it makes old.
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

// drawn notes that all numbers up to seq have been drawn.
func (s *Store) drawn(seq uint64) { s.order.raise(seq) }

// alive notes that all invalidations up to seq had been heard at since.
func (s *Store) alive(since time.Time, seq uint64) {
	s.order.raise(seq)
	s.lease.Store(int64(since.Add(leaseTime).Sub(s.start)))
}

// missed makes all copies old, since invalidations may not have been heard. What
// is in Redis is still good, unless it has lost marks.
func (s *Store) missed(lost bool) {
	s.lease.Store(0)
	s.order.missed(lost, time.Now())
}

// Updated puts the copy of a user in place that a webhook brought, of what
// happened at at. It fails if Redis can't be told, so that Clerk sends it again.
func (s *Store) Updated(ctx context.Context, u *clerkgatev1.User, at time.Time) error {
	e, err := Encode(u, 0, happened(at), clerkgatev1.Origin_ORIGIN_WEBHOOK)
	if err != nil {
		return err
	}
	return s.apply(ctx, u.Id, e)
}

// Deleted notes that a user was deleted at at, for good.
func (s *Store) Deleted(ctx context.Context, id string, at time.Time) error {
	return s.apply(ctx, id, tombstone(0, happened(at)))
}

// happened returns the time of an event by this process's monotonic clock.
func happened(at time.Time) time.Time {
	now := time.Now()
	return now.Add(-max(0, now.Sub(at)))
}

// apply carries a webhook out, in Redis and here, and here even if Redis is away.
func (s *Store) apply(ctx context.Context, id string, e *Entry) error {
	if s.redis == nil {
		seq := s.order.seq.Add(1)
		s.applyHere(id, e.stamped(seq), seq, applied{outcome: applyPlaced})
		return nil
	}
	now := time.Now()
	a, err := s.redis.apply(ctx, id, e, s.keepFor(e, now), s.order.blind(now))
	if err != nil {
		// It is not known what the other replicas have. As a number, the highest is
		// too low for a request that left before, so that time decides.
		s.applyHere(id, e.stamped(s.order.stamp()), 0, applied{outcome: applyPlaced})
		return errors.Join(ErrRedisAway, err)
	}
	s.order.raise(a.seq)
	s.applyHere(id, e.stamped(a.seq), a.seq, a)
	return nil
}

// applyHere puts in memory what a webhook told under the number seq, 0 if it has
// none. a is what became of it in Redis.
func (s *Store) applyHere(id string, told *Entry, seq uint64, a applied) {
	now := time.Now()
	mayPlace := s.order.told(id, told.UpdatedAt, seq, now)
	if a.outcome == applyDeleted && !told.Deleted {
		told = tombstone(told.Stamp, told.fetched)
	}
	if told.Deleted {
		s.order.invalidate(id, seq, seq == 0, now)
	}
	told.asOf = now
	newest := max(told.UpdatedAt, a.updatedAt)
	s.memory.Compute(id, func(old *Entry, found bool) (*Entry, otter.ComputeOp) {
		switch {
		case told.Deleted:
			return told, otter.WriteOp
		case found && old.Deleted:
			return nil, otter.CancelOp
		case found && !old.Missing && old.UpdatedAt >= newest:
			// Events come in any order. The copy that is there has what this one
			// tells, and is as good as it from now on, unless it is known to be old.
			if old.outdated {
				return nil, otter.CancelOp
			}
			return old.stamped(max(told.Stamp, old.Stamp)), otter.WriteOp
		case a.outcome == applyPlaced && (found && !old.Missing && !old.outdated || mayPlace):
			return told, otter.WriteOp
		case found && !old.Missing && old.UpdatedAt >= told.UpdatedAt:
			return dropCopy(old, found)
		}
		return told.madeOld(), otter.WriteOp
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

// maxEvents is how many events are remembered where there is no Redis. Applying
// one twice does no harm.
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
