package usercache

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// TestALateWebhookNeverReplacesANewerCopy: one replica has read version 3, the
// other one receives a webhook with version 2.
func TestALateWebhookNeverReplacesANewerCopy(t *testing.T) {
	clerk := &fakeClerk{}
	replicas := startReplicas(t, redistest.Start(t), clerk, 2)
	a, b := replicas[0], replicas[1]
	for range 3 {
		clerk.change("user_1")
	}
	if v, res := b.get(t, "user_1", Options{}); v != 3 {
		t.Fatalf("got version %d: %v", v, res.Err)
	}
	eventually(t, func() bool { // until it is written; on a busy machine that may fail
		b.get(t, "user_1", Options{MaxAge: age(0)})
		found, err := a.store.redis.get(t.Context(), []string{"user_1"}, full)
		return err == nil && found[0] != nil
	})
	if err := a.store.Updated(t.Context(), userOf("user_1", 2), time.Now()); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		for i, r := range replicas {
			if v, _ := r.get(t, "user_1", Options{}); v != 3 {
				t.Fatalf("replica %d returned version %d after version 3", i, v)
			}
		}
	}
}

// TestWithRedisAwayWebhooksAreCarriedOutHere: without Redis, webhooks are applied here
// and refused, so that they come again.
func TestWithRedisAwayWebhooksAreCarriedOutHere(t *testing.T) {
	clerk := &fakeClerk{}
	for range 2 {
		clerk.change("user_1")
	}
	clerk.change("user_2")
	synctest.Test(t, func(t *testing.T) {
		r, stop := newInstance(t, clerk, Config{TTL: time.Minute}, awayRedis{})
		defer stop()
		for _, id := range []string{"user_1", "user_2"} {
			if _, res := r.get(t, id, Options{}); res.Err != nil {
				t.Fatal(res.Err)
			}
		}
		if err := r.store.Deleted(t.Context(), "user_1", time.Now()); !errors.Is(err, ErrRedisAway) {
			t.Errorf("got %v, want %v", err, ErrRedisAway)
		}
		if err := r.store.Updated(t.Context(), userOf("user_2", 2), time.Now()); !errors.Is(err, ErrRedisAway) {
			t.Errorf("got %v, want %v", err, ErrRedisAway)
		}
		time.Sleep(2 * time.Hour)
		clerk.setFail(&clerkapi.Error{Kind: clerkapi.ErrUnavailable, Status: 503})
		r.store.alive(time.Now(), 7) // Redis is available again
		if v, res := r.get(t, "user_1", Options{}); v > 0 {
			t.Errorf("the deleted user is returned as version %d, stale %v", v, res.Stale)
		}
		if v, res := r.get(t, "user_2", Options{}); v == 1 {
			t.Errorf("the version before the webhook's is returned, stale %v", res.Stale)
		}
	})
}

// TestAClockAheadKeepsNoCopyFresh: a replica whose clock is an hour ahead, or an
// hour behind, stores a copy.
func TestAClockAheadKeepsNoCopyFresh(t *testing.T) {
	for name, skew := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			clerk := &fakeClerk{}
			replicas := startReplicas(t, redistest.Start(t), clerk, 2)
			v := clerk.change("user_1")
			for i, r := range replicas {
				r.store.Keep("user_1", gate.Result{User: userOf("user_1", v), FetchTime: time.Now().Add(skew)})
				eventually(t, func() bool { return len(r.store.writes) == 0 })
				if i == 0 {
					clerk.change("user_1")
				}
			}
			time.Sleep(150 * time.Millisecond)
			for i, r := range replicas {
				if v, res := r.get(t, "user_1", Options{MaxAge: age(100 * time.Millisecond)}); v != 2 {
					t.Errorf("replica %d returned version %d fetched at %v, which is older than allowed", i, v, res.Entry.FetchTime())
				}
			}
		})
	}
}

// TestWhereClerkLagsTheNewerCopyIsReturned: a webhook contained version 2, and Clerk
// still answers with version 1.
func TestWhereClerkLagsTheNewerCopyIsReturned(t *testing.T) {
	clerk := &fakeClerk{}
	clerk.change("user_1")
	inBubble(t, clerk, Config{TTL: time.Minute}, func(t *testing.T, r instance) {
		if _, res := r.get(t, "user_1", Options{}); res.Err != nil {
			t.Fatal(res.Err)
		}
		if err := r.store.Updated(t.Context(), userOf("user_1", 2), time.Now()); err != nil {
			t.Fatal(err)
		}
		for _, o := range []Options{{}, {MaxAge: age(0)}, {}, {MaxAge: age(0), View: fullView}} {
			if v, res := r.get(t, "user_1", o); v != 2 {
				t.Errorf("version %d from %v after version 2", v, from(res))
			}
		}
		// Once Clerk has it too, everything is normal.
		for range 2 {
			clerk.change("user_1")
		}
		if v, _ := r.get(t, "user_1", Options{MaxAge: age(0)}); v != 3 {
			t.Errorf("got version %d, want Clerk's 3", v)
		}
	})
}

