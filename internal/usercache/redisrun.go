package usercache

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/clerkgate/clerkgate/internal/redislink"
)

const (
	firstBackoff   = 50 * time.Millisecond
	longestBackoff = time.Second
	// silentBeats is the number of missed heartbeats after which the connection is
	// closed.
	silentBeats = 6
	idSeparator = "\x00"
	// subscribeAgain is the interval at which a replica that may not subscribe tries
	// again.
	subscribeAgain = 10 * time.Second
)

var errSilent = errors.New("nothing is heard through the subscription")

// run connects, reconnects when the connection is lost, and passes the publications of
// all replicas to l. It returns nil when ctx ends. It calls l's methods one after the
// other; they must not block or call methods of r. Call run at most once.
func (r *redis) run(ctx context.Context, l listener) error {
	backoff := firstBackoff
	var logged string // only changes are logged
	for ctx.Err() == nil {
		connected := false
		err := r.session(ctx, l, func() {
			connected = true
			r.log.Info("redis is connected")
		})
		if ctx.Err() != nil {
			break
		}
		kind := r.cfg.Errors.Add(err)
		if connected {
			backoff, logged = firstBackoff, ""
		}
		if logged != string(kind) {
			logged = string(kind)
			r.log.Warn("redis is away, trying again", "reason", kind, "error", redislink.Plain(err), "hint", kind.Hint())
		}
		select {
		case <-ctx.Done():
		case <-time.After(backoff):
			backoff = min(2*backoff, longestBackoff)
		}
	}
	return nil //nolint:nilerr // run ends only with ctx
}

// let allows calls to use the client and reports whether they could not before.
func (r *redis) let(client rueidis.Client) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.client
	r.client = client
	return before == nil
}

// beat publishes a heartbeat, and renews the lease if the replica is listening. It
// returns the highest drawn number, and whether the replica may publish.
func (r *redis) beat(ctx context.Context, client rueidis.Client, listening bool) (seq uint64, may bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Beat)
	defer cancel()
	sent := strconv.FormatInt(int64(time.Since(r.start)), 10)
	lease := ""
	if listening {
		lease = sent
	}
	args := append(r.sequenceArgs(), r.channel(), r.me, lease, sent)
	reply, err := runOne(ctx, client, beatScript, redislink.ScriptCall{Key: r.sequenceKey(), Args: append(args, r.leases.gone()...)})
	if err != nil {
		if ctx.Err() == nil {
			r.cfg.Errors.Add(err)
		}
		return 0, false, err
	}
	n, err := number(reply, 0)
	if err != nil {
		return 0, false, err
	}
	allowed, err := number(reply, 1)
	if err != nil || len(reply) < 3 {
		return 0, false, errReply
	}
	fields, err := reply[2].AsStrMap()
	if err != nil {
		return 0, false, err
	}
	r.leases.observe(leasesIn(fields), time.Now())
	r.highest.raise(uint64(n))
	return uint64(n), allowed == 1, nil
}

// report publishes which publications this replica has received, until ctx ends.
func (r *redis) report(ctx context.Context, client rueidis.Client, e *subscriber) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.publication:
		}
		what := *e.last.Load()
		within, cancel := context.WithTimeout(ctx, writeTimeout)
		// After a failure, waiters wait until this replica's lease has ended.
		_ = client.Do(within, client.B().Hset().Key(r.sequenceKey()).FieldValue().FieldValue(heardField+r.me, what).Build()).Error()
		cancel()
	}
}

// receivedPublication is the last received publication.
type receivedPublication struct {
	token  string
	epoch  string
	number int64
}

// subscriber receives publications.
type subscriber struct {
	redis       *redis
	listener    listener
	heard       chan struct{}          // signalled when a heartbeat of this replica arrives
	publication chan struct{}          // signalled when there is something to report
	last        atomic.Pointer[string] // epoch and number of the last publication
}

// hear handles a message: "invalidated TOKEN NEWTOKEN EPOCH PUBLICATION NUMBER IDS" or
// "beat TOKEN REPLICA EPOCH PUBLICATION SENT NUMBER".
func (e *subscriber) hear(m rueidis.PubSubMessage) {
	f := strings.SplitN(m.Message, " ", 7)
	if len(f) != 7 {
		return
	}
	publication, err := strconv.ParseInt(f[4], 10, 64)
	if err != nil {
		return
	}
	r := e.redis
	switch f[0] {
	case "invalidated":
		seq, err := strconv.ParseUint(f[5], 10, 64)
		if err != nil {
			return
		}
		r.highest.raise(seq)
		e.follow(f[1], receivedPublication{f[2], f[3], publication})
		e.listener.invalidated(seq, strings.Split(f[6], idSeparator))
		e.toReport(f[3], publication)
	case "beat":
		sent, err := strconv.ParseInt(f[5], 10, 64)
		seq, err2 := strconv.ParseUint(f[6], 10, 64)
		if err != nil || err2 != nil {
			return
		}
		r.highest.raise(seq)
		if e.follow(f[1], receivedPublication{f[1], f[3], publication}) {
			e.toReport(f[3], publication)
		}
		if f[2] == r.me {
			e.listener.alive(r.start.Add(time.Duration(sent)), seq)
			signal(e.heard)
		}
	}
}

func (e *subscriber) toReport(epoch string, publication int64) {
	what := epoch + " " + strconv.FormatInt(publication, 10)
	e.last.Store(&what)
	signal(e.publication)
}

// follow records the next publication, which names the one before it, and reports whether
// any in between was missed.
func (e *subscriber) follow(before string, next receivedPublication) (missed bool) {
	last := e.redis.followed
	e.redis.followed = next
	if before == last.token {
		return false
	}
	e.listener.missed(last.token != "" && (next.epoch != last.epoch || next.number <= last.number))
	return true
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
