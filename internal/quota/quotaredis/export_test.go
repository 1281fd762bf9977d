package quotaredis

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// SetTime replaces Redis's own time.
func SetTime(s *Store, t time.Time) { s.setTime(t) }

// StartForTest starts a Redis and returns its URL.
func StartForTest(t *testing.T) string { return redistest.Start(t).URL() }

// OpenForTest opens a store, which is closed when the test ends.
func OpenForTest(t *testing.T, url string) *Store {
	t.Helper()
	s, err := New(url, "test", redislink.Access{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// EmptyForTest empties the Redis of a store.
func EmptyForTest(t rapid.TB, s *Store) { s.empty(t) }
