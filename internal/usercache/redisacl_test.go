package usercache

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// startReplicasAt runs replicas with the Redis at a URL until the test ends, and waits
// until they use it.
func startReplicasAt(t testing.TB, url string, clerk *fakeClerk, n int, log *slog.Logger) []instance {
	t.Helper()
	replicas := make([]instance, n)
	for i := range replicas {
		r, stop := newInstance(t, clerk, Config{TTL: time.Minute, RedisURL: url, RedisTimeout: patience, RedisKeys: testKeys(t, "k1"), Logger: log}, nil)
		t.Cleanup(stop)
		replicas[i] = r
		eventually(t, func() bool { return r.store.Stats().Redis.Connected })
	}
	return replicas
}

// TestWithoutChannelsEveryReadAsksRedis: a Redis user has no channels, the default since
// Redis 7. The order of copies still holds.
func TestWithoutChannelsEveryReadAsksRedis(t *testing.T) {
	redis := redistest.Start(t)
	if got := redis.Ask("ACL SETUSER quiet on >secret ~* +@all resetchannels"); got != "+OK" {
		t.Fatal(got)
	}
	clerk := &fakeClerk{}
	clerk.change("user_1")
	var log safeBuffer
	url := fmt.Sprintf("redis://quiet:secret@%s", redis.Addr())
	replicas := startReplicasAt(t, url, clerk, 2, slog.New(slog.NewTextHandler(&log, nil)))
	a, b := replicas[0], replicas[1]
	if v, res := a.get(t, "user_1", Options{}); v != 1 {
		t.Fatal(res.Err)
	}
	eventually(t, func() bool { _, res := b.get(t, "user_1", Options{}); return res.ServedFrom == fromRedis })
	requests, _ := clerk.count()
	for range 50 {
		for _, r := range replicas {
			if _, res := r.get(t, "user_1", Options{}); res.ServedFrom != fromRedis {
				t.Fatalf("a read is answered from %v", res.ServedFrom)
			}
		}
	}
	if n, _ := clerk.count(); n != requests {
		t.Errorf("%d requests to Clerk for what Redis has", n-requests)
	}
	for i := range 50 {
		v := clerk.change("user_1")
		var err error
		if i%2 == 0 {
			err = a.Invalidate(t.Context(), []string{"user_1"})
		} else {
			err = a.store.Updated(t.Context(), userOf("user_1", v), time.Now())
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []instance{b, a} {
			if got, res := r.get(t, "user_1", Options{}); got != v {
				t.Fatalf("got version %d from %v after version %d was acknowledged", got, from(res), v)
			}
		}
	}
	if n := strings.Count(log.String(), "&clerkgate:*"); n != 2 {
		t.Errorf("%d lines name the right that is missing, want one for each replica:\n%s", n, &log)
	}
	if strings.Contains(log.String(), "redis is away") {
		t.Errorf("the log says that Redis is away:\n%s", &log)
	}

	// With the right, memory is used. Redis closes the connections of a user whose rights
	// have changed; otherwise the replica tries again by itself.
	if got := redis.Ask("ACL SETUSER quiet &clerkgate:*"); got != "+OK" {
		t.Fatal(got)
	}
	redis.Ask("CLIENT KILL TYPE normal")
	eventually(t, func() bool { return a.store.hears(time.Now()) && b.store.hears(time.Now()) })
}

// TestDocumentedRightsSuffice: the user in docs/operations.md has all rights that the
// cache needs.
func TestDocumentedRightsSuffice(t *testing.T) {
	redis := redistest.Start(t)
	url := redis.DocumentedUser(t, "../../docs/operations.md")
	clerk := &fakeClerk{}
	clerk.change("user_1")
	replicas := startReplicasAt(t, url, clerk, 2, nil)
	for _, r := range replicas {
		eventually(t, func() bool { return r.store.hears(time.Now()) })
		if v, res := r.get(t, "user_1", Options{View: fullView}); v != 1 {
			t.Fatal(res.Err)
		}
	}
	eventually(t, func() bool {
		found, err := replicas[1].store.redis.get(t.Context(), []string{"user_1"}, full)
		return err == nil && found[0] != nil
	})
	v := clerk.change("user_1")
	if err := replicas[0].Invalidate(t.Context(), []string{"user_1"}); err != nil {
		t.Fatal(err)
	}
	if got, _ := replicas[1].get(t, "user_1", Options{}); got != v {
		t.Errorf("got version %d, want %d", got, v)
	}
	if err := replicas[0].store.Deleted(t.Context(), "user_1", time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := replicas[0].store.Record(t.Context(), "msg_1"); err != nil {
		t.Fatal(err)
	}
	if seen, err := replicas[1].store.Seen(t.Context(), "msg_1"); err != nil || !seen {
		t.Errorf("seen: %v, %v", seen, err)
	}
	for _, r := range replicas {
		if n := sum(r.store.Stats().Redis.Errors); n != 0 {
			t.Errorf("%d errors: %v", n, r.store.Stats().Redis.Errors)
		}
	}
}

// TestRedisErrorsAreCountedByKind: errors are counted by kind, and each kind is logged once.
func TestRedisErrorsAreCountedByKind(t *testing.T) {
	for kind, c := range map[redislink.Kind]struct {
		args    []string
		harm    []string
		connect bool // fails while connecting
	}{
		redislink.OutOfMemory:   {nil, []string{"CONFIG SET maxmemory-policy noeviction", "CONFIG SET maxmemory 1"}, false},
		redislink.ReadOnly:      {nil, []string{"REPLICAOF 127.0.0.1 1"}, false},
		redislink.NotPermitted:  {nil, []string{"ACL SETUSER app -hset"}, false},
		redislink.WrongPassword: {nil, []string{"ACL SETUSER app resetpass >other", "CLIENT KILL USER app"}, true},
	} {
		t.Run(string(kind), func(t *testing.T) {
			redis := redistest.Start(t, c.args...)
			redis.Ask("ACL SETUSER app on >secret ~* &* +@all")
			var log safeBuffer
			r := startRedisReplica(t, redisConfig{URL: "redis://app:secret@" + redis.Addr(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
			for _, command := range c.harm {
				if got := redis.Ask(command); got[0] == '-' {
					t.Fatal(got)
				}
			}
			for range 5 {
				_, err := r.invalidate(t.Context(), []string{"user_1"})
				if err == nil && !c.connect {
					t.Fatal("no error")
				}
			}
			eventually(t, func() bool { return r.snapshot().Errors[kind] > 0 })
			eventually(t, func() bool { return strings.Contains(log.String(), "reason="+string(kind)) })
			if n := strings.Count(log.String(), "reason="+string(kind)); n != 1 {
				t.Errorf("%d lines name the reason:\n%s", n, &log)
			}
			if strings.Contains(log.String(), "secret") || !bytes.Contains([]byte(log.String()), []byte("hint=")) {
				t.Errorf("the log:\n%s", &log)
			}
		})
	}
}
