package usercache

import (
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2/stats"

	"github.com/clerkgate/clerkgate/internal/redislink"
)

// Stats is the content of a Store, and its counters since the start.
type Stats struct {
	Entries   int         // in memory: users, tombstones, and ids without a user
	Bytes     int64       // of memory, as counted for Config.MaxBytes
	MaxBytes  int64       // Config.MaxBytes
	Evictions int64       // entries evicted because of age or lack of room
	Redis     *RedisStats // nil: memory only
}

// RedisStats are counters since the start, except Connected.
type RedisStats struct {
	Connected bool                     // now
	Calls     int64                    // including failed ones
	Errors    map[redislink.Kind]int64 // calls that failed or timed out, and failed connections
	Refused   int64                    // skipped while Redis was unavailable
	Latency   time.Duration            // total of all calls
	Hits      int64                    // ids found
	Misses    int64                    // ids not found
	Lost      int64                    // copies not written because too many waited
}

// Stats returns the content and the counters. It takes a lock that writers take too, so do
// not call it for every call.
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

// evictions counts evictions from memory. The Cache counts hits and misses, since it
// knows their source.
type evictions struct {
	stats.NoopRecorder
	count atomic.Int64
}

// RecordEviction is called by the memory cache, which may hold its locks.
func (e *evictions) RecordEviction(uint32) { e.count.Add(1) }
