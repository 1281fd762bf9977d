package gate

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// checkWaiting checks how many wants wait at each priority, and the longest wait at
// each.
func checkWaiting(t *testing.T, g *Gate, when string, want ...QueueLevel) {
	t.Helper()
	synctest.Wait()
	if got := g.Status().Queue; !slices.Equal(got[:], want) {
		t.Errorf("%s: %+v wait, want %+v", when, got, want)
	}
}

// TestWantsAreCountedOnce: several callers wait for the same ids.
func TestWantsAreCountedOnce(t *testing.T) {
	inBubble(t, &fakeClerk{}, Config{Quota: quota.Config{Limit: 1}}, func(t *testing.T, g *Gate) {
		spend(t, g)
		ask := func(caller string, p Priority, ids ...string) (leave func()) {
			ctx, leave := context.WithCancel(t.Context())
			go func() { _ = g.Lookup(ctx, ids, Options{Caller: caller, Priority: p}) }()
			synctest.Wait()
			return leave
		}
		ask("a", Batch, "user_1", "user_2")
		ask("b", Batch, "user_1")
		checkWaiting(t, g, "for batch", QueueLevel{}, QueueLevel{Depth: 2})
		time.Sleep(time.Second)
		leaveC := ask("c", Interactive, "user_1")
		leaveD := ask("d", Interactive, "user_1", "user_3")
		time.Sleep(time.Second)
		both := []QueueLevel{{2, time.Second}, {1, 2 * time.Second}}
		checkWaiting(t, g, "for both", both...)
		leaveC()
		checkWaiting(t, g, "for the other interactive one", both...)
		leaveD()
		checkWaiting(t, g, "for batch again", QueueLevel{}, QueueLevel{2, 2 * time.Second})
	})
}

// TestWhatIsPutOffWaitsToo: until its next try, or in a part of a refused lookup.
func TestWhatIsPutOffWaitsToo(t *testing.T) {
	for name, tt := range map[string]struct {
		reply    error
		priority Priority
		want     [2]QueueLevel
	}{
		"until its next try": {down, Interactive, [2]QueueLevel{{4, time.Second}, {}}},
		"in a refused batch": {refused, Batch, [2]QueueLevel{{}, {2, time.Second}}}, // its first half is under way again
	} {
		t.Run(name, func(t *testing.T) {
			clerk := &fakeClerk{latency: time.Second, reply: func(int, []string) error { return tt.reply }}
			inBubble(t, clerk, Config{Quota: quota.Config{Limit: 10}, MaxInFlight: 1}, func(t *testing.T, g *Gate) {
				ctx, leave := context.WithCancel(t.Context())
				go func() { _ = g.Lookup(ctx, userIDs("", 4), Options{Priority: tt.priority}) }()
				checkWaiting(t, g, "under way", QueueLevel{}, QueueLevel{})
				time.Sleep(time.Second)
				checkWaiting(t, g, "put off", tt.want[:]...)
				leave()
				checkWaiting(t, g, "wanted by nobody", QueueLevel{}, QueueLevel{})
			})
		})
	}
}

// TestTheOldestHasWaitedThroughEvery429: the wait of a want counts from its arrival, not
// from its last answer, even if it waits behind a later one that was not sent.
func TestTheOldestHasWaitedThroughEvery429(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond, reply: func(int, []string) error { return limited }}
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		ctx, leave := context.WithCancel(t.Context())
		list := func(caller string) { _, _ = g.List(ctx, clerkapi.ListParams{}, Options{Caller: caller}) }
		go list("first")
		time.Sleep(time.Second)
		go list("later")
		for i := range 5 {
			checkWaiting(t, g, fmt.Sprint(clerk.count(), " answers"), QueueLevel{2, time.Duration(1+2*i) * time.Second}, QueueLevel{})
			time.Sleep(limited.RetryAfter)
		}
		leave()
		if n := clerk.count(); n < 4 {
			t.Errorf("%d requests were answered 429, want some more", n)
		}
	})
}

// TestTheOldestWaitsInATwin: a want that drew a 429 joins a fresh want for the same user
// that has come meanwhile.
func TestTheOldestWaitsInATwin(t *testing.T) {
	clerk := &fakeClerk{latency: time.Second, reply: func(int, []string) error { return limited }}
	inBubble(t, clerk, Config{MaxInFlight: 1}, func(t *testing.T, g *Gate) {
		ctx, leave := context.WithCancel(t.Context())
		ask := func(id string, fresh bool) {
			go func() { _ = one(ctx, g, id, Options{Fresh: fresh}) }()
			synctest.Wait()
		}
		ask("user_1", false)
		time.Sleep(time.Second / 2)
		ask("user_2", false)
		ask("user_1", true)
		checkWaiting(t, g, "in flight", QueueLevel{2, 0}, QueueLevel{})
		time.Sleep(time.Second / 2)
		checkWaiting(t, g, "while a probe is to explain it", QueueLevel{3, time.Second}, QueueLevel{})
		time.Sleep(time.Second)
		checkWaiting(t, g, "back", QueueLevel{2, 2 * time.Second}, QueueLevel{})
		leave()
	})
}

// TestA429RefusesNobodyWhoseLineIsQuick: also if the same id waits in a slow line.
func TestA429RefusesNobodyWhoseLineIsQuick(t *testing.T) {
	clerk := &fakeClerk{latency: time.Second}
	clerk.reply = func(n int, _ []string) error {
		if n == 1 {
			return limited
		}
		return nil
	}
	inBubble(t, clerk, Config{Quota: quota.Config{Limit: 10}, MaxInFlight: 1}, func(t *testing.T, g *Gate) {
		ctx, leave := context.WithCancel(t.Context())
		batch := Options{Caller: "batch", Priority: Batch}
		for range 30 {
			go func() { _, _ = g.List(ctx, clerkapi.ListParams{}, batch) }()
		}
		synctest.Wait()
		go func() { _ = one(ctx, g, "user_1", batch) }()
		synctest.Wait()
		patient, cancel := context.WithTimeout(ctx, 15*time.Second)
		defer cancel()
		if r := one(patient, g, "user_1", Options{}); r.Err != nil {
			t.Errorf("the interactive caller got %v", r.Err)
		}
		leave()
	})
}
