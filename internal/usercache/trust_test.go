package usercache

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// awayRedis is a Redis that can't be reached.
type awayRedis struct{}

func (awayRedis) get(_ context.Context, ids []string, _ clerkgatev1.UserView) ([]*Entry, error) {
	return make([]*Entry, len(ids)), errRedisAway
}
func (awayRedis) put(context.Context, []putItem) error                 { return errRedisAway }
func (awayRedis) invalidate(context.Context, []string) (uint64, error) { return 0, errRedisAway }
func (awayRedis) seen(context.Context, string) (bool, error)           { return false, errRedisAway }
func (awayRedis) record(context.Context, string) error                 { return errRedisAway }
func (awayRedis) counters() RedisStats                                 { return RedisStats{} }
func (awayRedis) run(ctx context.Context, _ listener) error            { <-ctx.Done(); return nil }
func (awayRedis) apply(context.Context, string, *Entry, time.Duration) (uint64, error) {
	return 0, errRedisAway
}

// TestCutOffFromRedisMemoryIsTrustedForFiveSeconds: who can't hear of other
// replicas' invalidations believes what it has for five seconds more, and what it
// has fetched since for five seconds.
func TestCutOffFromRedisMemoryIsTrustedForFiveSeconds(t *testing.T) {
	clerk := &fakeClerk{}
	clerk.change("user_1")
	synctest.Test(t, func(t *testing.T) {
		r, stop := newInstance(t, clerk, Config{TTL: time.Hour}, awayRedis{})
		defer stop()
		r.store.alive(time.Now(), 7)
		expect(t, r, Options{}, 1, fromClerk, false)
		time.Sleep(4 * time.Second)
		r.store.alive(time.Now(), 7)
		time.Sleep(trustTime - 1)
		expect(t, r, Options{}, 1, fromMemory, false)
		time.Sleep(time.Nanosecond)
		clerk.change("user_1")
		expect(t, r, Options{}, 2, fromClerk, false)
		time.Sleep(trustTime - 1)
		expect(t, r, Options{}, 2, fromMemory, false)
		time.Sleep(time.Nanosecond)
		expect(t, r, Options{}, 2, fromClerk, false)

		// What may have been missed is forgotten, when it is heard again.
		r.store.missed()
		r.store.alive(time.Now(), 9)
		clerk.change("user_1")
		expect(t, r, Options{}, 3, fromClerk, false)
		if got := r.store.Stamp(); got != 9 {
			t.Errorf("requests leave with the stamp %d, want the last number heard of", got)
		}
	})
}

// TestWhatRedisCannotBeToldIsRefused, though it is carried out here.
func TestWhatRedisCannotBeToldIsRefused(t *testing.T) {
	clerk := &fakeClerk{}
	clerk.change("user_1")
	synctest.Test(t, func(t *testing.T) {
		r, stop := newInstance(t, clerk, Config{TTL: time.Hour}, awayRedis{})
		defer stop()
		expect(t, r, Options{}, 1, fromClerk, false)
		clerk.change("user_1")
		ctx := t.Context()
		for what, err := range map[string]error{
			"invalidation": r.Invalidate(ctx, []string{"user_1"}),
			"webhook":      r.store.Updated(ctx, userOf("user_1", 2), time.Now()),
			"deletion":     r.store.Deleted(ctx, "user_1", time.Now()),
		} {
			if !errors.Is(err, ErrRedisAway) {
				t.Errorf("%s: %v, want %v", what, err, ErrRedisAway)
			}
		}
		expect(t, r, Options{}, 2, fromClerk, false)
	})
}

// TestWhatIsKnownToBeOldIsNotWrittenToRedis: Redis may have lost its own marks.
func TestWhatIsKnownToBeOldIsNotWrittenToRedis(t *testing.T) {
	s, err := NewStore(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.memory.StopAllGoroutines()
	s.redis = awayRedis{} // and nobody takes from the backlog
	left := time.Now()
	s.invalidated(5, []string{"user_1"})
	s.Keep("user_1", gate.Result{User: userOf("user_1", 1), FetchTime: left, Stamp: 4})
	if n := len(s.writes); n != 0 {
		t.Errorf("%d copies from before the invalidation are to be written", n)
	}
	s.Keep("user_1", gate.Result{User: userOf("user_1", 2), FetchTime: time.Now(), Stamp: 5})
	if n := len(s.writes); n != 1 {
		t.Errorf("%d copies from after it are to be written, want 1", n)
	}
}
