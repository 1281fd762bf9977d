package usercache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// history records what was acknowledged and what was returned.
type history struct {
	mu      sync.Mutex
	acked   map[string]int64   // newest acknowledged version by user; guarded by mu
	deleted map[string]bool    // guarded by mu
	served  []map[string]int64 // newest returned version by replica and user; guarded by mu
}

// begin returns what a read that starts now at a replica must respect.
func (h *history) begin(replica int, id string) (acked, served int64, deleted bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.acked[id], h.served[replica][id], h.deleted[id]
}

func (h *history) serve(replica int, id string, version int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.served[replica][id] = max(h.served[replica][id], version)
}

func (h *history) acknowledge(id string, version int64, deleted bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acked[id] = max(h.acked[id], version)
	if deleted {
		h.deleted[id] = true
	}
}

// chaos is the environment of the replicas.
type chaos struct {
	t        *testing.T
	redis    *redistest.Server
	clerk    *fakeClerk
	links    []*proxy
	replicas []instance
	history  *history
	ids      []string
	reads    atomic.Int64
	from     [4]atomic.Int64 // reads by source
	acks     atomic.Int64
	restarts int // of Redis; used by the goroutine that causes faults
}

// TestReplicasNeverReturnWhatWasMadeOld runs two and three replicas with a real Redis,
// each behind its own link, which is slow, cut and restored at random, while Redis
// restarts without its data. Webhooks are delayed, repeated, reordered or lost; users are
// invalidated and deleted; Redis's clock is set by an hour. No read at any replica
// returns a version older than one that was acknowledged before the read began, nor older
// than one that the replica has returned before.
func TestReplicasNeverReturnWhatWasMadeOld(t *testing.T) {
	for _, c := range []struct {
		replicas int
		view     bool // also reads with FULL
		seed     uint64
	}{{2, false, 1}, {3, true, 2}} {
		t.Run(fmt.Sprintf("%d replicas", c.replicas), func(t *testing.T) {
			x := &chaos{
				t: t, redis: redistest.Start(t), clerk: &fakeClerk{latency: 30 * time.Millisecond},
				history: &history{acked: map[string]int64{}, deleted: map[string]bool{}},
			}
			for i := range 12 {
				x.ids = append(x.ids, fmt.Sprintf("user_%d", i))
				x.clerk.change(x.ids[i])
			}
			for range c.replicas {
				link := newProxy(t, x.redis.Addr())
				r, stop := newInstance(t, x.clerk, Config{
					TTL: 500 * time.Millisecond, RedisURL: "redis://" + link.addr(), RedisTimeout: 20 * time.Millisecond, RedisKeys: testKeys(t, "k1"),
				}, nil)
				t.Cleanup(stop)
				x.links, x.replicas = append(x.links, link), append(x.replicas, r)
				x.history.served = append(x.history.served, map[string]int64{})
			}
			x.run(c.seed, c.view)
		})
	}
}

func (x *chaos) run(seed uint64, fullViews bool) {
	// A busy machine needs longer for as many reads.
	began := time.Now()
	ended := func() bool {
		took := time.Since(began)
		return took > 6*time.Second && x.enough() || took > time.Minute
	}
	var all sync.WaitGroup
	loop := func(n uint64, do func(rnd *rand.Rand)) {
		all.Go(func() {
			for rnd := rand.New(rand.NewPCG(seed, n)); !ended(); {
				do(rnd)
			}
		})
	}
	for i := range x.replicas {
		for k := range 3 {
			loop(uint64(10*i+k), func(rnd *rand.Rand) { x.read(rnd, i, fullViews) })
		}
	}
	for k := range 10 {
		loop(uint64(100+k), x.write)
	}
	loop(200, x.trouble)
	all.Wait()
	if !x.enough() {
		x.t.Errorf("only %d words were acknowledged, and of %d reads %d came from memory and %d from Redis: this test does not test it",
			x.acks.Load(), x.reads.Load(), x.from[fromMemory].Load(), x.from[fromRedis].Load())
	}
	x.t.Logf("%d words acknowledged; of %d reads %d from memory, %d from Redis, %d from Clerk", x.acks.Load(), x.reads.Load(),
		x.from[fromMemory].Load(), x.from[fromRedis].Load(), x.from[fromClerk].Load())
}

// enough reports whether so much has happened that the test has a meaning.
func (x *chaos) enough() bool {
	return x.acks.Load() >= 50 && x.reads.Load() >= 1000 && x.from[fromMemory].Load() > 0 && x.from[fromRedis].Load() > 0
}

