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
			batch = append(batch[:0], item)
		}
		for more := true; more && len(batch) < writeBatch; {
			select {
			case item := <-s.writes:
				batch = append(batch, item)
			default:
				more = false
			}
		}
		// An invalidation may have come meanwhile, and Redis may have forgotten its mark.
		batch = slices.DeleteFunc(batch, func(item putItem) bool { return !s.order.accepts(item.id, item.entry, item.entry.asOf) })
		// After a failure the copies are in memory only.
		_ = s.redis.put(ctx, batch)
	}
}
