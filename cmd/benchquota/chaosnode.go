package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// node is a place for a server, in which one life follows another.
type node struct {
	name  string
	flags []string

	mu       sync.Mutex
	server   *server          // guarded by mu
	life     int              // how many servers there were before; guarded by mu
	seen     map[string]int64 // the newest version of each user that this life has served; guarded by mu
	troubles []span           // when it could not answer; guarded by mu
	fresh    time.Time        // when the last call that Clerk had to answer succeeded; guarded by mu
}

// span is a time in which a node was frozen, or away.
type span struct {
	from, to time.Time // to is zero while it lasts
	frozen   bool
}

// freePort returns a port of 127.0.0.1 that nobody uses now.
func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port), nil
}

// start begins a new life.
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

// now returns the server and the number of its life.
func (n *node) now() (*server, int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.server, n.life
}

// trouble notes that the node can't answer from now on, until what it returns is called.
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

// floor returns the newest version of a user that this life has served.
func (n *node) floor(id string) int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.seen[id]
}

// serve notes what a life has served, and whether Clerk had to be asked for it.
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

// firstAfter waits until a call that Clerk had to answer has succeeded after a time,
// and returns how long after, or limit if none has until then.
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

// freeze makes the server stand still for d.
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

// restart kills the server, and starts another after d.
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
