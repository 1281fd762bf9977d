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

// TestA429WithoutPubSub: a user who may neither publish nor subscribe shares the
// quota as any other does.
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

// TestASubscriptionThatFailsIsTriedLessOften, until one has lasted.
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
