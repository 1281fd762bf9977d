package usercache

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
)

const (
	fromClerk  = clerkgatev1.ServedFrom_SERVED_FROM_UPSTREAM
	fromMemory = clerkgatev1.ServedFrom_SERVED_FROM_MEMORY
	fromRedis  = clerkgatev1.ServedFrom_SERVED_FROM_REDIS
	// fromWebhook means a webhook's copy from either level.
	fromWebhook = clerkgatev1.ServedFrom(-1)
	fullView    = clerkgatev1.UserView_USER_VIEW_FULL
)

func isNotFound(err error) bool { return errors.Is(err, clerkapi.ErrNotFound) }

func decodeEntry(t testing.TB, e *Entry, view clerkgatev1.UserView) *clerkgatev1.User {
	t.Helper()
	u := &clerkgatev1.User{}
	encoded, err := e.Encoded(view)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(encoded, u); err != nil {
		t.Fatal(err)
	}
	return u
}

func age(d time.Duration) *time.Duration { return &d }

// inBubble runs an instance without Redis in virtual time.
func inBubble(t *testing.T, clerk *fakeClerk, cfg Config, f func(t *testing.T, r instance)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r, stop := newInstance(t, clerk, cfg, nil)
		defer stop()
		f(t, r)
	})
}

// expect looks user_1 up and checks version and source.
// from is where the answer came from, fromWebhook where it is a copy that a webhook
// brought.
func from(r Result) clerkgatev1.ServedFrom {
	if r.Entry != nil && r.Entry.Origin == clerkgatev1.Origin_ORIGIN_WEBHOOK && r.ServedFrom != fromClerk {
		return fromWebhook
	}
	return r.ServedFrom
}

func expect(t *testing.T, r instance, o Options, version int64, source clerkgatev1.ServedFrom, stale bool) Result {
	t.Helper()
	v, res := r.get(t, "user_1", o)
	if v != version || from(res) != source || res.Stale != stale {
		t.Errorf("got version %d from %v, stale %v (%v); want %d from %v, stale %v", v, from(res), res.Stale, res.Err, version, source, stale)
	}
	return res
}

func TestMemoryAnswersWithinTheTimeToLive(t *testing.T) {
	clerk := &fakeClerk{}
	clerk.change("user_1")
	inBubble(t, clerk, Config{TTL: time.Minute}, func(t *testing.T, r instance) {
		expect(t, r, Options{}, 1, fromClerk, false)
		expect(t, r, Options{}, 1, fromMemory, false)
		expect(t, r, Options{View: fullView}, 1, fromMemory, false)
		clerk.change("user_1")
		expect(t, r, Options{}, 1, fromMemory, false)
		time.Sleep(time.Minute)
		expect(t, r, Options{}, 2, fromClerk, false)
		if n, _ := clerk.count(); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
		if got := r.Totals().Lookups; got[fromMemory] != 3 || got[fromClerk] != 2 {
			t.Errorf("counted %v", got)
		}
	})
}

