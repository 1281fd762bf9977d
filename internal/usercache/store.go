package usercache

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// How long what is known is good for.
const (
	notFoundTTL  = 5 * time.Second
	tombstoneTTL = 48 * time.Hour  // Clerk sends an event again for a day
	trustTime    = 5 * time.Second // memory is believed for this long after the last word from Redis
	longestFetch = 2 * time.Minute // no request to Clerk is under way for longer
	writeBacklog = 4096            // copies that may wait to be written to Redis
	writeBatch   = 100
)

// entryOverhead is what an entry takes beside its bytes: the Entry, the key, and
// the cache's own node.
const entryOverhead = 320

// ErrRedisAway is what an invalidation answers that could not be told to Redis,
// and so not to the other replicas. It has been carried out here.
var ErrRedisAway = errors.New("redis can't be reached")

// second is the level behind memory, shared by all replicas. get is bounded to a
// few milliseconds and the others to half a second; all fail at once while Redis
// is away.
type second interface {
	// get reads entries, nil where there is none. For BASIC the private part is left out.
	get(ctx context.Context, ids []string, view clerkgatev1.UserView) ([]*Entry, error)
	// put stores copies that Clerk gave, each unless something newer is known.
	put(ctx context.Context, items []putItem) error
	// invalidate draws the next number, marks the ids with it, and tells all replicas.
	invalidate(ctx context.Context, ids []string) (uint64, error)
	// apply draws the next number, stores under it what a webhook told, unless
	// something newer is there, and tells all replicas.
	apply(ctx context.Context, id string, e *Entry, ttl time.Duration) (uint64, error)
	// seen says whether an event was recorded; record records it.
	seen(ctx context.Context, eventID string) (bool, error)
	record(ctx context.Context, eventID string) error
	// counters gives what has been counted; Lost is not known here.
	counters() RedisStats
	// run connects, listens to the other replicas and tells l, until ctx ends.
	run(ctx context.Context, l listener) error
}

// putItem is a copy to be stored.
type putItem struct {
	id          string
	entry       *Entry
	ttl         time.Duration
	onlyPresent bool // only in the place of another copy
}

// listener is told what is heard through Redis.
type listener interface {
	// invalidated: copies of the ids with a stamp below seq are old.
	invalidated(seq uint64, ids []string)
	// alive: at since, all invalidations so far had been heard; seq was the last.
	alive(since time.Time, seq uint64)
	// missed: invalidations may not have been heard.
	missed()
}

// Config says how much is kept and for how long. The zero value of every field
// is its default.
type Config struct {
	TTL          time.Duration // how old an answer may be where the caller says nothing; default 60 s
	StaleIfError time.Duration // ... while Clerk is away; default 24 h
	MaxBytes     int64         // of memory, with what an entry needs beside its bytes; default 256 MiB

	RedisURL      string        // empty: memory only
	RedisInstance string        // part of every key in Redis; default "default"
	RedisTimeout  time.Duration // of one reading; default 10 ms

	Logger *slog.Logger // default: discards
}

func (c Config) withDefaults() Config {
	if c.TTL <= 0 {
		c.TTL = time.Minute
	}
	if c.StaleIfError <= 0 {
		c.StaleIfError = 24 * time.Hour
	}
	c.StaleIfError = max(c.StaleIfError, c.TTL)
	if c.MaxBytes <= 0 {
		c.MaxBytes = 256 << 20
	}
	if c.RedisInstance == "" {
		c.RedisInstance = "default"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Store keeps what is known of users, in memory and in Redis, and knows which
// copy is the newer. Its methods may be called at once.
type Store struct {
	cfg    Config
	memory *otter.Cache[string, *Entry]
	order  order
	redis  second // nil: memory only
	writes chan putItem
	trust  atomic.Int64 // until when memory is believed, in Unix ns
	gone   evictions
	lost   atomic.Int64 // copies that were not written to Redis because too many waited

	mu     sync.Mutex
	events map[string]time.Time // webhook events seen, where there is no Redis, and until when
}

// NewStore makes a Store. Its error is one of the Redis URL; it connects to nothing yet.
func NewStore(cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	s := &Store{
		cfg:    cfg,
		writes: make(chan putItem, writeBacklog),
		events: make(map[string]time.Time),
	}
	s.order.init(longestFetch)
	if cfg.RedisURL != "" {
		r, err := newRedis(redisConfig{URL: cfg.RedisURL, Instance: cfg.RedisInstance, Timeout: cfg.RedisTimeout, Logger: cfg.Logger})
		if err != nil {
			return nil, err
		}
		s.redis = r
	}
	s.memory = otter.Must(&otter.Options[string, *Entry]{
		MaximumWeight: uint64(cfg.MaxBytes),
		Weigher: func(id string, e *Entry) uint32 {
			if e.Deleted {
				return 0 // a tombstone is never evicted for room
			}
			return uint32(len(id) + len(e.public) + len(e.private) + entryOverhead)
		},
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[string, *Entry]) time.Duration {
			return s.keepFor(e.Value, time.Now())
		}),
		StatsRecorder: &s.gone,
	})
	return s, nil
}

