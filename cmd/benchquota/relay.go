package main

import (
	"context"
	"net"
	"sync"
)

// relay forwards TCP connections to a server. Nothing passes while its valve is locked;
// what was waiting passes afterwards.
type relay struct {
	valve    sync.RWMutex
	target   string
	listener net.Listener

	mu    sync.Mutex
	conns []net.Conn
}

// startRelay starts a relay to target, which dials with ctx.
func startRelay(ctx context.Context, target string) (*relay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{target: target, listener: listener}
	go r.serve(ctx)
	return r, nil
}

func (r *relay) address() string { return r.listener.Addr().String() }

// close closes the relay and all connections.
func (r *relay) close() {
	r.listener.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
}

func (r *relay) serve(ctx context.Context) {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		far, err := new(net.Dialer).DialContext(ctx, "tcp", r.target)
		if err != nil {
			near.Close()
			continue
		}
		r.mu.Lock()
		r.conns = append(r.conns, near, far)
		r.mu.Unlock()
		go r.pass(near, far)
		go r.pass(far, near)
	}
}

// pass forwards data in one direction.
func (r *relay) pass(from, to net.Conn) {
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			r.valve.RLock()
			_, err = to.Write(buffer[:n])
			r.valve.RUnlock()
		}
		if err != nil {
			return
		}
	}
}
