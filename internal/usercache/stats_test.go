package usercache

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/internal/gate"
)

// TestStats: a memory that has room for few counts those that it lets go, for
// want of room and for their age.
func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const users, maxBytes = 100, 20_000
		r, stop := newInstance(t, &fakeClerk{}, Config{MaxBytes: maxBytes, TTL: time.Hour, StaleIfError: time.Hour}, nil)
		defer stop()
		for i := range users {
			id := fmt.Sprintf("user_%d", i)
			r.store.Keep(id, gate.Result{User: userOf(id, 1), FetchTime: time.Now()})
		}
		synctest.Wait()
		s := r.store.Stats()
		if s.Entries == 0 || s.Entries == users || s.Evictions != int64(users-s.Entries) ||
			s.Bytes < int64(s.Entries*entryOverhead) || s.Bytes > maxBytes || s.MaxBytes != maxBytes || s.Redis != nil {
			t.Errorf("%+v", s)
		}
		time.Sleep(2 * time.Hour) // which the memory notices by itself
		if s = r.store.Stats(); s.Entries != 0 || s.Evictions != users || s.Bytes != 0 {
			t.Errorf("after its time: %+v", s)
		}
	})
}

// TestStatsOfRedis: what waits too long to be written to Redis is counted.
func TestStatsOfRedis(t *testing.T) {
	store, err := NewStore(Config{RedisURL: "redis://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	defer store.memory.StopAllGoroutines()
	for i := range writeBacklog + 3 { // nobody writes, since it does not run
		id := fmt.Sprintf("user_%d", i)
		store.Keep(id, gate.Result{User: userOf(id, 1), FetchTime: time.Now()})
	}
	if got := store.Stats().Redis; got == nil || got.Lost != 3 || got.Calls != 0 || sum(got.Errors) != 0 {
		t.Errorf("%+v", got)
	}
}
