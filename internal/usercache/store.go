package usercache

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/redislink"
)

// entryOverhead is the memory of an entry beside its encoded bytes: the Entry, the key
// and the cache's own node.
const entryOverhead = 380

// Config configures a Store. The zero value of every field means its default.
type Config struct {
	TTL          time.Duration // the maximum age of an answer if the call sets none; default 60 s
	StaleIfError time.Duration // the same while Clerk is unavailable; default 24 h, at least TTL
	MaxBytes     int64         // of memory, including each entry's overhead; default 256 MiB

	RedisURL      string           // default: memory only
	RedisAccess   redislink.Access // default: from the URL
	RedisInstance string           // part of every key in Redis; default "default"
	RedisTimeout  time.Duration    // of one read; default 10 ms
	// RedisKeys encrypt the copies in Redis; see ParseKeys. Without keys, private parts
	// are not written to Redis.
	RedisKeys   *Keys
	RedisErrors *redislink.Errors // counts errors of Redis; default: a counter of its own
	// AvailableWithoutRedis allows a replica that can't hear the others' invalidations,
	// because Redis is unavailable, to serve copies of the last 5 s, and older ones while
	// Clerk is unavailable too. By default such a replica asks Clerk for every answer.
	AvailableWithoutRedis bool

	Logger *slog.Logger // default: discards
}

// DefaultConfig returns the defaults of a Config.
func DefaultConfig() Config { return Config{}.withDefaults() }

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

// Store keeps copies of users in memory and in Redis, and decides which of two copies is
// newer. It is safe for concurrent use.
type Store struct {
	cfg    Config
	memory *otter.Cache[string, *Entry]
	order  order
	redis  sharedLevel // nil: memory only
	writes chan putItem
	start  time.Time
	lease  atomic.Int64 // end of the lease on memory, in ns from start
	gone   evictions
	lost   atomic.Int64 // copies not written to Redis because too many waited

	mu     sync.Mutex
	events map[string]time.Time // without Redis: webhook event id → when to forget it
}

// NewStore returns a Store. It fails if the Redis URL is invalid. It does not connect yet;
// Run does.
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

// Run writes copies to Redis and receives the other replicas' invalidations until ctx
// ends. Call it at most once.
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

// Stamp returns the stamp for a request to Clerk that leaves now: the number of the last
// invalidation that is known.
func (s *Store) Stamp() uint64 { return s.order.stamp() }

// Keep stores the result of a lookup unless a newer copy is known. It returns the newest
// copy as an *Entry, or nil if the user can't be encoded. It is meant for
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

// KeepPage stores the users of a page of a list. With onlyPresent it stores only those
// that have a copy already.
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

// keep stores the result of a request that was sent at sent, and returns the newest copy.
func (s *Store) keep(id string, e *Entry, sent time.Time, onlyPresent bool) *Entry {
	accepts := func() bool { return s.order.accepts(id, e, sent) }
	newest := s.place(id, e, onlyPresent, accepts)
	// Redis refuses old copies too, but it may have lost the marks that it needs for that.
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

// place stores a request's result in memory unless a newer copy is known, and returns the
// newest copy. It calls accepts under the entry's lock: an invalidation is either known by
// then, or it comes later and finds the entry.
func (s *Store) place(id string, e *Entry, onlyPresent bool, accepts func() bool) *Entry {
	newest := e
	s.memory.Compute(id, func(old *Entry, found bool) (*Entry, otter.ComputeOp) {
		newest = e
		switch {
		case !accepts():
			// It may still answer calls that arrived before the invalidation, and those
			// calls must get nothing older afterwards.
			switch {
			case found && old.newerThan(e):
				newest = old
			case !e.Missing && (!found && !onlyPresent || found && e.newerThan(old)):
				return e.madeOld(), otter.WriteOp
			}
		case !found && onlyPresent:
		case !found || supersedes(e, old):
			if found && e.Missing && !old.Missing {
				s.order.recordVersion(id, old.UpdatedAt, time.Now())
			}
			return e, otter.WriteOp
		case old.newerThan(e) && !old.Deleted && (old.outdated || e.Stamp >= old.Stamp):
			newest = old.confirmedBy(e)
			return newest, otter.WriteOp
		case !old.outdated && old.Missing == e.Missing && old.UpdatedAt == e.UpdatedAt && e.fetched.After(old.fetched):
			// The present copy has its higher stamp from a webhook.
			newest = e.stamped(old.Stamp)
			return newest, otter.WriteOp
		case !old.outdated:
			newest = old
		}
		return nil, otter.CancelOp
	})
	return newest
}

// newerThan reports whether e is a deletion or has a newer updated_at than other.
func (e *Entry) newerThan(other *Entry) bool {
	return e.Deleted || !e.Missing && !other.Missing && e.UpdatedAt > other.UpdatedAt
}

// inMemory returns the copy in memory, or nil if there is none or it is outdated.
func (s *Store) inMemory(id string) *Entry {
	if e, _ := s.memory.GetIfPresent(id); e != nil && !e.outdated && s.order.heard(e) {
		return e
	}
	return nil
}

// inRedis reads copies from Redis and stores them in memory. An element of the result is
// nil if Redis has no copy, can't be reached, or has an older copy than memory.
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

// placeShared stores a copy from Redis in memory and returns the copy to serve. It returns
// nil if memory has a newer copy that is not trusted any more.
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
