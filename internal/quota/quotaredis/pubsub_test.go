package quotaredis

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// TestA429WithoutPubSub: a replica whose user may neither publish nor subscribe shares
// the quota like any other.
func TestA429WithoutPubSub(t *testing.T) {
	server := redistest.Start(t)
	if got := server.Ask("ACL SETUSER quota on >secret ~* +@all -publish -subscribe"); got != "+OK" {
		t.Fatal(got)
	}
	store, err := New(fmt.Sprintf("redis://quota:secret@%s", server.Addr()), "test", redislink.Access{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	calm(t, store, quota.Config{}, func(w *world) {
		w.add([2]int{50, 0})
		w.add([2]int{50, 0})
		w.run(epoch.Add(5 * time.Second))
		w.refuse = func(*replica) time.Duration {
			w.refuse = nil
			return 5 * time.Second
		}
		w.run(w.now.Add(time.Second))
		for _, r := range w.replicas {
			if s := r.ShareState(w.now); s.Decider != quota.DecidesState || r.State(w.now).PausedUntil.IsZero() {
				t.Errorf("replica %d: %+v, %+v, want the state's pause", r.name, s, r.State(w.now))
			}
		}
	})
}

// TestASubscriptionThatFailsIsTriedLessOften: until one has lasted.
func TestASubscriptionThatFailsIsTriedLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		tries := 0
		keepListening(ctx, func() { tries++ })
		if most := int(time.Hour/longestListenAgain) + 10; tries > most || tries < most/2 {
			t.Errorf("%d tries in an hour, want at most %d", tries, most)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var ended time.Time
		keepListening(ctx, func() {
			if waited := time.Since(ended); !ended.IsZero() && waited != leastListenAgain {
				t.Errorf("after a subscription of a minute it waited %v", waited)
			}
			time.Sleep(time.Minute)
			ended = time.Now()
		})
	})
}

// TestDocumentedRightsSuffice: the line of docs/operations.md gives the shared quota all
// rights that it needs.
func TestDocumentedRightsSuffice(t *testing.T) {
	server := redistest.Start(t)
	store, err := New(server.DocumentedUser(t, "../../../docs/operations.md"), "test", redislink.Access{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	errors := &redislink.Errors{}
	store.CountErrors(errors)
	calm(t, store, quota.Config{}, func(w *world) {
		w.add([2]int{50, 0})
		r := w.add([2]int{50, 0})
		w.run(epoch.Add(5 * time.Second))
		if s := r.ShareState(w.now); s.Decider != quota.DecidesState {
			t.Errorf("%+v", s)
		}
	})
	for kind, n := range errors.Counts() {
		if n > 0 {
			t.Errorf("%d errors of kind %s", n, kind)
		}
	}
}

// TestErrorsAreCounted: by kind.
func TestErrorsAreCounted(t *testing.T) {
	server := redistest.Start(t)
	store, err := New(server.URL(), "test", redislink.Access{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	errors := &redislink.Errors{}
	store.CountErrors(errors)
	server.Ask("CONFIG SET maxmemory-policy noeviction")
	server.Ask("CONFIG SET maxmemory 1")
	if _, err := store.Exchange(t.Context(), quota.Report{ID: "a", Limit: 10, Window: 1_000_000, Hold: 1_000_000, Releases: []quota.Microseconds{},
		Lost: []quota.Microseconds{}, Lent: []quota.LentEvent{}, Limited: []quota.LimitedEvent{}}); err == nil {
		t.Error("no error")
	}
	if got := errors.Counts()[redislink.OutOfMemory]; got != 1 {
		t.Errorf("counted %v", errors.Counts())
	}
}
