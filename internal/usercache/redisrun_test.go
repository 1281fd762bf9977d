package usercache

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

func isMissed(e told) bool { return e.what == "missed" }
func isAlive(e told) bool  { return e.what == "alive" }

func TestRedisReplicasHearEachOther(t *testing.T) {
	s := redistest.Start(t)
	a, b := startRedisReplica(t, redisConfig{URL: s.URL()}), startRedisReplica(t, redisConfig{URL: s.URL()})
	seq := a.mustInvalidate("user_1", "user_2")
	for _, r := range []*redisReplica{a, b} {
		e := r.wait(0, func(e told) bool { return e.what == "invalidated" })
		if e.seq != seq || strings.Join(e.ids, " ") != "user_1 user_2" {
			t.Errorf("heard %+v, want number %d", e, seq)
		}
		if e := r.wait(0, func(e told) bool { return isAlive(e) && e.seq >= seq }); e.since.After(time.Now()) {
			t.Errorf("alive at %v, which is to come", e.since)
		}
	}
}

// TestRedisSubscriptionLost: after a lost subscription the replica knows whether it
// missed a publication.
func TestRedisSubscriptionLost(t *testing.T) {
	s := redistest.Start(t)
	a, b := startRedisReplica(t, redisConfig{URL: s.URL()}), startRedisReplica(t, redisConfig{URL: s.URL()})
	before := b.count("missed")
	s.Ask("CLIENT KILL TYPE pubsub")
	for _, r := range []*redisReplica{a, b} {
		eventually(t, func() bool { return strings.Count(r.log.String(), "redis is connected") == 2 })
	}
	if n := b.count("missed"); n != before {
		t.Errorf("missed something %d times, though nothing was published", n-before)
	}
	// Cut off while something is published.
	proxy := newProxy(t, s.Addr())
	c := startRedisReplica(t, redisConfig{URL: "redis://" + proxy.addr()})
	from := len(c.heard())
	proxy.cut(true)
	a.mustInvalidate("user_1")
	proxy.cut(false)
	c.wait(from, isMissed)
	c.wait(from, isAlive)
}

func TestRedisRestartedEmptyIsMissed(t *testing.T) {
	s := redistest.Start(t)
	r := startRedisReplica(t, redisConfig{URL: s.URL()})
	seq := r.mustInvalidate("user_1")
	from := len(r.heard())
	s.Kill()
	s.Start()
	r.wait(from, isMissed)
	if e := r.wait(from, isAlive); e.seq < seq {
		t.Errorf("the numbers went back from %d to %d", seq, e.seq)
	}
	r.waitConnected()
	if again := r.mustInvalidate("user_1"); again <= seq {
		t.Errorf("number %d was drawn after %d", again, seq)
	}
	// Each loss is logged, not only the first.
	s.Kill()
	eventually(t, func() bool { return strings.Count(r.log.String(), "redis is away") == 2 })
}

// TestRedisAwayFailsAtOnce: calls neither wait nor log one by one.
func TestRedisAwayFailsAtOnce(t *testing.T) {
	s := redistest.Start(t)
	r := startRedisReplica(t, redisConfig{URL: s.URL()})
	s.Kill()
	eventually(t, func() bool { return !r.snapshot().Connected })
	lines := strings.Count(r.log.String(), "\n")
	for range 100 {
		if _, err := r.get(t.Context(), []string{"user_1"}, basic); !errors.Is(err, errRedisAway) {
			t.Fatalf("got %v", err)
		}
		if _, err := r.invalidate(t.Context(), []string{"user_1"}); !errors.Is(err, errRedisAway) {
			t.Fatalf("got %v", err)
		}
	}
	if n := strings.Count(r.log.String(), "\n") - lines; n > 2 {
		t.Errorf("%d lines in the log for 200 calls:\n%s", n, r.log)
	}
}

// TestRedisSlow: a read times out; after three timeouts reads are skipped for a while,
// but invalidations are still sent.
func TestRedisSlow(t *testing.T) {
	s := redistest.Start(t)
	proxy := newProxy(t, s.Addr())
	r := startRedisReplica(t, redisConfig{URL: "redis://" + proxy.addr(), Timeout: 10 * time.Millisecond})
	const delay = 100 * time.Millisecond
	proxy.delay.Store(int64(delay))
	late, refused, began := 0, 0, time.Now()
	for range 20 {
		switch _, err := r.get(t.Context(), []string{"user_1"}, basic); {
		case errors.Is(err, context.DeadlineExceeded):
			late++
		case errors.Is(err, errRedisAway):
			refused++
		default:
			t.Fatalf("got %v", err)
		}
	}
	tried := breakerFailures + int(time.Since(began)/breakerOpen)
	if late > tried || refused == 0 {
		t.Errorf("%d readings were late and %d not tried, want at most %d late", late, refused, tried)
	}
	proxy.delay.Store(int64(delay / 4)) // an invalidation waits for several answers
	eventually(t, func() bool {
		_, err := r.invalidate(t.Context(), []string{"user_1"})
		return err == nil
	})
	// Alive has the time at which the heartbeat was sent, not received.
	r.wait(len(r.heard()), isAlive)
	if e := r.wait(len(r.heard()), isAlive); time.Since(e.since) < delay/4 {
		t.Errorf("alive %v ago, though the beat took longer", time.Since(e.since))
	}
	proxy.delay.Store(0)
	eventually(t, func() bool {
		_, err := r.get(t.Context(), []string{"user_1"}, basic)
		return err == nil
	})
}

// proxy is a link to Redis that can be slow or cut.
type proxy struct {
	t      testing.TB
	to     string
	listen net.Listener
	delay  atomic.Int64 // of each packet from Redis, in ns

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]bool
	taken int // connections accepted
	all   sync.WaitGroup
}

func newProxy(t testing.TB, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, to: to, listen: l, conns: make(map[net.Conn]bool)}
	p.all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.taken++
			p.mu.Unlock()
			p.all.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.cut(true)
		p.all.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listen.Addr().String() }

// cut closes all connections and refuses new ones until it is undone.
func (p *proxy) cut(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	if down {
		for c := range p.conns {
			_ = c.Close()
		}
	}
}

// count returns the number of accepted connections.
func (p *proxy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

// hold records a connection, or closes it while the link is cut.
func (p *proxy) hold(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
	if p.down {
		_ = c.Close()
	}
}

func (p *proxy) serve(near net.Conn) {
	far, err := net.Dial("tcp", p.to)
	if err != nil {
		_ = near.Close()
		return
	}
	p.hold(near)
	p.hold(far)
	p.all.Go(func() {
		_, _ = io.Copy(far, near)
		_ = far.Close()
	})
	buf := make([]byte, 32<<10)
	for {
		n, err := far.Read(buf)
		if err != nil {
			break
		}
		if d := p.delay.Load(); d > 0 {
			<-time.After(time.Duration(d))
		}
		if _, err := near.Write(buf[:n]); err != nil {
			break
		}
	}
	_ = near.Close()
}
