package usercache

import (
	"context"
	"slices"
)

const (
	writeBacklog = 4096 // copies that may wait to be written to Redis
	writeBatch   = 100
)

// writeBehind writes copies to Redis until ctx ends.
func (s *Store) writeBehind(ctx context.Context) {
	batch := make([]putItem, 0, writeBatch)
	for {
		select {
		case <-ctx.Done():
			return
		case item := <-s.writes:
			batch = gather(append(batch[:0], item), s.writes, writeBatch)
		}
		// An invalidation may have come meanwhile, and Redis may have forgotten its mark.
		batch = slices.DeleteFunc(batch, func(item putItem) bool { return !s.order.accepts(item.id, item.entry, item.entry.asOf) })
		// After a failure the copies are in memory only.
		_ = s.redis.put(ctx, batch)
	}
}

// gather adds to batch what c has now, until there are most elements.
func gather[T any](batch []T, c <-chan T, most int) []T {
	for len(batch) < most {
		select {
		case x := <-c:
			batch = append(batch, x)
		default:
			return batch
		}
	}
	return batch
}
