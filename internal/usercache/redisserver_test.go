package usercache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/clerkgate/clerkgate/internal/redislink"
)

func TestMain(m *testing.M) {
	// A client with several addresses sleeps for up to a second after its end.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

// patience is how long to wait for what comes soon, except on a busy machine.
const patience = 30 * time.Second

// eventually waits until a condition is true.
func eventually(t testing.TB, so func() bool) {
	t.Helper()
	end := time.After(patience)
	for !so() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-end:
			t.Fatal("it never came to be so")
		}
	}
}

// told is one call of a listener.
type told struct {
	what  string // invalidated, alive or missed
	seq   uint64
	ids   []string
	since time.Time
	lost  bool
}

// recorder is a listener that records its calls.
type recorder struct {
	t  testing.TB
	mu sync.Mutex

	all     []told
	changed chan struct{} // closed and replaced at each call
}

func (l *recorder) add(e told) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, e)
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *recorder) invalidated(seq uint64, ids []string) {
	l.add(told{what: "invalidated", seq: seq, ids: ids})
}
func (l *recorder) alive(since time.Time, seq uint64) {
	l.add(told{what: "alive", seq: seq, since: since})
}
func (l *recorder) drawn(uint64)     {}
func (l *recorder) missed(lost bool) { l.add(told{what: "missed", lost: lost}) }

// sum returns the number of errors of all kinds.
func sum(errors map[redislink.Kind]int64) (n int64) {
	for _, m := range errors {
		n += m
	}
	return n
}

func (l *recorder) heard() []told {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]told(nil), l.all...)
}

// wait waits for a wanted call, from the given position on.
func (l *recorder) wait(from int, wanted func(told) bool) told {
	l.t.Helper()
	deadline := time.After(patience)
	for {
		l.mu.Lock()
		for _, e := range l.all[from:] {
			if wanted(e) {
				l.mu.Unlock()
				return e
			}
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-deadline:
			l.t.Fatalf("not told; was told: %+v", l.heard()[from:])
		}
	}
}

// count returns the number of calls of a kind.
func (l *recorder) count(what string) int {
	n := 0
	for _, e := range l.heard() {
		if e.what == what {
			n++
		}
	}
	return n
}

// redisReplica is a running redis.
type redisReplica struct {
	*redis
	*recorder
	log  *safeBuffer
	stop func()
}

// startRedisReplica runs a redis with a server and waits until it is connected. It ends
// with the test.
func startRedisReplica(t testing.TB, cfg redisConfig) *redisReplica {
	t.Helper()
	if cfg.Keys == nil {
		cfg.Keys = testKeys(t, "k1")
	}
	r := runRedisReplica(t, cfg)
	r.waitConnected()
	r.age()
	return r
}

// age makes the sequence so old that all marks since its beginning have expired.
func (r *redisReplica) age() {
	r.t.Helper()
	client := r.enter()
	defer r.calls.Done()
	if err := client.Do(context.Background(), client.B().Hset().Key(r.sequenceKey()).FieldValue().FieldValue("b", "1").Build()).Error(); err != nil {
		r.t.Fatal(err)
	}
}

// testKeys returns keys with the given ids; the same id always has the same key.
func testKeys(t testing.TB, ids ...string) *Keys {
	t.Helper()
	var text strings.Builder
	for _, id := range ids {
		sum := sha256.Sum256([]byte(id))
		fmt.Fprintf(&text, "%s %s\n", id, base64.StdEncoding.EncodeToString(sum[:]))
	}
	keys, err := ParseKeys(text.String())
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func runRedisReplica(t testing.TB, cfg redisConfig) *redisReplica {
	t.Helper()
	log := &safeBuffer{}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	}
	if cfg.Instance == "" {
		cfg.Instance = "test"
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = patience // tests of this limit set it
	}
	if cfg.Beat == 0 {
		cfg.Beat = 50 * time.Millisecond
	}
	if cfg.Silence == 0 {
		cfg.Silence = patience // the same
	}
	inner, err := newRedis(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &redisReplica{redis: inner, recorder: &recorder{t: t, changed: make(chan struct{})}, log: log}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.run(ctx, r.recorder) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// waitConnected waits until calls are allowed.
func (r *redisReplica) waitConnected() {
	r.t.Helper()
	from := 0
	for !r.snapshot().Connected {
		r.wait(from, func(e told) bool { return e.what == "alive" })
		from = len(r.heard())
	}
}

// safeBuffer is a buffer that is safe for concurrent writes.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
