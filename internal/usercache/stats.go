package usercache

import (
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2/stats"

	"github.com/clerkgate/clerkgate/internal/redislink"
)

// Stats is what a Store holds, and what has been counted since the start.
type Stats struct {
	Entries   int         // in memory: users, tombstones, and ids known to be nobody's
	Bytes     int64       // of memory, reckoned as for Config.MaxBytes
	MaxBytes  int64       // Config.MaxBytes
	Evictions int64       // entries that left memory since they were too old or there was no room
	Redis     *RedisStats // nil: memory only
}

// RedisStats are sums since the start, but for Connected.
type RedisStats struct {
	Connected bool                     // now
	Calls     int64                    // tried
	Errors    map[redislink.Kind]int64 // ... of which failed or took too long; of connecting, too
	Refused   int64                    // not tried, since Redis is away
	Latency   time.Duration            // of all calls tried
	Hits      int64                    // ids found
	Misses    int64                    // ids not found
	Lost      int64                    // copies that were not written because too many waited
}

// Stats returns what the store holds. It takes a lock that writers take, too, so it
// is not for every call.
func (s *Store) Stats() Stats {
	st := Stats{
		Entries:   s.memory.EstimatedSize(),
		Bytes:     int64(s.memory.WeightedSize()),
		MaxBytes:  s.cfg.MaxBytes,
		Evictions: s.gone.count.Load(),
	}
	if s.redis != nil {
		r := s.redis.snapshot()
		r.Lost = s.lost.Load()
		st.Redis = &r
	}
	return st
}

// evictions counts what leaves memory by itself, and nothing else: hits and
// misses are counted by the Cache, where their source is known.
type evictions struct {
	stats.NoopRecorder
	count atomic.Int64
}

// RecordEviction is called by the memory, which may hold its locks.
func (e *evictions) RecordEviction(uint32) { e.count.Add(1) }
