//go:build unix

package quotaredis

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// TestRedisThatHangs: an exchange ends when its context does, Close returns, and with
// Redis back the next exchange succeeds.
func TestRedisThatHangs(t *testing.T) {
	server := redistest.Start(t)
	store, err := New(server.URL(), "test", redislink.Access{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	s := quota.NewShared(quota.Config{}, "a", time.Now())
	exchange := func(limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		now := time.Now()
		r := s.Report(now, [2]int{1, 0})
		reply, err := store.Exchange(ctx, r)
		s.Reply(r, now, time.Now(), reply, err)
		return err
	}
	if err := exchange(time.Minute); err != nil {
		t.Fatal(err)
	}
	server.Signal(syscall.SIGSTOP)
	for range 3 {
		if err := exchange(20 * time.Millisecond); err == nil {
			t.Error("a Redis that hangs has answered")
		}
	}
	server.Signal(syscall.SIGCONT)
	for end := time.Now().Add(time.Minute); exchange(time.Second) != nil; {
		if time.Now().After(end) {
			t.Fatal("Redis is back, and no exchange is answered")
		}
	}
	server.Signal(syscall.SIGSTOP)
	t.Cleanup(func() { server.Signal(syscall.SIGCONT) })
	if err := exchange(20 * time.Millisecond); err == nil {
		t.Error("a Redis that hangs has answered")
	}
	store.Close() // must not wait for Redis
}
