package server

import (
	"context"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
)

const (
	// outboxShare is the part of the outbox that one address may use: a half.
	outboxShare = 2
	// givesWayAfter is how long a stream must have been blocked before it is ended for
	// another answer, and outboxWait is how long that answer waits for it.
	givesWayAfter = time.Second
	outboxWait    = time.Second
)

// outbox limits the bytes of answers that are encoded but not yet written to their
// connections. gRPC accepts answers of any size and holds them until the caller's flow
// control allows to send them, which may be never. If there is no room, the stream that
// has been blocked longest is ended; if there is none, the answer is refused. A nil
// outbox has no limits. It is safe for concurrent use.
type outbox struct {
	max      int64 // bytes
	listener atomic.Pointer[boundedListener]

	mu      sync.Mutex
	held    int64                      // guarded by mu
	from    map[netip.Prefix]int64     // held by address; guarded by mu
	freed   chan struct{}              // closed, and replaced, when bytes are freed; guarded by mu
	blocked map[*boundStream]time.Time // since when; guarded by mu
	lost    []*lot                     // whose buffers were garbage, not given back yet; guarded by mu
}

func newOutbox(limit int64) *outbox {
	return &outbox{
		max: limit, from: make(map[netip.Prefix]int64),
		freed: make(chan struct{}), blocked: make(map[*boundStream]time.Time),
	}
}

// encoded is a message whose bytes count in an outbox. The codec passes them to gRPC,
// which frees them when they are written or their call has ended. It must be used by one
// goroutine.
type encoded struct {
	buffer mem.Buffer // nil once it is passed to gRPC or freed
	lot    *lot
	unmet  *failure // of an answer whose ids all failed: the failure of most of them; else nil
}

// lot is some bytes of an outbox. Their buffer returns to it as its pool. It must not
// refer to its call, which refers to the buffer, since the buffer's cleanup refers to the
// lot.
type lot struct {
	outbox  *outbox
	address netip.Prefix
	conn    *boundedConn // may be nil
	size    int64
	stream  *progress // of the stream that sends it; nil for a unary call's
	taken   bool      // by gRPC; guarded by outbox.mu
	given   bool      // back; guarded by outbox.mu
}

// encode returns m, encoded, when there is room for it. It blocks for at most outboxWait,
// and fails with errOutboxFull, errCallerOutboxFull or ctx's error.
func (o *outbox) encode(ctx context.Context, m proto.Message) (*encoded, error) {
	size := proto.Size(m)
	options := proto.MarshalOptions{UseCachedSize: true}
	if o == nil || mem.IsBelowBufferPoolingThreshold(size) {
		// So small that the limits of calls and streams limit their sum.
		b, err := options.Marshal(m)
		return &encoded{buffer: mem.SliceBuffer(b)}, err
	}
	l := &lot{outbox: o, size: int64(size)}
	if p, ok := peer.FromContext(ctx); ok {
		l.address = addressOf(p.Addr)
		if listener := o.listener.Load(); listener != nil {
			l.conn = listener.connection(p.Addr)
		}
	}
	if err := o.reserve(ctx, l); err != nil {
		return nil, err
	}
	// Not from gRPC's pool, whose buffers above 32 KiB have 1 MiB each.
	b, err := options.MarshalAppend(make([]byte, 0, size), m)
	if err != nil {
		l.Put(&b)
		return nil, err
	}
	// gRPC does not free what it drops with a connection, nor what it receives just when
	// its call is reset.
	runtime.AddCleanup(&b[0], o.lose, l)
	return &encoded{buffer: mem.NewBuffer(&b, l), lot: l}, nil
}

// take returns the bytes, which are gRPC's from now on.
func (e *encoded) take() mem.Buffer {
	b := e.buffer
	e.buffer = nil
	if e.lot != nil {
		e.lot.take()
	}
	return b
}

// free drops the bytes, unless gRPC has them.
func (e *encoded) free() {
	if e.buffer != nil {
		e.buffer.Free()
		e.buffer = nil
	}
}

// grow records that the lot has n bytes more, for a copy of its answer. It does not refuse
// them: in JSON an answer has about twice the bytes. A nil lot counts nothing.
func (l *lot) grow(n int) {
	if l == nil {
		return
	}
	o := l.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	if l.given {
		return
	}
	o.held += int64(n)
	o.from[l.address] += int64(n)
	l.size += int64(n)
}

