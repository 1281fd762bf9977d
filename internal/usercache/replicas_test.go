package usercache

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// startReplicas runs replicas with a real Redis until the test ends.
func startReplicas(t testing.TB, redis *redistest.Server, clerk *fakeClerk, n int) []instance {
	t.Helper()
	replicas := make([]instance, n)
	for i := range replicas {
		r, stop := newInstance(t, clerk, Config{
			TTL: 500 * time.Millisecond, RedisURL: redis.URL(), RedisTimeout: patience,
		}, nil)
		t.Cleanup(stop)
		replicas[i] = r
	}
	for _, r := range replicas {
		for !r.store.hears(time.Now()) { // until it has received its heartbeat
			time.Sleep(time.Millisecond)
		}
	}
	return replicas
}

// TestThreeReplicasNeverGiveAnOlderCopy is TestNeverAnOlderCopyAfterANewer with three
// replicas and a real Redis.
func TestThreeReplicasNeverGiveAnOlderCopy(t *testing.T) {
	redis := redistest.Start(t)
	clerk := &fakeClerk{latency: 50 * time.Millisecond}
	replicas := startReplicas(t, redis, clerk, 3)
	rnd := rand.New(rand.NewPCG(1, 2))
	script := make([]step, 1500)
	for i := range script {
		script[i] = step{
			at:   time.Duration(rnd.IntN(4000)) * time.Millisecond,
			what: "read",
			on:   rnd.IntN(len(replicas)),
			late: time.Duration(rnd.IntN(100)) * time.Millisecond,
		}
		if i%20 == 0 {
			script[i].what = steps[rnd.IntN(len(steps)-1)] // all except a deletion
		}
	}
	script = append(script, step{at: 3500 * time.Millisecond, what: "delete", on: 1})
	play(t, clerk, replicas, script)
	if c := replicas[0].Totals().Lookups; c[fromRedis]+c[fromMemory] == 0 {
		t.Errorf("nothing came from Redis, only %v: this test does not test it", c)
	}
}

// TestRedisMayBeKilledUnderLoad: no lookup fails, and none takes long.
func TestRedisMayBeKilledUnderLoad(t *testing.T) {
	redis := redistest.Start(t)
	clerk := &fakeClerk{latency: 20 * time.Millisecond}
	ids := make([]string, 20)
	for i := range ids {
		ids[i] = "user_" + string(rune('a'+i))
		clerk.change(ids[i])
	}
	replicas := startReplicas(t, redis, clerk, 3)
	end := make(chan struct{})
	var readers sync.WaitGroup
	for _, r := range replicas {
		for range 4 {
			readers.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-end:
						return
					default:
					}
					for i, res := range r.Lookup(t.Context(), ids, Options{Options: gate.Options{Caller: "load"}}) {
						if res.Err != nil {
							t.Errorf("%s: %v", ids[i], res.Err)
							return
						}
					}
				}
			})
		}
	}
	for range 2 {
		time.Sleep(300 * time.Millisecond)
		redis.Kill()
		time.Sleep(700 * time.Millisecond)
		redis.Start()
	}
	time.Sleep(300 * time.Millisecond)
	close(end)
	readers.Wait()
	for i, r := range replicas { // received again, so that memory is trusted again
		for deadline := time.Now().Add(20 * time.Second); !r.store.hears(time.Now()); {
			if time.Now().After(deadline) {
				t.Fatalf("replica %d does not hear Redis again", i)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// BenchmarkWebhookReachesReplicas measures how long another replica returns the older
// copy after a webhook was acknowledged; the limit is 100 ms.
func BenchmarkWebhookReachesReplicas(b *testing.B) {
	redis := redistest.Start(b)
	clerk := &fakeClerk{}
	replicas := startReplicas(b, redis, clerk, 2)
	settle(b, redis, replicas[0])
	var waits []time.Duration
	for b.Loop() {
		clerk.change("user_1")
		if _, res := replicas[1].get(b, "user_1", Options{}); res.Err != nil {
			b.Fatal(res.Err)
		}
		v := clerk.change("user_1")
		if err := replicas[0].store.Updated(b.Context(), userOf("user_1", v), time.Now()); err != nil {
			b.Fatal(err)
		}
		told := time.Now()
		for {
			if got, _ := replicas[1].get(b, "user_1", Options{}); got >= v {
				break
			}
		}
		waits = append(waits, time.Since(told))
	}
	slices.Sort(waits)
	b.ReportMetric(float64(waits[len(waits)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(waits[len(waits)-1].Microseconds())/1000, "max-ms")
}

// settle makes the sequence so old that nothing from before it matters.
func settle(t testing.TB, s *redistest.Server, r instance) {
	t.Helper()
	if got := s.Ask("HSET " + r.store.redis.(*redis).sequenceKey() + " b 1"); got[0] == '-' {
		t.Fatal(got)
	}
}

// BenchmarkInvalidate measures an invalidation with three replicas.
func BenchmarkInvalidate(b *testing.B) {
	server := redistest.Start(b)
	replicas := startReplicas(b, server, &fakeClerk{}, 3)
	settle(b, server, replicas[0])
	var waits []time.Duration
	for b.Loop() {
		began := time.Now()
		if err := replicas[0].Invalidate(b.Context(), []string{"user_1"}); err != nil {
			b.Fatal(err)
		}
		waits = append(waits, time.Since(began))
	}
	slices.Sort(waits)
	b.ReportMetric(float64(waits[len(waits)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkWhatStrictReadsWouldCost compares a read from memory, under a lease, with the
// alternative: asking Redis for the last publication before each read.
func BenchmarkWhatStrictReadsWouldCost(b *testing.B) {
	server := redistest.Start(b)
	clerk := &fakeClerk{}
	clerk.change("user_1")
	r, stop := newInstance(b, clerk, Config{TTL: time.Hour, RedisURL: server.URL(), RedisTimeout: time.Second}, nil)
	defer stop()
	awaitTrust(b, r)
	r.get(b, "user_1", Options{})
	link := r.store.redis.(*redis)
	for _, asks := range []bool{false, true} {
		b.Run(map[bool]string{false: "lease", true: "asking"}[asks], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if asks {
					_, err := read(b.Context(), link, func(ctx context.Context, c rueidis.Client) (string, error) {
						return c.Do(ctx, c.B().Hget().Key(link.sequenceKey()).Field("t").Build()).ToString()
					})
					if err != nil {
						b.Fatal(err)
					}
				}
				if res := r.Lookup(b.Context(), []string{"user_1"}, Options{})[0]; res.ServedFrom != fromMemory {
					b.Fatal(res)
				}
			}
		})
	}
}
