package usercache

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/redislink"
)

// MaxUpstreamTimeout is the most that a request to Clerk may take, with its whole
// answer. How long invalidations are remembered depends on it.
const MaxUpstreamTimeout = 100 * time.Second

// How long what is known is good for.
const (
	notFoundTTL  = 5 * time.Second
	tombstoneTTL = 48 * time.Hour // Clerk sends an event again for a day
	// leaseTime is how long memory is believed after the replica has last heard
	// itself through Redis, and so the most that an invalidation waits for a
	// replica that has stopped answering.
	leaseTime = 2 * time.Second
	// availableTime is how long a copy is believed without Redis under
	// Config.AvailableWithoutRedis.
	availableTime = 5 * time.Second
	// longestFetch is more than any request to Clerk takes until its answer is kept.
	longestFetch = MaxUpstreamTimeout + 20*time.Second
	writeBacklog = 4096 // copies that may wait to be written to Redis
	writeBatch   = 100
)

// entryOverhead is what an entry takes beside its bytes: the Entry, the key, and
// the cache's own node.
const entryOverhead = 380

// ErrRedisAway is what an invalidation answers that could not be told to Redis,
// and so not to the other replicas. It has been carried out here.
var ErrRedisAway = errors.New("redis can't be reached")

// second is the level behind memory, shared by all replicas. get is bounded to a
// few milliseconds, and each step of the others to half a second; all fail at once
// while Redis is away.
type second interface {
	// get reads entries, nil where there is none. For BASIC the private part is left out.
	get(ctx context.Context, ids []string, view clerkgatev1.UserView) ([]*Entry, error)
	// put stores copies that Clerk gave, each unless something newer is known.
	put(ctx context.Context, items []putItem) error
	// invalidate draws the next number, marks the ids with it, and tells all
	// replicas. It returns once none of them serves an older copy.
	invalidate(ctx context.Context, ids []string) (uint64, error)
	// apply draws the next number, stores under it what a webhook told, unless
	// something newer is there, and tells all replicas. It returns once none of
	// them serves an older copy. blind: what is not there may have been lost.
	apply(ctx context.Context, id string, e *Entry, ttl time.Duration, blind bool) (applied, error)
	// seen reports whether an event was recorded; record records it.
	seen(ctx context.Context, eventID string) (bool, error)
	record(ctx context.Context, eventID string) error
	// counters returns what has been counted; Lost is not known here.
	counters() RedisStats
	// run connects, listens to the other replicas and tells l, until ctx ends.
	run(ctx context.Context, l listener) error
}

// applied is what became of a webhook's copy in Redis.
type applied struct {
	seq     uint64 // its number
	outcome applyOutcome
	// updatedAt is that of the copy that is there, of applyKnown only.
	updatedAt int64
}

type applyOutcome int

const (
	applyRefused applyOutcome = iota // an invalidation, or that there is no such user, may be newer
	applyPlaced                      // it is what Redis has now
	applyKnown                       // Redis has the same version or a newer one
	applyDeleted                     // the user is known to be deleted
)

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
	// drawn: all numbers up to seq have been drawn.
	drawn(seq uint64)
	// alive: at since, all invalidations so far had been heard; seq was the last.
	alive(since time.Time, seq uint64)
	// missed: invalidations may not have been heard. lost: Redis may have lost marks.
	missed(lost bool)
}

