package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// node is a place for a server; one process follows another there.
type node struct {
	name  string
	flags []string

	mu       sync.Mutex
	server   *server          // guarded by mu
	life     int              // number of previous processes; guarded by mu
	seen     map[string]int64 // newest version of each user that this process has returned; guarded by mu
	troubles []span           // when it could not answer; guarded by mu
	fresh    time.Time        // end of the last successful call that Clerk had to answer; guarded by mu
}

// span is a time during which a node was frozen or killed.
type span struct {
	from, to time.Time // to is zero until it ends
	frozen   bool
}

// freePort returns a free port of 127.0.0.1.
func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port), nil
}

// start starts a process.
func (n *node) start(ctx context.Context, l *lab, c *clerk) error {
	s, err := l.startServer(ctx, c, 1, n.flags...)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.server, n.seen = s, map[string]int64{}
	n.life++
	return nil
}

// now returns the server and the number of its process.
func (n *node) now() (*server, int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.server, n.life
}

// trouble records that the node can't answer until over is called.
func (n *node) trouble(frozen bool) (over func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := len(n.troubles)
	n.troubles = append(n.troubles, span{from: time.Now(), frozen: frozen})
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.troubles[i].to = time.Now()
	}
}

// away reports whether the server was killed between two times, and how long it was
// frozen.
func (n *node) away(from, to time.Time) (killed bool, frozen time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range n.troubles {
		end := t.to
		if end.IsZero() || end.After(to) {
			end = to
		}
		begin := t.from
		if begin.Before(from) {
			begin = from
		}
		if !begin.Before(end) {
			continue
		}
		if t.frozen {
			frozen += end.Sub(begin)
		} else {
			killed = true
		}
	}
	return killed, frozen
}

// floor returns the newest version of a user that this process has returned.
func (n *node) floor(id string) int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.seen[id]
}

// serve records a returned version, and whether Clerk had to be asked.
func (n *node) serve(life int, id string, version int64, upstream bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if life == n.life {
		n.seen[id] = max(n.seen[id], version)
	}
	if upstream {
		n.fresh = time.Now()
	}
}

// firstAfter blocks until a call that Clerk had to answer has succeeded after begin, and
// returns the time since begin, or limit if none succeeds in time.
func (n *node) firstAfter(ctx context.Context, begin time.Time, limit time.Duration) time.Duration {
	for {
		n.mu.Lock()
		fresh := n.fresh
		n.mu.Unlock()
		if fresh.After(begin) {
			return fresh.Sub(begin)
		}
		if time.Since(begin) >= limit || wait(ctx, 5*time.Millisecond) != nil {
			return limit
		}
	}
}

// freeze stops the server for d.
func (n *node) freeze(ctx context.Context, d time.Duration) error {
	s, _ := n.now()
	over := n.trouble(true)
	defer over()
	if err := s.freeze(); err != nil {
		return err
	}
	err := wait(ctx, d)
	if thawErr := s.thaw(); thawErr != nil {
		return thawErr
	}
	return err
}

// restart kills the server and starts another one after d.
func (n *node) restart(ctx context.Context, l *lab, c *clerk, d time.Duration) error {
	s, _ := n.now()
	over := n.trouble(false)
	defer over()
	s.kill()
	s.close()
	if err := wait(ctx, d); err != nil {
		return err
	}
	if err := n.start(ctx, l, c); err != nil {
		return fmt.Errorf("%s again: %w", n.name, err)
	}
	return nil
}