// TestAWebhookOfAnOlderVersionDuringARequest: the request's answer is newer.
func TestAWebhookOfAnOlderVersionDuringARequest(t *testing.T) {
	clerk := &fakeClerk{back: time.Second}
	for range 2 {
		clerk.change("user_1")
	}
	inBubble(t, clerk, Config{TTL: time.Minute}, func(t *testing.T, r instance) {
		var reader sync.WaitGroup
		reader.Go(func() {
			if v, res := r.get(t, "user_1", Options{MaxAge: age(0)}); v != 2 {
				t.Errorf("got version %d (%v)", v, res.Err)
			}
		})
		synctest.Wait()
		if err := r.store.Updated(t.Context(), userOf("user_1", 1), time.Now()); err != nil {
			t.Fatal(err)
		}
		reader.Wait()
		if v, _ := r.get(t, "user_1", Options{}); v != 2 {
			t.Errorf("got version %d after version 2", v)
		}
	})
}

// TestARequestServesWhomItIsYoungEnoughFor: the departure of a request decides which
// calls it may answer, for every max_age.
func TestARequestServesWhomItIsYoungEnoughFor(t *testing.T) {
	for _, c := range []struct {
		maxAge *time.Duration
		after  time.Duration // the call arrives this long after the request left
		joins  bool
	}{
		{age(time.Second), 900 * time.Millisecond, true},
		{age(time.Second), 1100 * time.Millisecond, false},
		{age(0), time.Millisecond, false},
		{age(10 * time.Second), 4 * time.Second, true},
		{nil, 4 * time.Second, true},
	} {
		clerk := &fakeClerk{back: 5 * time.Second}
		clerk.change("user_1")
		inBubble(t, clerk, Config{TTL: time.Minute}, func(t *testing.T, r instance) {
			var all sync.WaitGroup
			all.Go(func() { r.get(t, "user_1", Options{}) })
			time.Sleep(c.after)
			all.Go(func() {
				called := time.Now()
				_, res := r.get(t, "user_1", Options{MaxAge: c.maxAge})
				if res.Err != nil {
					t.Error(res.Err)
				} else if old := called.Sub(res.Entry.FetchTime()); c.maxAge != nil && old > *c.maxAge {
					t.Errorf("max_age %v: got a copy that was %v old when the call came", *c.maxAge, old)
				}
			})
			all.Wait()
			if n, _ := clerk.count(); (n == 1) != c.joins {
				t.Errorf("max_age %v, %v after the request left: %d requests", c.maxAge, c.after, n)
			}
		})
	}
}

// TestAnAcknowledgedInvalidationIsSeenByAllReplicas: a read that starts right after the
// acknowledgement respects it, while other reads keep memory warm.
func TestAnAcknowledgedInvalidationIsSeenByAllReplicas(t *testing.T) {
	clerk := &fakeClerk{}
	replicas := startReplicas(t, redistest.Start(t), clerk, 3)
	late := 0
	for range 200 {
		clerk.change("user_1")
		for _, r := range replicas {
			if _, res := r.get(t, "user_1", Options{}); res.Err != nil {
				t.Fatal(res.Err)
			}
		}
		v := clerk.change("user_1")
		if err := replicas[0].Invalidate(t.Context(), []string{"user_1"}); err != nil {
			t.Fatal(err)
		}
		for _, r := range replicas[1:] {
			if got, _ := r.get(t, "user_1", Options{}); got < v {
				late++
			}
		}
	}
	if late > 0 {
		t.Errorf("%d of 400 reads returned the version before an acknowledged invalidation", late)
	}
}

// TestACutOffReplicaServesNothingThatOthersHaveMadeOld: the link to Redis is cut, and
// another replica invalidates one user and learns of the deletion of another.
func TestACutOffReplicaServesNothingThatOthersHaveMadeOld(t *testing.T) {
	redis := redistest.Start(t)
	clerk := &fakeClerk{}
	for _, id := range []string{"user_1", "user_2"} {
		clerk.change(id)
	}
	link := newProxy(t, redis.Addr())
	a := startReplicas(t, redis, clerk, 1)[0]
	b, stop := newInstance(t, clerk, Config{TTL: time.Minute, RedisURL: "redis://" + link.addr(), RedisTimeout: patience}, nil)
	defer stop()
	awaitTrust(t, b)
	for _, id := range []string{"user_1", "user_2"} {
		if v, res := b.get(t, id, Options{}); v != 1 {
			t.Fatal(res.Err)
		}
	}
	link.cut(true)
	clerk.change("user_1")
	clerk.remove("user_2")
	if err := a.Invalidate(t.Context(), []string{"user_1"}); err != nil {
		t.Fatal(err)
	}
	if err := a.store.Deleted(t.Context(), "user_2", time.Now()); err != nil {
		t.Fatal(err)
	}
	clerk.setFail(&clerkapi.Error{Kind: clerkapi.ErrUnavailable, Status: 503})
	for _, id := range []string{"user_1", "user_2"} {
		if v, res := b.get(t, id, Options{}); v != -1 {
			t.Errorf("%s is returned as version %d, stale %v", id, v, res.Stale)
		}
	}
	clerk.setFail(nil)
	eventually(t, func() bool { v, _ := b.get(t, "user_1", Options{}); return v == 2 })
}