func (x *chaos) read(rnd *rand.Rand, i int, fullViews bool) {
	id := x.ids[rnd.IntN(len(x.ids))]
	var o Options
	switch rnd.IntN(8) {
	case 0:
		o.MaxAge = age(0)
	case 1:
		o.MaxAge = age(100 * time.Millisecond)
	case 2:
		if fullViews {
			o.View = fullView
		}
	}
	acked, served, deleted := x.history.begin(i, id)
	began := time.Now()
	v, res := x.replicas[i].get(x.t, id, o)
	x.reads.Add(1)
	switch {
	case v == -1:
		x.t.Errorf("a read of %s in replica %d fails: %v", id, i, res.Err)
		return
	case v == 0:
		return
	}
	x.from[res.ServedFrom].Add(1)
	if v < acked || v < served || deleted {
		x.t.Errorf("replica %d returned version %d of %s from %v: version %d was acknowledged and %d served there before, deleted %v (age %v)",
			i, v, id, res.ServedFrom, acked, served, deleted, began.Sub(res.Entry.FetchTime()))
	}
	// If Clerk's answer is older than a webhook's copy, that copy is the answer.
	if o.MaxAge != nil && res.Entry.Origin != clerkgatev1.Origin_ORIGIN_WEBHOOK {
		if old := began.Sub(res.Entry.FetchTime()); old > *o.MaxAge+time.Millisecond {
			x.t.Errorf("max_age %v: a copy of %v that was %v old when the call came", *o.MaxAge, res.ServedFrom, old)
		}
	}
	x.history.serve(i, id, v)
	time.Sleep(time.Duration(rnd.IntN(2000)) * time.Microsecond)
}

func (x *chaos) write(rnd *rand.Rand) {
	time.Sleep(time.Duration(rnd.IntN(150)) * time.Millisecond)
	i := rnd.IntN(len(x.replicas))
	r, id := x.replicas[i], x.ids[rnd.IntN(len(x.ids))]
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	// Without an acknowledgement there is no guarantee.
	tell := func(err error, version int64, deleted bool) {
		switch {
		case err == nil:
			x.acks.Add(1)
			x.history.acknowledge(id, version, deleted)
		case !errors.Is(err, ErrRedisAway) && !errors.Is(err, context.DeadlineExceeded):
			x.t.Error(err)
		}
	}
	switch what := rnd.IntN(20); {
	case what < 10:
		v := x.clerk.change(id)
		tell(r.Invalidate(ctx, []string{id}), v, false)
	case what < 12: // a webhook of the newest version
		v := x.clerk.change(id)
		tell(r.store.Updated(ctx, userOf(id, v), time.Now()), v, false)
	case what < 16: // a late, repeated or overtaking one
		v := x.clerk.change(id)
		old := v - int64(rnd.IntN(3))
		at := time.Now()
		time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond)
		if old > 0 {
			tell(r.store.Updated(ctx, userOf(id, old), at), old, false)
		}
	case id == x.ids[0]:
		x.clerk.remove(id)
		tell(r.store.Deleted(ctx, id, time.Now()), 0, true)
	}
}

// trouble causes faults of links and of Redis.
func (x *chaos) trouble(rnd *rand.Rand) {
	time.Sleep(time.Duration(100+rnd.IntN(200)) * time.Millisecond)
	link := x.links[rnd.IntN(len(x.links))]
	pause := func(most int) { time.Sleep(time.Duration(rnd.IntN(most)) * time.Millisecond) }
	switch rnd.IntN(7) {
	case 0, 1:
		link.cut(true)
		pause(600)
		link.cut(false)
	case 2:
		link.delay.Store(int64(time.Duration(rnd.IntN(60)) * time.Millisecond))
		pause(500)
		link.delay.Store(0)
	case 3: // held, so that nothing arrives for a while, and then everything
		link.delay.Store(int64(400 * time.Millisecond))
		pause(500)
		link.delay.Store(0)
	case 4:
		x.redis.Ask("CLIENT KILL TYPE pubsub")
	case 5: // Redis's clock is set by an hour, so all its data is from another time
		x.setClock(time.Duration(1-2*rnd.IntN(2)) * time.Hour)
	case 6:
		if x.restarts++; x.restarts > 2 {
			return
		}
		x.redis.Kill()
		pause(300)
		x.redis.Start()
		pause(2500) // so that the replicas receive heartbeats again
	}
}

// setClock changes Redis's data as setting its clock would.
func (x *chaos) setClock(by time.Duration) {
	client := x.redis.Client()
	for _, id := range x.ids {
		r := x.replicas[0].store.redis.(*redis)
		const shift = `if redis.call('HEXISTS', KEYS[1], 'f') == 1 then redis.call('HINCRBY', KEYS[1], 'f', ARGV[1]) end return 1`
		if err := client.Do(context.Background(), client.B().Eval().Script(shift).Numkeys(1).Key(r.userKey(id)).Arg(fmt.Sprint(-by.Microseconds())).Build()).Error(); err != nil {
			x.t.Error(err)
		}
	}
}