// reserve makes room for a lot.
func (o *outbox) reserve(ctx context.Context, l *lot) error {
	var giveUp <-chan time.Time
	for last := false; ; {
		o.mu.Lock()
		o.giveBackLostLocked()
		over, full := l.address, errCallerOutboxFull
		ofAddress := l.address.IsValid() && o.from[l.address]+l.size > o.max/outboxShare
		if !ofAddress && o.held+l.size > o.max {
			over, full = netip.Prefix{}, errOutboxFull
		} else if !ofAddress {
			o.held += l.size
			o.from[l.address] += l.size
			o.mu.Unlock()
			return nil
		}
		ended := o.endLongestLocked(over)
		freed := o.freed
		o.mu.Unlock()
		if last {
			return full
		}
		if giveUp == nil {
			if !ended {
				return full
			}
			timer := time.NewTimer(outboxWait)
			defer timer.Stop()
			giveUp = timer.C
		}
		select {
		case <-freed:
		case <-giveUp:
			last = true
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// endLongestLocked ends the stream of an address, or of any if it is the zero prefix,
// that has been blocked for longest, and reports whether there was one.
func (o *outbox) endLongestLocked(address netip.Prefix) bool {
	var longest *boundStream
	for s, since := range o.blocked {
		if (!address.IsValid() || s.caller.address == address) && (longest == nil || since.Before(o.blocked[longest])) {
			longest = s
		}
	}
	if longest == nil || time.Since(o.blocked[longest]) < givesWayAfter {
		return false
	}
	delete(o.blocked, longest)
	close(longest.givesWay)
	return true
}

// block records that a stream waits for its caller to read, until unblock.
func (o *outbox) block(s *boundStream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.progress.moved = time.Now()
	o.blocked[s] = s.progress.moved
}

// still returns for how long nothing of a blocked stream has moved.
func (o *outbox) still(s *boundStream) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return time.Since(s.progress.moved)
}

func (o *outbox) unblock(s *boundStream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.blocked, s)
}

// bytes returns how many bytes are held.
func (o *outbox) bytes() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.giveBackLostLocked()
	return o.held
}

// lose records that the buffer of l was garbage. The runtime calls it, on a goroutine of its
// own that must not wake others: in a test, they may be in a synctest bubble.
func (o *outbox) lose(l *lot) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lost = append(o.lost, l)
}

// giveBackLostLocked frees the room of the lots whose buffers were garbage.
func (o *outbox) giveBackLostLocked() {
	for _, l := range o.lost {
		l.giveBackLocked()
	}
	o.lost = nil
}

// Get makes the lot a mem.BufferPool. It is not used: a lot has no buffers.
func (*lot) Get(n int) *[]byte {
	b := make([]byte, n)
	return &b
}

// Put records that the buffer of the lot is free.
func (l *lot) Put(*[]byte) { l.giveBack() }

// giveBack makes the room of the lot free, once.
func (l *lot) giveBack() {
	l.outbox.mu.Lock()
	defer l.outbox.mu.Unlock()
	l.giveBackLocked()
}

func (l *lot) giveBackLocked() {
	if l.given {
		return
	}
	l.given = true
	o, now := l.outbox, time.Now()
	o.held -= l.size
	if o.from[l.address] -= l.size; o.from[l.address] == 0 {
		delete(o.from, l.address)
	}
	if l.taken && l.conn != nil {
		delete(l.conn.unread, l)
		l.conn.moved = now
	}
	if l.stream != nil {
		l.stream.moved = now
	}
	close(o.freed)
	o.freed = make(chan struct{})
}

// take records that the lot belongs to gRPC.
func (l *lot) take() {
	o := l.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	l.taken = true
	switch c := l.conn; {
	case c == nil:
	case c.closed:
		l.giveBackLocked()
	default:
		if len(c.unread) == 0 {
			c.moved = time.Now()
		}
		if c.unread == nil {
			c.unread = make(map[*lot]struct{})
		}
		c.unread[l] = struct{}{}
	}
}

// forget frees the room that gRPC held for a connection that has been closed.
func (o *outbox) forget(c *boundedConn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c.closed = true
	for l := range c.unread {
		l.giveBackLocked()
	}
}

// closeStuck closes the connections that have answers, but whose peers have read none for
// longer than limit. Nothing else ends unread answers of calls without a deadline.
func (o *outbox) closeStuck(limit time.Duration, logger *slog.Logger) {
	listener := o.listener.Load()
	if listener == nil {
		return
	}
	var stuck []*boundedConn
	o.mu.Lock()
	o.giveBackLostLocked()
	if o.held > 0 {
		for _, c := range listener.all() {
			if len(c.unread) > 0 && time.Since(c.moved) > limit {
				stuck = append(stuck, c)
			}
		}
	}
	o.mu.Unlock()
	for _, c := range stuck {
		logger.Warn("a connection is closed: its peer reads no answers", "peer", c.RemoteAddr().String())
		_ = c.Close()
	}
}

// taken is a message whose bytes are gRPC's.
type taken struct {
	mem.Buffer
	lot *lot // may be nil
}

// once is a message that is encoded once and sent to many.
type once []byte

// codec is gRPC's own codec for Protocol Buffers, and passes on encoded messages.
type codec struct{ encoding.CodecV2 }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case *encoded:
		return mem.BufferSlice{m.take()}, nil
	case taken:
		return mem.BufferSlice{m.Buffer}, nil
	case once:
		return mem.BufferSlice{mem.SliceBuffer(m)}, nil
	}
	return c.CodecV2.Marshal(v)
}
