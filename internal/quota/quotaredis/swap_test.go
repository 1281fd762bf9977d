package quotaredis

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// TestSwap: as the user that the docs create. An entry is replaced only by a caller that
// knows it, and ends by itself.
func TestSwap(t *testing.T) {
	server := redistest.Start(t)
	store, err := New(server.DocumentedUser(t, "../../../docs/operations.md"), "test", redislink.Access{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if _, _, err := store.Swap(t.Context(), "a", "", "x", time.Minute); err == nil {
		t.Error("swapped before there was a connection")
	}
	now := time.Now()
	if _, err := store.Exchange(t.Context(), quota.NewShared(quota.Config{}, "a", now).Report(now, [2]int{})); err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		prev, next, want string
		keep, least      time.Duration
	}{
		{"", "x", "x", time.Minute, 59 * time.Second},
		{"", "y", "x", time.Hour, 58 * time.Second},
		{"y", "z", "x", time.Hour, 58 * time.Second},
		{"x", "y", "y", time.Hour, 59 * time.Minute},
		{"x", "", "y", 0, 59 * time.Minute},
		{"y", "", "", 0, 0},
		{"", "", "", 0, 0},
	} {
		entry, left, err := store.Swap(t.Context(), "a", step.prev, step.next, step.keep)
		if err != nil || entry != step.want || left < step.least || left > max(step.least, step.keep) && left > time.Hour {
			t.Errorf("step %d: %q for %v, %v; want %q", i, entry, left, err, step.want)
		}
	}
	if _, _, err := store.Swap(t.Context(), "b", "", "x", time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; {
		entry, _, err := store.Swap(t.Context(), "b", "", "", 0)
		if err == nil && entry == "" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("an entry has not ended: %q, %v", entry, err)
		}
	}
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			me := string(rune('a' + i))
			if entry, _, err := store.Swap(context.Background(), "c", "", me, time.Minute); err == nil && entry == me {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d have made one entry", won.Load())
	}
	store.Close()
	if _, _, err := store.Swap(t.Context(), "a", "", "x", time.Minute); err == nil {
		t.Error("swapped after Close")
	}
}