// Run writes to Redis and listens to the other replicas until ctx ends. It must
// be called once at most.
func (s *Store) Run(ctx context.Context) error {
	defer s.memory.StopAllGoroutines()
	if s.redis == nil {
		<-ctx.Done()
		return nil
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.writeBehind(ctx) })
	err := s.redis.run(ctx, s)
	wg.Wait()
	return err
}

// keepFor is how much longer an entry is worth keeping.
func (s *Store) keepFor(e *Entry, now time.Time) time.Duration {
	ttl := s.cfg.StaleIfError
	switch {
	case e.Deleted:
		ttl = tombstoneTTL
	case e.Missing:
		ttl = notFoundTTL
	}
	return max(time.Millisecond, ttl-now.Sub(e.FetchTime()))
}

// fresh says whether an entry is good for a caller who says nothing of its age,
// and whether it soon will no longer be. A part of the time to live that differs
// from entry to entry is cut off, so that what came together does not expire together.
func (s *Store) fresh(e *Entry, now time.Time) (fresh, soonOld bool) {
	if e.Missing {
		return s.keepFor(e, now) > time.Millisecond, false
	}
	ttl := s.cfg.TTL - time.Duration(uint64(e.fetched)%256)*s.cfg.TTL/2560
	age := now.Sub(e.FetchTime())
	return age < ttl, age > ttl*4/5
}

// Stamp is the number that a request to Clerk takes along which leaves now.
func (s *Store) Stamp() uint64 { return s.order.stamp() }

// Keep keeps what a lookup brought, unless something newer is known, and gives
// it as an *Entry, or nil if it can't be encoded. It is for gate.Config.Keep.
func (s *Store) Keep(id string, r gate.Result) any {
	e := s.entry(r)
	if e == nil {
		return nil
	}
	s.keep(id, e, r.FetchTime, false)
	return e
}

func (s *Store) entry(r gate.Result) *Entry {
	if r.User == nil {
		return missing(r.Stamp, r.FetchTime)
	}
	e, err := Encode(r.User, r.Stamp, r.FetchTime, clerkgatev1.Origin_ORIGIN_CLERK)
	if err != nil {
		s.cfg.Logger.Error("a user can't be encoded", "error", err)
		return nil
	}
	return e
}

// KeepPage keeps the users of a page of a list; onlyPresent: only those of whom
// there is a copy already.
func (s *Store) KeepPage(p *gate.Page, onlyPresent bool) {
	for _, u := range p.Users {
		if onlyPresent && s.redis == nil {
			if _, ok := s.memory.GetEntryQuietly(u.Id); !ok {
				continue
			}
		}
		if e := s.entry(gate.Result{User: u, FetchTime: p.FetchTime, Stamp: p.Stamp}); e != nil {
			s.keep(u.Id, e, p.FetchTime, onlyPresent)
		}
	}
}

// keep places what a flight brought that left at left.
func (s *Store) keep(id string, e *Entry, left time.Time, onlyPresent bool) {
	accepts := func() bool { return s.order.accepts(id, e.Stamp, left) }
	s.place(id, e, onlyPresent, accepts)
	// Redis refuses what is old by marks of its own, which it may have lost.
	if s.redis == nil || !accepts() {
		return
	}
	select {
	case s.writes <- putItem{id: id, entry: e, ttl: s.keepFor(e, time.Now()), onlyPresent: onlyPresent}:
	default:
		s.lost.Add(1)
	}
}

// place puts an entry into memory, unless something newer is known. The question
// is put under the entry's lock, so that an invalidation either is known by then
// or comes after it and finds the entry.
func (s *Store) place(id string, e *Entry, onlyPresent bool, accepts func() bool) {
	s.memory.Compute(id, func(old *Entry, found bool) (*Entry, otter.ComputeOp) {
		if !accepts() || onlyPresent && !found || found && !supersedes(e, old) {
			return nil, otter.CancelOp
		}
		return e, otter.WriteOp
	})
}

// inMemory is the copy in memory, nil if there is none.
func (s *Store) inMemory(id string) *Entry {
	e, _ := s.memory.GetIfPresent(id)
	return e
}

// trusted says whether a copy in memory may be believed: with Redis, only if it
// is known not to have been invalidated by another replica.
func (s *Store) trusted(e *Entry, now time.Time) bool {
	n := now.UnixNano()
	return s.redis == nil || e.Deleted || n < s.trust.Load() || n < e.fetched+int64(trustTime)
}

// inRedis reads copies, nil where there is none or Redis can't be asked, and
// keeps them in memory.
func (s *Store) inRedis(ctx context.Context, ids []string, view clerkgatev1.UserView) []*Entry {
	if s.redis == nil || len(ids) == 0 {
		return make([]*Entry, len(ids))
	}
	found, err := s.redis.get(ctx, ids, view)
	if err != nil {
		return make([]*Entry, len(ids))
	}
	for i, e := range found {
		if e == nil {
			continue
		}
		accepts := func() bool { return s.order.acceptsShared(ids[i], e.Stamp) }
		if !accepts() {
			found[i] = nil
			continue
		}
		s.place(ids[i], e, false, accepts)
	}
	return found
}

// writeBehind writes to Redis what is to be kept there.
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
		// What can't be written is in memory, and Redis will be asked in vain.
		_ = s.redis.put(ctx, batch)
	}
}
