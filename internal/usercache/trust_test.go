package usercache

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
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
func (awayRedis) snapshot() RedisStats                                 { return RedisStats{} }
func (awayRedis) run(ctx context.Context, _ listener) error            { <-ctx.Done(); return nil }
func (awayRedis) apply(context.Context, string, *Entry, time.Duration, bool) (applyResult, error) {
	return applyResult{}, errRedisAway
}

// TestCutOffFromRedisMemoryIsBelievedForALease: who can't hear of other replicas'
// invalidations believes what it has until its lease ends, and then nothing.
func TestCutOffFromRedisMemoryIsBelievedForALease(t *testing.T) {
	clerk := &fakeClerk{}
	clerk.change("user_1")
	synctest.Test(t, func(t *testing.T) {
		r, stop := newInstance(t, clerk, Config{TTL: time.Hour}, awayRedis{})
		defer stop()
		r.store.alive(time.Now(), 7)
		expect(t, r, Options{}, 1, fromClerk, false)
		time.Sleep(leaseTime - time.Second)
		r.store.alive(time.Now(), 7)
		time.Sleep(leaseTime - 1)
		expect(t, r, Options{}, 1, fromMemory, false)
		time.Sleep(time.Nanosecond)
		clerk.change("user_1")
		for range 3 {
			expect(t, r, Options{}, 2, fromClerk, false)
			time.Sleep(time.Nanosecond)
		}
		clerk.setFail(&clerkapi.Error{Kind: clerkapi.ErrUnavailable, Status: 503})
		if v, res := r.get(t, "user_1", Options{}); v != -1 {
			t.Errorf("a copy that may be old stands in for Clerk: %+v", res)
		}
		clerk.setFail(nil)

		// If nothing was missed, it is believed again, once something is heard.
		r.store.alive(time.Now(), 7)
		expect(t, r, Options{}, 2, fromMemory, false)

		// What may have been missed is not.
		time.Sleep(time.Nanosecond)
		r.store.missed(false)
		r.store.alive(time.Now(), 9)
		clerk.change("user_1")
		expect(t, r, Options{}, 3, fromClerk, false)
		if got := r.store.Stamp(); got != 9 {
			t.Errorf("requests leave with the stamp %d, want the last number heard of", got)
		}
	})
}

// TestAvailableWithoutRedis: the operator may choose to serve what may be old.
func TestAvailableWithoutRedis(t *testing.T) {
	clerk := &fakeClerk{}
	clerk.change("user_1")
	synctest.Test(t, func(t *testing.T) {
		r, stop := newInstance(t, clerk, Config{TTL: time.Minute, AvailableWithoutRedis: true}, awayRedis{})
		defer stop()
		expect(t, r, Options{}, 1, fromClerk, false)
		time.Sleep(availableTime - 1)
		expect(t, r, Options{}, 1, fromMemory, false)
		time.Sleep(time.Nanosecond)
		expect(t, r, Options{}, 1, fromClerk, false)
		clerk.setFail(&clerkapi.Error{Kind: clerkapi.ErrUnavailable, Status: 503})
		time.Sleep(2 * time.Minute)
		expect(t, r, Options{}, 1, fromMemory, true)
		// Never what is known to be old.
		if err := r.Invalidate(t.Context(), []string{"user_1"}); !errors.Is(err, ErrRedisAway) {
			t.Error(err)
		}
		if v, res := r.get(t, "user_1", Options{}); v != -1 {
			t.Errorf("got %+v", res)
		}
	})
}

// TestWhatRedisCannotBeToldIsRefused, though it is carried out here.
func TestWhatRedisCannotBeToldIsRefused(t *testing.T) {
	for what, c := range map[string]struct {
		tell func(r instance) error
		want int64
	}{
		"invalidation": {func(r instance) error { return r.Invalidate(context.Background(), []string{"user_1"}) }, 2},
		"webhook": {func(r instance) error {
			return r.store.Updated(context.Background(), userOf("user_1", 2), time.Now())
		}, 2},
		"deletion": {func(r instance) error { return r.store.Deleted(context.Background(), "user_1", time.Now()) }, 0},
	} {
		clerk := &fakeClerk{}
		clerk.change("user_1")
		synctest.Test(t, func(t *testing.T) {
			r, stop := newInstance(t, clerk, Config{TTL: time.Hour}, awayRedis{})
			defer stop()
			expect(t, r, Options{}, 1, fromClerk, false)
			clerk.change("user_1")
			if err := c.tell(r); !errors.Is(err, ErrRedisAway) {
				t.Errorf("%s: %v, want %v", what, err, ErrRedisAway)
			}
			if v, res := r.get(t, "user_1", Options{}); v != c.want {
				t.Errorf("%s: got version %d (%v), want %d", what, v, res.Err, c.want)
			}
		})
	}
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
