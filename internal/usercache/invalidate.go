package usercache

import (
	"context"
	"errors"
	"time"

	"github.com/maypok86/otter/v2"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// Invalidate drops all copies of the ids: no read that starts later gives one,
// nor one that is being fetched now. It fails with ErrRedisAway if the other
// replicas could not be told.
func (s *Store) Invalidate(ctx context.Context, ids []string) error {
	now := time.Now()
	if s.redis == nil {
		s.drop(s.order.draw(ids, now), ids)
		return nil
	}
	for _, id := range ids {
		s.order.invalidate(id, 0, now, now)
		s.memory.Compute(id, dropCopy)
	}
	seq, err := s.redis.invalidate(ctx, ids)
	if err != nil {
		return errors.Join(ErrRedisAway, err)
	}
	s.invalidated(seq, ids)
	return nil
}

// dropCopy drops whatever is kept but a tombstone.
func dropCopy(old *Entry, found bool) (*Entry, otter.ComputeOp) {
	if found && !old.Deleted {
		return nil, otter.InvalidateOp
	}
	return nil, otter.CancelOp
}

// invalidated notes an invalidation with the number seq, and drops the copies of
// the ids that it makes old.
func (s *Store) invalidated(seq uint64, ids []string) {
	s.order.raise(seq)
	now := time.Now()
	for _, id := range ids {
		s.order.invalidate(id, seq, time.Time{}, now)
	}
	s.drop(seq, ids)
}

func (s *Store) drop(seq uint64, ids []string) {
	for _, id := range ids {
		s.memory.Compute(id, func(old *Entry, found bool) (*Entry, otter.ComputeOp) {
			if found && old.outdatedBy(seq) {
				return nil, otter.InvalidateOp
			}
			return nil, otter.CancelOp
		})
	}
}

// alive notes that all invalidations up to seq had been heard at since.
func (s *Store) alive(since time.Time, seq uint64) {
	s.order.raise(seq)
	s.trust.Store(since.Add(trustTime).UnixNano())
}

// missed drops everything, since invalidations may not have been heard. What is
// in Redis is still good.
func (s *Store) missed() {
	s.order.invalidateAll(time.Now())
	s.trust.Store(0)
	var all []string
	for id := range s.memory.Keys() {
		all = append(all, id)
	}
	for _, id := range all {
		s.memory.Compute(id, dropCopy)
	}
}

// Updated puts the copy of a user in place that a webhook brought, of what
// happened at at. It fails if Redis can't be told, so that Clerk sends it again.
func (s *Store) Updated(ctx context.Context, u *clerkgatev1.User, at time.Time) error {
	e, err := Encode(u, 0, at, clerkgatev1.Origin_ORIGIN_WEBHOOK)
	if err != nil {
		return err
	}
	return s.apply(ctx, u.Id, e)
}

// Deleted notes that a user was deleted at at, for good.
func (s *Store) Deleted(ctx context.Context, id string, at time.Time) error {
	return s.apply(ctx, id, tombstone(0, at))
}

func (s *Store) apply(ctx context.Context, id string, e *Entry) error {
	now := time.Now()
	var seq uint64 // 0: one is drawn here
	if s.redis != nil {
		var err error
		if seq, err = s.redis.apply(ctx, id, e, s.keepFor(e, now)); err != nil {
			return errors.Join(ErrRedisAway, err)
		}
		s.order.raise(seq)
	}
	seq, mayPlace := s.order.told(id, e.UpdatedAt, seq, now)
	told := e.stamped(seq)
	s.memory.Compute(id, func(old *Entry, found bool) (*Entry, otter.ComputeOp) {
		switch {
		case told.Deleted:
			return told, otter.WriteOp
		case found && old.Deleted:
			return nil, otter.CancelOp
		case found && !old.Missing && old.UpdatedAt >= told.UpdatedAt:
			// Events come in any order. The copy that is there has what this one
			// tells, and is as good as it from now on.
			return old.stamped(max(seq, old.Stamp)), otter.WriteOp
		case found && !old.Missing, mayPlace:
			return told, otter.WriteOp
		case found:
			return nil, otter.InvalidateOp
		}
		return nil, otter.CancelOp
	})
	return nil
}

// Seen says whether an event has been recorded as applied.
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