// Config says how much is kept and for how long. The zero value of every field
// is its default.
type Config struct {
	TTL          time.Duration // how old an answer may be where the caller says nothing; default 60 s
	StaleIfError time.Duration // ... while Clerk is away; default 24 h
	MaxBytes     int64         // of memory, with what an entry needs beside its bytes; default 256 MiB

	RedisURL      string           // empty: memory only
	RedisAccess   redislink.Access // default: as the URL says
	RedisInstance string           // part of every key in Redis; default "default"
	RedisTimeout  time.Duration    // of one reading; default 10 ms
	// RedisKeys encrypt what is written to Redis; see ParseKeys. Default: none, and
	// private parts are not written there.
	RedisKeys   *Keys
	RedisErrors *redislink.Errors // counts what goes wrong with Redis; default: one of its own
	// AvailableWithoutRedis lets a replica that can't hear the others' invalidations,
	// since Redis is away, serve copies of the last 5 s, and older ones while Clerk
	// is away, too. By default it serves nothing without asking Clerk.
	AvailableWithoutRedis bool

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
	start  time.Time
	lease  atomic.Int64 // until when memory is believed, in ns from start
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
		start:  time.Now(),
		writes: make(chan putItem, writeBacklog),
		events: make(map[string]time.Time),
	}
	s.order.init(longestFetch, s.start)
	if cfg.RedisURL != "" {
		r, err := newRedis(redisConfig{URL: cfg.RedisURL, Access: cfg.RedisAccess, Instance: cfg.RedisInstance, Timeout: cfg.RedisTimeout, Keys: cfg.RedisKeys, Errors: cfg.RedisErrors, Logger: cfg.Logger})
		if err != nil {
			return nil, err
		}
		s.redis = r
		if cfg.RedisKeys == nil {
			cfg.Logger.Warn("Redis holds users' names and addresses in clear, and no private parts: --cache-encryption-key-file encrypts both")
		}
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
	return max(time.Millisecond, ttl-now.Sub(e.fetched))
}

// fresh reports whether an entry is good for a caller who says nothing of its age,
// and whether it soon will no longer be. A part of the time to live that differs
// from entry to entry is cut off, so that what came together does not expire together.
func (s *Store) fresh(e *Entry, now time.Time) (fresh, soonOld bool) {
	if e.Missing {
		return s.keepFor(e, now) > time.Millisecond, false
	}
	ttl := s.cfg.TTL - time.Duration(uint64(e.fetched.UnixNano())%256)*s.cfg.TTL/2560
	age := now.Sub(e.fetched)
	return age < ttl, age > ttl*4/5
}

// Stamp is the number that a request to Clerk takes along which leaves now.
func (s *Store) Stamp() uint64 { return s.order.stamp() }

// Keep keeps what a lookup brought, unless something newer is known, and returns
// what is known then as an *Entry, or nil if it can't be encoded. It is for
// gate.Config.Keep.
func (s *Store) Keep(id string, r gate.Result) any {
	e := s.entry(r)
	if e == nil {
		return nil
	}
	return s.keep(id, e, r.FetchTime, false)
}

