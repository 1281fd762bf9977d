package server

import (
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// boundedListener limits the open connections, in all and from one address. It closes
// further connections at once, so that clients try another replica;
// golang.org/x/net/netutil.LimitListener would let them wait without an answer.
type boundedListener struct {
	net.Listener
	name         string
	max          int           // at least 1
	perAddress   int           // of one address; at least 1
	writeTimeout time.Duration // time limit of a write to a connection; 0: none
	refused      *refusedConnections
	logger       *slog.Logger
	outbox       *outbox // outbox of its connections; may be nil

	lines sampler // of log lines about closed connections
	began time.Time

	wrote atomic.Int64 // when a peer last read something, since began

	mu   sync.Mutex
	open map[net.Addr]*boundedConn // by the peer's address, a distinct pointer for each; guarded by mu
	from map[netip.Prefix]int      // open connections by address; guarded by mu
}

func newBoundedListener(l net.Listener, name string, limit int, share float64, writeTimeout time.Duration, logger *slog.Logger) *boundedListener {
	return &boundedListener{
		Listener: l, name: name, max: limit, perAddress: max(int(share*float64(limit)), 1),
		writeTimeout: writeTimeout, logger: logger, began: time.Now(), refused: &refusedConnections{},
		open: make(map[net.Addr]*boundedConn), from: make(map[netip.Prefix]int),
	}
}

// Accept returns the next connection within the limits.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.admit(conn); c != nil {
			return c, nil
		}
		_ = conn.Close()
		if l.lines.allow(time.Since(l.began), tellGap, 1) {
			l.logger.Warn("connections are refused: too many are open", "listener", l.name, "limit", l.max,
				"limit_per_address", l.perAddress, "peer", conn.RemoteAddr().String(), "left_out", l.lines.leftOut.Swap(0))
		}
	}
}

// admit returns conn as a connection of the listener, or nil if it is over a limit.
func (l *boundedListener) admit(conn net.Conn) *boundedConn {
	c := &boundedConn{Conn: conn, listener: l, address: addressOf(conn.RemoteAddr())}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.open) >= l.max:
		l.refused.full.Add(1)
		return nil
	case c.address.IsValid() && l.from[c.address] >= l.perAddress:
		l.refused.address.Add(1)
		return nil
	}
	l.open[conn.RemoteAddr()] = c
	l.from[c.address]++
	return c
}

// connections returns the number of open connections.
func (l *boundedListener) connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// connection returns the open connection with exactly this peer address, or nil.
func (l *boundedListener) connection(peer net.Addr) *boundedConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open[peer]
}

// all returns the open connections.
func (l *boundedListener) all() []*boundedConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.open))
}

// quiet returns for how long no peer has read anything.
func (l *boundedListener) quiet() time.Duration {
	return time.Since(l.began) - time.Duration(l.wrote.Load())
}

// addressOf returns the address that limits apply to: an IPv4 address, or the /64 of an
// IPv6 address, since its owner usually has all of it. For other addresses, such as a
// Unix socket's, it returns the zero prefix, which has no limit.
func addressOf(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// boundedConn is a connection of a boundedListener.
type boundedConn struct {
	net.Conn
	listener *boundedListener
	address  netip.Prefix

	// The answers that gRPC holds for this connection, when the last of them left or the
	// first arrived, and whether the connection is closed. Guarded by the outbox's mutex.
	unread map[*lot]struct{}
	moved  time.Time
	closed bool
}

// Write writes p. It fails if the peer does not read within the write timeout; the
// connection is then unusable.
func (c *boundedConn) Write(p []byte) (int, error) {
	if c.listener.writeTimeout > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(c.listener.writeTimeout)); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Write(p)
	if n > 0 {
		c.listener.wrote.Store(int64(time.Since(c.listener.began)))
	}
	return n, err
}

// Close closes the connection and frees its place.
func (c *boundedConn) Close() error {
	l := c.listener
	l.mu.Lock()
	if l.open[c.RemoteAddr()] == c {
		delete(l.open, c.RemoteAddr())
		if l.from[c.address]--; l.from[c.address] == 0 {
			delete(l.from, c.address)
		}
	}
	l.mu.Unlock()
	err := c.Conn.Close()
	if l.outbox != nil {
		l.outbox.forget(c)
	}
	return err
}

// SyscallConn returns the raw connection, with which gRPC reads without a buffer for each
// idle connection.
func (c *boundedConn) SyscallConn() (syscall.RawConn, error) {
	if raw, ok := c.Conn.(syscall.Conn); ok {
		return raw.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}