// TestAfterACutRedisTakesNobodyBack: a replica that was cut off has version 2 from Clerk;
// Redis has version 1.
func TestAfterACutRedisTakesNobodyBack(t *testing.T) {
	redis := redistest.Start(t)
	clerk := &fakeClerk{}
	clerk.change("user_1")
	link := newProxy(t, redis.Addr())
	a := startReplicas(t, redis, clerk, 1)[0]
	b, stop := newInstance(t, clerk, Config{TTL: time.Minute, RedisURL: "redis://" + link.addr(), RedisTimeout: patience}, nil)
	defer stop()
	awaitTrust(t, b)
	if v, _ := a.get(t, "user_1", Options{}); v != 1 {
		t.Fatal(v)
	}
	eventually(t, func() bool { return len(a.store.writes) == 0 })
	link.cut(true)
	clerk.change("user_1")
	if v, res := b.get(t, "user_1", Options{MaxAge: age(0)}); v != 2 {
		t.Fatalf("got version %d: %v", v, res.Err)
	}
	if err := a.Invalidate(t.Context(), []string{"user_9"}); err != nil { // b misses it, and so does not trust its memory
		t.Fatal(err)
	}
	link.cut(false)
	awaitTrust(t, b)
	for range 20 {
		if v, res := b.get(t, "user_1", Options{}); v != 2 {
			t.Fatalf("got version %d from %v after version 2", v, from(res))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestALateWebhookAfterARestart: invalidations before the start are unknown, so an
// earlier webhook may be older.
func TestALateWebhookAfterARestart(t *testing.T) {
	clerk := &fakeClerk{}
	for range 2 {
		clerk.change("user_1")
	}
	inBubble(t, clerk, Config{TTL: time.Minute}, func(t *testing.T, r instance) {
		if err := r.store.Updated(t.Context(), userOf("user_1", 1), time.Now().Add(-5*time.Second)); err != nil {
			t.Fatal(err)
		}
		if v, res := r.get(t, "user_1", Options{}); v != 2 {
			t.Errorf("got version %d from %v, want 2", v, from(res))
		}
	})
}

// TestALateWebhookBringsNobodyBack: version 3 was read, then Clerk had no such user. A webhook
// with version 2 comes late.
func TestALateWebhookBringsNobodyBack(t *testing.T) {
	clerk := &fakeClerk{}
	for range 3 {
		clerk.change("user_1")
	}
	inBubble(t, clerk, Config{TTL: time.Minute}, func(t *testing.T, r instance) {
		time.Sleep(r.store.order.keep) // until all invalidations are known
		if v, res := r.get(t, "user_1", Options{}); v != 3 {
			t.Fatalf("got version %d: %v", v, res.Err)
		}
		clerk.remove("user_1")
		if _, res := r.get(t, "user_1", Options{MaxAge: age(0)}); !errors.Is(res.Err, clerkapi.ErrNotFound) {
			t.Fatal(res.Err)
		}
		if err := r.store.Updated(t.Context(), userOf("user_1", 2), time.Now()); err != nil {
			t.Fatal(err)
		}
		if v, res := r.get(t, "user_1", Options{}); !errors.Is(res.Err, clerkapi.ErrNotFound) {
			t.Errorf("got version %d from %v, want none", v, from(res))
		}
	})
}

// awaitTrust waits until a replica has received its heartbeat.
func awaitTrust(t testing.TB, r instance) {
	t.Helper()
	eventually(t, func() bool { return r.store.hears(time.Now()) })
}

// TestAConfirmedCopyIsNoOlderThanTheAnswer: a webhook has confirmed the copy in memory
// during a request that returns the same version.
func TestAConfirmedCopyIsNoOlderThanTheAnswer(t *testing.T) {
	clerk := &fakeClerk{}
	clerk.change("user_1")
	inBubble(t, clerk, Config{TTL: time.Minute}, func(t *testing.T, r instance) {
		r.get(t, "user_1", Options{})
		time.Sleep(10 * time.Second)
		clerk.back = time.Second
		var reader sync.WaitGroup
		reader.Go(func() {
			began := time.Now()
			if _, res := r.get(t, "user_1", Options{MaxAge: age(0)}); res.Err != nil || res.Entry.FetchTime().Before(began) {
				t.Errorf("got %+v, fetched before the call", res)
			}
		})
		synctest.Wait()
		if err := r.store.Updated(t.Context(), userOf("user_1", 1), time.Now()); err != nil {
			t.Fatal(err)
		}
		reader.Wait()
	})
}
