package usercache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"github.com/sony/gobreaker/v2"

	"github.com/clerkgate/clerkgate/internal/redislink"
)

// redis is the sharedLevel in Redis. It is safe for concurrent use. Until run has
// connected, and while Redis is unavailable, its methods fail with errRedisAway.
type redis struct {
	cfg     redisConfig
	options rueidis.ClientOption
	log     *slog.Logger
	breaker *gobreaker.TwoStepCircuitBreaker[any]

	prefix   string // of all keys
	me       string // the replica's name on the channel
	start    time.Time
	highest  highestNumber
	followed receivedPublication // for the subscription's goroutine only
	leases   leases
	// mute is set if the user may not publish or subscribe, so that nothing is received.
	mute atomic.Bool

	mu     sync.RWMutex
	client rueidis.Client // nil while Redis is unavailable
	calls  sync.WaitGroup // added to under mu while there is a client

	stats struct {
		calls, refused, hits, misses atomic.Int64
		latency                      atomic.Int64
	}
	unreadable sync.Once // the first value that can't be decrypted is logged
}

// redisConfig configures a redis. Zero values mean defaults.
type redisConfig struct {
	// URL is a URL in the form of redislink.Options.
	URL    string
	Access redislink.Access
	// Instance is part of every key; different instances share nothing.
	Instance string
	Timeout  time.Duration // of one read; default 10 ms
	// Beat is the interval of heartbeats; default beatTime.
	Beat time.Duration
	// Silence is how long nothing may be received before the connection is closed;
	// default silentBeats of Beat.
	Silence time.Duration
	// MarkFor is how long an invalidation is remembered. It must be longer than any
	// request to Clerk takes. Default: longestFetch.
	MarkFor time.Duration
	// Lease is how long a replica may use its memory after its last heartbeat. It must be
	// equal in all replicas. Default: leaseTime.
	Lease  time.Duration
	Keys   *Keys             // nil: no encryption, and private parts are not stored
	Errors *redislink.Errors // counts errors; default: a counter of its own
	Logger *slog.Logger      // default: discards
}

// errRedisAway means that Redis is unavailable, so nothing was sent to it.
var errRedisAway = errors.New("redis is away")

const (
	writeTimeout    = 500 * time.Millisecond // of an invalidation or a webhook
	breakerFailures = 3
	breakerOpen     = 500 * time.Millisecond
	beatTime        = 500 * time.Millisecond
	// sequenceTTL is how long the sequence is kept without a heartbeat. After that, no
	// copy or mark that its numbers apply to is left.
	sequenceTTL = tombstoneTTL + time.Hour
)

// newRedis returns a redis. It fails if the URL is invalid; the error does not show it,
// since it may contain a password.
func newRedis(cfg redisConfig) (*redis, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 10 * time.Millisecond
	}
	if cfg.Beat <= 0 {
		cfg.Beat = beatTime
	}
	if cfg.Silence <= 0 {
		cfg.Silence = silentBeats * cfg.Beat
	}
	if cfg.MarkFor <= 0 {
		cfg.MarkFor = longestFetch
	}
	if cfg.Lease <= 0 {
		cfg.Lease = leaseTime
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Errors == nil {
		cfg.Errors = &redislink.Errors{}
	}
	options, err := redislink.Options(cfg.URL, cfg.Access)
	if err != nil {
		return nil, err
	}
	r := &redis{
		cfg:     cfg,
		options: options,
		log:     cfg.Logger,
		// Escaped, an instance can neither name keys of another one nor put all keys of a
		// cluster on one node with a hash tag.
		prefix: "clerkgate:" + url.QueryEscape(cfg.Instance) + ":cache2:",
		me:     rand.Text(),
		start:  time.Now(),
		leases: leases{lasts: cfg.Lease},
	}
	if cfg.Errors.News == nil {
		cfg.Errors.News = r.news
	}
	r.breaker = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Timeout:       breakerOpen,
		ReadyToTrip:   func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
		IsSuccessful:  func(err error) bool { return err == nil || isReply(err) },
		IsExcluded:    func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: r.breakerChanged,
	})
	return r, nil
}

// breakerChanged is called under the breaker's lock.
func (r *redis) breakerChanged(_ string, from, to gobreaker.State) {
	switch {
	case from == gobreaker.StateClosed:
		r.log.Warn("redis is too slow or fails: doing without it", "timeout", r.cfg.Timeout)
	case to == gobreaker.StateClosed:
		r.log.Info("redis answers again")
	}
}

// isReply reports whether err is an error reply, so Redis is available.
func isReply(err error) bool {
	_, ok := rueidis.IsRedisErr(err)
	return ok
}

// read runs do for at most the configured time, since what it reads can be had elsewhere.
// After several timeouts, reads fail at once for a while. do must not use data of the
// caller.
func read[T any](ctx context.Context, r *redis, do func(ctx context.Context, c rueidis.Client) (T, error)) (T, error) {
	done, err := r.breaker.Allow()
	if err != nil {
		r.stats.refused.Add(1)
		return *new(T), errRedisAway
	}
	return call(ctx, r, r.cfg.Timeout, done, do)
}

// write is read with a much longer time limit, for invalidations and webhooks.
func write[T any](ctx context.Context, r *redis, do func(ctx context.Context, c rueidis.Client) (T, error)) (T, error) {
	return call(ctx, r, max(r.cfg.Timeout, writeTimeout), func(error) {}, do)
}

// call runs do for the given time and calls done with its result.
func call[T any](ctx context.Context, r *redis, timeout time.Duration, done func(error), do func(ctx context.Context, c rueidis.Client) (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	client := r.enter()
	if client == nil {
		done(context.Canceled)
		r.stats.refused.Add(1)
		return *new(T), errRedisAway
	}
	begin := time.Now()
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// rueidis respects a context, except while another call connects.
	outcomes := make(chan outcome, 1)
	go func() {
		defer r.calls.Done()
		var o outcome
		o.value, o.err = do(within, client)
		outcomes <- o
	}()
	var o outcome
	select {
	case o = <-outcomes:
	case <-within.Done():
		o.err = within.Err()
	}
	if o.err != nil && ctx.Err() != nil {
		done(context.Canceled) // the caller had less time, which implies nothing about Redis
	} else {
		done(o.err)
	}
	r.stats.calls.Add(1)
	r.stats.latency.Add(int64(time.Since(begin)))
	if o.err != nil {
		if ctx.Err() == nil {
			r.cfg.Errors.Add(o.err)
		}
		return o.value, fmt.Errorf("redis: %w", redislink.Plain(o.err))
	}
	return o.value, nil
}

// news logs an error of a kind that has not occurred recently. run logs lost connections.
func (r *redis) news(kind redislink.Kind, err error) {
	if kind != redislink.Unreachable && r.snapshot().Connected {
		r.log.Warn("a call to redis failed", "reason", kind, "error", err, "hint", kind.Hint())
	}
}

// enter returns the client for a call that ends with r.calls.Done, or nil.
func (r *redis) enter() rueidis.Client {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.client != nil {
		r.calls.Add(1)
	}
	return r.client
}

func (r *redis) snapshot() RedisStats {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return RedisStats{
		Connected: r.client != nil,
		Calls:     r.stats.calls.Load(),
		Errors:    r.cfg.Errors.Counts(),
		Refused:   r.stats.refused.Load(),
		Latency:   time.Duration(r.stats.latency.Load()),
		Hits:      r.stats.hits.Load(),
		Misses:    r.stats.misses.Load(),
	}
}
