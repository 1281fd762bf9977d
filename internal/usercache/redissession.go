package usercache

import (
	"context"
	"time"

	"github.com/redis/rueidis"

	"github.com/clerkgate/clerkgate/internal/redislink"
)

// session is one connection to Redis. Only the goroutine of redis.session uses it.
type session struct {
	r          *redis
	client     rueidis.Client
	listener   listener
	ears       *subscriber
	connected  func()        // called when calls are allowed
	subscribed chan struct{} // signalled when the subscription is active
	lost       chan error    // the end of the subscription
	listening  bool          // there is a subscription, or an attempt at one
	last       time.Time     // when something was last received
	denied     time.Time     // when the last subscription was refused
}

// session connects and runs one session, until the connection is lost. Calls are allowed once
// the replica has received its own heartbeat, so that missed invalidations are known by then,
// or once it knows that it may not subscribe.
func (r *redis) session(ctx context.Context, l listener, connected func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := redislink.Connect(ctx, r.options)
	if err != nil {
		return err
	}
	s := &session{
		r: r, client: client, listener: l, connected: connected,
		ears:       &subscriber{redis: r, listener: l, heard: make(chan struct{}, 1), publication: make(chan struct{}, 1)},
		subscribed: make(chan struct{}, 1), lost: make(chan error, 1), last: time.Now(),
	}
	s.subscribe(ctx)
	reporting := make(chan struct{})
	go func() {
		defer close(reporting)
		r.report(ctx, client, s.ears)
	}()
	defer func() {
		r.mu.Lock()
		r.client = nil
		r.mu.Unlock()
		cancel() // closes the connections, so that nothing below waits for Redis
		client.Close()
		r.calls.Wait()
		<-reporting
		if s.listening {
			_ = <-s.lost // it ended on request
		}
	}()
	return s.run(ctx)
}

// run sends heartbeats and handles what is received until the session ends.
func (s *session) run(ctx context.Context) error {
	ticks := time.NewTicker(s.r.cfg.Beat)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.lost:
			s.listening = false
			if redislink.KindOf(err) != redislink.NotPermitted {
				return err
			}
			s.r.cfg.Errors.Add(err)
			s.denied = time.Now()
			s.beat(ctx)
		case <-s.subscribed:
			s.beat(ctx)
		case <-s.ears.heard:
			if s.r.mute.Swap(false) {
				s.r.log.Info("this Redis user may use pub/sub again: lookups are answered from memory")
			}
			s.alive()
		case <-ticks.C:
			if time.Since(s.last) > s.r.cfg.Silence {
				return errSilent
			}
			if !s.listening && time.Since(s.denied) > subscribeAgain {
				s.subscribe(ctx)
				continue
			}
			s.beat(ctx)
		}
	}
}

// subscribe starts a subscription to the channel of all replicas.
func (s *session) subscribe(ctx context.Context) {
	s.listening = true
	go func() {
		ctx := rueidis.WithOnSubscriptionHook(ctx, func(rueidis.PubSubSubscription) { signal(s.subscribed) })
		s.lost <- s.client.Receive(ctx, s.client.B().Subscribe().Channel(s.r.channel()).Build(), s.ears.hear)
	}()
}

// beat sends a heartbeat. If the replica may not subscribe, an answer of Redis is enough.
func (s *session) beat(ctx context.Context) {
	seq, may, err := s.r.beat(ctx, s.client, s.listening)
	if err != nil {
		return // its absence is noticed
	}
	s.listener.drawn(seq)
	if s.listening && may {
		return
	}
	s.alive()
	if !s.r.mute.Swap(true) {
		s.r.log.Warn("this Redis user may not use pub/sub: no lookup is answered from memory, and every read asks Redis. Give the user the right to the channels &clerkgate:*; docs/operations.md has the command")
	}
}

// alive records that something was received, and allows calls.
func (s *session) alive() {
	s.last = time.Now()
	if s.r.let(s.client) {
		s.connected()
	}
}
