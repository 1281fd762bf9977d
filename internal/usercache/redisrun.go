package usercache

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/clerkgate/clerkgate/internal/redislink"
)

const (
	firstBackoff   = 50 * time.Millisecond
	longestBackoff = time.Second
	// silentBeats is how many beats may go unheard before the connection is
	// given up.
	silentBeats = 3
	idSeparator = "\x00"
)

var errSilent = errors.New("nothing is heard through the subscription")

// run connects, and connects again whenever the connection is lost, and tells l
// what is heard from other replicas and from this one. It ends with ctx, without
// an error. l's methods are called one after the other; they must return soon and
// call none of r's. r can be run once.
func (r *redis) run(ctx context.Context, l listener) error {
	backoff := firstBackoff
	quiet := false // the log tells of what changes only
	for ctx.Err() == nil {
		connected := false
		err := r.session(ctx, l, func() {
			connected = true
			r.log.Info("redis is connected")
		})
		if ctx.Err() != nil {
			break
		}
		if connected {
			backoff, quiet = firstBackoff, false
		}
		if !quiet {
			quiet = true
			r.log.Warn("redis is away, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(backoff):
			backoff = min(2*backoff, longestBackoff)
		}
	}
	return nil //nolint:nilerr // ctx's end is what ends it
}

// session is one connection, from its making until it is lost. Calls are let
// through from when the replica has heard itself, so that whatever was missed is
// known before.
func (r *redis) session(ctx context.Context, l listener, connected func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := redislink.Connect(ctx, r.options)
	if err != nil {
		return err
	}
	ears := &ears{redis: r, listener: l, heard: make(chan struct{}, 1)}
	subscribed := make(chan struct{}, 1)
	lost := make(chan error, 1)
	go func() {
		ctx := rueidis.WithOnSubscriptionHook(ctx, func(rueidis.PubSubSubscription) { signal(subscribed) })
		lost <- client.Receive(ctx, client.B().Subscribe().Channel(r.channel()).Build(), ears.hear)
	}()
	defer func() {
		r.mu.Lock()
		r.client = nil
		r.mu.Unlock()
		cancel() // closes the connections, so that nothing below waits for Redis
		client.Close()
		r.calls.Wait()
		if lost != nil {
			_ = <-lost // it ended because it was told to
		}
	}()

	ticks := time.NewTicker(r.cfg.Beat)
	defer ticks.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-lost:
			lost = nil
			return err
		case <-subscribed:
			r.beat(ctx, client)
		case <-ears.heard:
			last = time.Now()
			if r.let(client) {
				connected()
			}
		case <-ticks.C:
			if time.Since(last) > silentBeats*r.cfg.Beat {
				return errSilent
			}
			r.beat(ctx, client)
		}
	}
}

// let lets calls through to the client, and says whether they were not before.
func (r *redis) let(client rueidis.Client) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.client
	r.client = client
	return before == nil
}

// beat publishes what this replica is to hear again. A failure shows by its not
// being heard.
func (r *redis) beat(ctx context.Context, client rueidis.Client) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Beat)
	defer cancel()
	sent := strconv.FormatInt(int64(time.Since(r.start)), 10)
	_, _ = runScript(ctx, client, beatScript, redislink.ScriptCall{Key: r.sequenceKey(), Args: []string{
		r.highestText(), rand.Text(), r.channel(), r.me, sent}})
}

// ears hear what is published.
type ears struct {
	redis    *redis
	listener listener
	heard    chan struct{} // signalled when the replica has heard itself
}

// hear takes a message: "invalidated TOKEN NEWTOKEN NUMBER IDS" or "beat TOKEN
// REPLICA SENT NUMBER".
func (e *ears) hear(m rueidis.PubSubMessage) {
	f := strings.SplitN(m.Message, " ", 5)
	if len(f) != 5 {
		return
	}
	r := e.redis
	switch f[0] {
	case "invalidated":
		seq, err := strconv.ParseUint(f[3], 10, 64)
		if err != nil {
			return
		}
		r.highest.raise(seq)
		e.follow(f[1], f[2])
		e.listener.invalidated(seq, strings.Split(f[4], idSeparator))
	case "beat":
		sent, err := strconv.ParseInt(f[3], 10, 64)
		seq, err2 := strconv.ParseUint(f[4], 10, 64)
		if err != nil || err2 != nil {
			return
		}
		r.highest.raise(seq)
		e.follow(f[1], f[1])
		if f[2] == r.me {
			e.listener.alive(r.start.Add(time.Duration(sent)), seq)
			signal(e.heard)
		}
	}
}

// follow goes from one publication to the next, which names the one before it.
func (e *ears) follow(before, token string) {
	if before != e.redis.token {
		e.listener.missed()
	}
	e.redis.token = token
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
