//go:build unix

package usercache

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// TestRedisHangs: a Redis that accepts connections but does not answer blocks neither
// calls nor the end of run.
func TestRedisHangs(t *testing.T) {
	s := redistest.Start(t)
	// rueidis would notice later.
	r := startRedisReplica(t, redisConfig{URL: s.URL() + "?write_timeout=1h", Timeout: 20 * time.Millisecond, Silence: 300 * time.Millisecond})
	from := len(r.heard())
	eventually(t, func() bool { // on a busy machine Redis may seem to hang
		return r.put(t.Context(), []putItem{{id: "user_1", entry: copyAt(1, 1, 1), ttl: time.Hour}}) == nil
	})
	s.Signal(syscall.SIGSTOP)
	isAway := func() bool {
		_, err := r.get(t.Context(), []string{"user_1"}, basic)
		return errors.Is(err, errRedisAway)
	}
	eventually(t, isAway)
	// Its silence ends the session although the connection is open.
	eventually(t, func() bool { return !r.snapshot().Connected })
	s.Signal(syscall.SIGCONT)
	eventually(t, func() bool {
		got, err := r.get(t.Context(), []string{"user_1"}, basic)
		return err == nil && got[0] != nil
	})
	for _, e := range r.heard()[from:] {
		if isMissed(e) {
			t.Error("missed something, though nothing was published")
		}
	}
	s.Signal(syscall.SIGSTOP)
	t.Cleanup(func() { s.Signal(syscall.SIGCONT) })
	eventually(t, isAway)
	r.stop() // run's end does not wait for Redis
}