func TestTheTimeToLiveIsOnlyEverShortened(t *testing.T) {
	s, err := NewStore(Config{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer s.memory.StopAllGoroutines()
	now := time.Unix(1_000_000, 0)
	ends := map[time.Duration]bool{}
	for i := range 1000 {
		e := &Entry{fetched: now.Add(time.Duration(i) * 997)}
		end := time.Duration(0)
		for ; ; end += 100 * time.Millisecond {
			if fresh, _ := s.fresh(e, e.FetchTime().Add(end)); !fresh {
				break
			}
		}
		if end > time.Minute || end < 54*time.Second {
			t.Fatalf("an entry is fresh for %v, want 54 s to 60 s", end)
		}
		ends[end] = true
	}
	if len(ends) < 10 {
		t.Errorf("only %d different times to live: what came together expires together", len(ends))
	}
}

func TestMaxAge(t *testing.T) {
	clerk := &fakeClerk{}
	clerk.change("user_1")
	inBubble(t, clerk, Config{TTL: time.Minute}, func(t *testing.T, r instance) {
		expect(t, r, Options{}, 1, fromClerk, false)
		clerk.change("user_1")
		time.Sleep(10 * time.Second)
		expect(t, r, Options{MaxAge: age(10 * time.Second)}, 1, fromMemory, false)
		expect(t, r, Options{MaxAge: age(10*time.Second - 1)}, 2, fromClerk, false)
		clerk.change("user_1")
		expect(t, r, Options{MaxAge: age(0)}, 3, fromClerk, false)
		time.Sleep(30 * time.Minute)
		clerk.change("user_1")
		// A caller may accept a copy older than the time to live.
		expect(t, r, Options{MaxAge: age(time.Hour)}, 3, fromMemory, false)
	})
}

func TestNotFoundIsKeptForAMoment(t *testing.T) {
	clerk := &fakeClerk{}
	inBubble(t, clerk, Config{}, func(t *testing.T, r instance) {
		expect(t, r, Options{}, 0, fromClerk, false)
		if res := expect(t, r, Options{}, 0, fromMemory, false); res.Entry == nil {
			t.Error("not found has no fetch time")
		}
		clerk.change("user_1")
		expect(t, r, Options{MaxAge: age(0)}, 1, fromClerk, false)
		expect(t, r, Options{}, 1, fromMemory, false)
		_, _ = r.get(t, "user_2", Options{})
		clerk.change("user_2")
		time.Sleep(notFoundTTL + time.Millisecond)
		if v, res := r.get(t, "user_2", Options{}); v != 1 {
			t.Errorf("not found for longer than %v: %+v", notFoundTTL, res)
		}
	})
}

func TestAnOutageGoesUnnoticedForWhatWasRead(t *testing.T) {
	clerk := &fakeClerk{}
	clerk.change("user_1")
	inBubble(t, clerk, Config{TTL: time.Minute, StaleIfError: time.Hour}, func(t *testing.T, r instance) {
		expect(t, r, Options{}, 1, fromClerk, false)
		clerk.setFail(&clerkapi.Error{Kind: clerkapi.ErrUnavailable, Status: 503})
		expect(t, r, Options{}, 1, fromMemory, false)
		time.Sleep(2 * time.Minute)
		expect(t, r, Options{}, 1, fromMemory, true)
		if _, res := r.get(t, "user_1", Options{MaxAge: age(time.Second)}); !errors.Is(res.Err, clerkapi.ErrUnavailable) && !errors.Is(res.Err, gate.ErrBreakerOpen) {
			t.Errorf("a caller who names an age got %+v", res)
		}
		if _, res := r.get(t, "user_2", Options{}); res.Err == nil || isNotFound(res.Err) {
			t.Errorf("a user never read: %+v", res)
		}
		opened := func() bool { return r.gate.Status().Breaker.TimesOpened > 0 }
		for deadline := time.Now().Add(time.Minute); !opened() && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			expect(t, r, Options{}, 1, fromMemory, true)
		}
		if !opened() {
			t.Error("the breaker never opened: this test does not test it")
		}
		for range 5 {
			expect(t, r, Options{}, 1, fromMemory, true)
		}
		// But not after an invalidation.
		if err := r.Invalidate(t.Context(), []string{"user_1"}); err != nil {
			t.Fatal(err)
		}
		if v, res := r.get(t, "user_1", Options{}); v != -1 {
			t.Errorf("what was invalidated is served: %+v", res)
		}
		clerk.setFail(nil)
		time.Sleep(1100 * time.Millisecond)
		expect(t, r, Options{}, 1, fromClerk, false)
		clerk.setFail(&clerkapi.Error{Kind: clerkapi.ErrUnavailable, Status: 503})
		time.Sleep(time.Hour + time.Second)
		if v, res := r.get(t, "user_1", Options{}); v != -1 {
			t.Errorf("a copy older than allowed is served: %+v", res)
		}
	})
}

func TestWhileClerkHangsACopyStandsInBeforeTheDeadline(t *testing.T) {
	clerk := &fakeClerk{}
	clerk.change("user_1")
	inBubble(t, clerk, Config{TTL: time.Minute}, func(t *testing.T, r instance) {
		expect(t, r, Options{}, 1, fromClerk, false)
		time.Sleep(2 * time.Minute)
		clerk.latency = time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		res := r.Lookup(ctx, []string{"user_1"}, Options{})[0]
		if res.Err != nil || !res.Stale || ctx.Err() != nil {
			t.Errorf("got %+v, the call's context %v", res, ctx.Err())
		}
	})
}

func TestWhatIsReadOftenIsRefreshedAhead(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	clerk.change("user_1")
	clerk.change("user_2")
	inBubble(t, clerk, Config{TTL: time.Minute}, func(t *testing.T, r instance) {
		_, _ = r.get(t, "user_1", Options{})
		_, _ = r.get(t, "user_2", Options{})
		requests, _ := clerk.count()
		for range 100 { // ten minutes
			time.Sleep(6 * time.Second)
			if _, res := r.get(t, "user_1", Options{}); from(res) != fromMemory {
				t.Fatalf("a reader of what is read often had to wait: %+v", res)
			}
		}
		n, _ := clerk.count()
		if n -= requests; n < 9 || n > 14 {
			t.Errorf("%d refreshes in ten times to live", n)
		}
		if _, res := r.get(t, "user_2", Options{}); from(res) != fromClerk {
			t.Errorf("what nobody reads was refreshed: %+v", res)
		}
	})
}

func TestPagesFeedAndWalksRefresh(t *testing.T) {
	clerk := &fakeClerk{}
	clerk.change("user_1")
	clerk.change("user_2")
	inBubble(t, clerk, Config{}, func(t *testing.T, r instance) {
		_, _ = r.get(t, "user_1", Options{})
		clerk.change("user_1")
		if _, err := r.List(t.Context(), clerkapi.ListParams{}, true, gate.Options{}); err != nil {
			t.Fatal(err)
		}
		expect(t, r, Options{}, 2, fromMemory, false)
		if _, res := r.get(t, "user_2", Options{MaxAge: age(time.Hour)}); from(res) != fromClerk {
			t.Errorf("a walk kept somebody who was not there: %+v", res)
		}
		clerk.change("user_1")
		if _, err := r.List(t.Context(), clerkapi.ListParams{}, false, gate.Options{}); err != nil {
			t.Fatal(err)
		}
		expect(t, r, Options{}, 3, fromMemory, false)
	})
}

func TestAWebhookPutsTheCopyInPlace(t *testing.T) {
	clerk := &fakeClerk{}
	clerk.change("user_1")
	inBubble(t, clerk, Config{}, func(t *testing.T, r instance) {
		expect(t, r, Options{}, 1, fromClerk, false)
		v := clerk.change("user_1")
		if err := r.store.Updated(t.Context(), userOf("user_1", v), time.Now()); err != nil {
			t.Fatal(err)
		}
		expect(t, r, Options{}, 2, fromWebhook, false)
		expect(t, r, Options{View: fullView}, 2, fromWebhook, false)
		// An older version that arrives late changes nothing.
		if err := r.store.Updated(t.Context(), userOf("user_1", 1), time.Now()); err != nil {
			t.Fatal(err)
		}
		expect(t, r, Options{}, 2, fromWebhook, false)
		if n, _ := clerk.count(); n != 1 {
			t.Errorf("%d requests, want the first only", n)
		}
		if err := r.store.Deleted(t.Context(), "user_1", time.Now()); err != nil {
			t.Fatal(err)
		}
		expect(t, r, Options{}, 0, fromWebhook, false)
		// A late event or answer does not restore a deleted user.
		if err := r.store.Updated(t.Context(), userOf("user_1", 9), time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(47 * time.Hour)
		expect(t, r, Options{}, 0, fromWebhook, false)
	})
}

// TestAFetchThatLeftBeforeIsNotKept: an invalidation, a webhook or a deletion arrives
// while an older copy is being fetched.
func TestAFetchThatLeftBeforeIsNotKept(t *testing.T) {
	for name, c := range map[string]struct {
		event func(r instance, clerk *fakeClerk) error
		want  int64 // the version that the earlier reader gets
	}{
		"invalidation": {func(r instance, clerk *fakeClerk) error {
			clerk.change("user_1")
			return r.Invalidate(context.Background(), []string{"user_1"})
		}, 1},
		"webhook": {func(r instance, clerk *fakeClerk) error {
			return r.store.Updated(context.Background(), userOf("user_1", clerk.change("user_1")), time.Now())
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			clerk := &fakeClerk{back: time.Second}
			clerk.change("user_1")
			inBubble(t, clerk, Config{}, func(t *testing.T, r instance) {
				var reader sync.WaitGroup
				reader.Go(func() {
					if v, res := r.get(t, "user_1", Options{}); v != c.want {
						t.Errorf("got version %d (%+v), want %d", v, res, c.want)
					}
				})
				synctest.Wait()
				if err := c.event(r, clerk); err != nil {
					t.Error(err)
				}
				reader.Wait()
				if v, res := r.get(t, "user_1", Options{}); v != 2 {
					t.Errorf("got version %d from %v after word of version 2", v, from(res))
				}
			})
		})
	}
}

// TestMinUpdatedAt: a copy older than min_updated_at is not used, wherever it is, and
// neither is such an answer of Clerk.
func TestMinUpdatedAt(t *testing.T) {
	atLeast := func(version int64) Options { return Options{MinUpdatedAt: time.Unix(version, 999_999)} }
	clerk := &fakeClerk{}
	clerk.change("user_1")
	inBubble(t, clerk, Config{TTL: time.Minute}, func(t *testing.T, r instance) {
		expect(t, r, Options{}, 1, fromClerk, false)
		expect(t, r, atLeast(1), 1, fromMemory, false)
		if _, res := r.get(t, "user_1", atLeast(2)); !errors.Is(res.Err, ErrTooOld) {
			t.Errorf("Clerk has version 1 of at least 2: got %+v", res)
		}
		clerk.change("user_1")
		expect(t, r, Options{}, 1, fromMemory, false)
		expect(t, r, atLeast(2), 2, fromClerk, false)
		expect(t, r, atLeast(2), 2, fromMemory, false)

		// The user may have been created after the "not found".
		if v, _ := r.get(t, "user_2", Options{}); v != 0 {
			t.Fatal(v)
		}
		clerk.change("user_2")
		if v, _ := r.get(t, "user_2", Options{}); v != 0 {
			t.Error("not found is not kept: this test does not test it")
		}
		if v, res := r.get(t, "user_2", atLeast(1)); v != 1 {
			t.Errorf("got %+v", res)
		}

		// Clerk is unavailable, and no older copy is used.
		clerk.setFail(&clerkapi.Error{Kind: clerkapi.ErrUnavailable, Status: 503})
		time.Sleep(2 * time.Minute)
		expect(t, r, atLeast(2), 2, fromMemory, true)
		if _, res := r.get(t, "user_1", atLeast(3)); !errors.Is(res.Err, clerkapi.ErrUnavailable) && !errors.Is(res.Err, gate.ErrBreakerOpen) {
			t.Errorf("got %+v", res)
		}
		if err := r.store.Deleted(t.Context(), "user_1", time.Now()); err != nil {
			t.Fatal(err)
		}
		expect(t, r, atLeast(3), 0, fromWebhook, false)
	})
}

// TestMinUpdatedAtJoinsNoRequestThatLeftTooEarly: such a request may return an older
// version.
func TestMinUpdatedAtJoinsNoRequestThatLeftTooEarly(t *testing.T) {
	clerk := &fakeClerk{back: time.Second}
	clerk.change("user_1")
	inBubble(t, clerk, Config{TTL: time.Minute}, func(t *testing.T, r instance) {
		var all sync.WaitGroup
		all.Go(func() { r.get(t, "user_1", Options{}) })
		time.Sleep(100 * time.Millisecond)
		v := clerk.change("user_1")
		all.Go(func() {
			if got, res := r.get(t, "user_1", Options{MinUpdatedAt: time.Unix(v, 0)}); got != v {
				t.Errorf("got version %d (%v)", got, res.Err)
			}
		})
		all.Wait()
	})
}