func (s *Store) entry(r gate.Result) *Entry {
	if now := time.Now(); r.FetchTime.After(now) {
		r.FetchTime = now
	}
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

// keep places what a request brought that left at left, and returns the newest
// copy that is known then.
func (s *Store) keep(id string, e *Entry, left time.Time, onlyPresent bool) *Entry {
	accepts := func() bool { return s.order.accepts(id, e, left) }
	newest := s.place(id, e, onlyPresent, accepts)
	// Redis refuses what is old by marks of its own, which it may have lost.
	if s.redis == nil || newest.Deleted || !accepts() {
		return newest
	}
	select {
	case s.writes <- putItem{id: id, entry: newest, ttl: s.keepFor(newest, time.Now()), onlyPresent: onlyPresent}:
	default:
		s.lost.Add(1)
	}
	return newest
}

// place puts into memory what a request to Clerk brought, unless something newer
// is known, and returns the newest. The question is put under the entry's lock, so
// that an invalidation either is known by then or comes after it and finds the entry.
func (s *Store) place(id string, e *Entry, onlyPresent bool, accepts func() bool) *Entry {
	newest := e
	s.memory.Compute(id, func(old *Entry, found bool) (*Entry, otter.ComputeOp) {
		newest = e
		switch {
		case !accepts():
			// It is still for calls that came before whatever made it old, after
			// which they must get nothing older.
			switch {
			case found && old.newerThan(e):
				newest = old
			case !e.Missing && (!found && !onlyPresent || found && e.newerThan(old)):
				return e.madeOld(), otter.WriteOp
			}
		case !found && onlyPresent:
		case !found || supersedes(e, old):
			return e, otter.WriteOp
		case old.newerThan(e) && !old.Deleted && (old.outdated || e.Stamp >= old.Stamp):
			newest = old.confirmedBy(e)
			return newest, otter.WriteOp
		case !old.outdated && old.Missing == e.Missing && old.UpdatedAt == e.UpdatedAt && e.fetched.After(old.fetched):
			// A webhook has given the one that is there its higher stamp.
			newest = e.stamped(old.Stamp)
			return newest, otter.WriteOp
		case !old.outdated:
			newest = old
		}
		return nil, otter.CancelOp
	})
	return newest
}

// newerThan reports whether a copy is of a newer version than another, or a deletion.
func (e *Entry) newerThan(other *Entry) bool {
	return e.Deleted || !e.Missing && !other.Missing && e.UpdatedAt > other.UpdatedAt
}

// inMemory is the copy in memory, nil if there is none or it is outdated.
func (s *Store) inMemory(id string) *Entry {
	if e, _ := s.memory.GetIfPresent(id); e != nil && !e.outdated && s.order.heard(e) {
		return e
	}
	return nil
}

// hears reports whether an invalidation by another replica would be known now.
func (s *Store) hears(now time.Time) bool {
	return s.redis == nil || int64(now.Sub(s.start)) < s.lease.Load()
}

// trusted reports whether a copy in memory may be served to a call that began at
// start: with Redis, only if no other replica can have made it old before then.
func (s *Store) trusted(e *Entry, start time.Time) bool {
	return s.hears(start) || e.Deleted || !e.asOf.Before(start) ||
		s.cfg.AvailableWithoutRedis && start.Sub(e.asOf) < availableTime
}

// inRedis reads copies, nil where there is none or Redis can't be asked, and
// keeps them in memory. Of those older than what memory knows none is returned.
func (s *Store) inRedis(ctx context.Context, ids []string, view clerkgatev1.UserView) []*Entry {
	if s.redis == nil || len(ids) == 0 {
		return make([]*Entry, len(ids))
	}
	found, err := s.redis.get(ctx, ids, view)
	if err != nil && found == nil {
		return make([]*Entry, len(ids))
	}
	for i, e := range found {
		if e != nil {
			found[i] = s.placeShared(ids[i], e)
		}
	}
	return found
}

// placeShared puts into memory what was read from Redis, and returns what of both
// may be served: nil if memory knows of something newer that itself is not to be
// believed.
func (s *Store) placeShared(id string, e *Entry) (served *Entry) {
	s.memory.Compute(id, func(old *Entry, found bool) (*Entry, otter.ComputeOp) {
		served = nil
		if !s.order.acceptsShared(id, e) {
			return nil, otter.CancelOp
		}
		if !found || e.Deleted {
			served = e
			return e, otter.WriteOp
		}
		believed := !old.outdated && s.order.heard(old) && s.hears(e.asOf)
		switch {
		case old.Deleted, believed && !supersedes(e, old):
			served = old
			return nil, otter.CancelOp
		case old.newerThan(e), e.Missing && !old.Missing && e.Stamp < old.Stamp:
			return nil, otter.CancelOp
		}
		served = e
		return e, otter.WriteOp
	})
	return served
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
		// Meanwhile something may have been missed that Redis has forgotten.
		batch = slices.DeleteFunc(batch, func(item putItem) bool { return !s.order.accepts(item.id, item.entry, item.entry.asOf) })
		// What can't be written is in memory, and Redis will be asked in vain.
		_ = s.redis.put(ctx, batch)
	}
}
