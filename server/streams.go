package server

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

const (
	// maxNames is how many callers of one address may have the maximum number of streams,
	// so inventing names gains nothing.
	maxNames = 16
	// maxAllStreams is the maximum number of open streams of all callers. One takes about
	// 60 KB beside what the outbox holds.
	maxAllStreams = 4096
)

// streamLimits limits the open streams: of a caller, of an address, and in all.
// newStreamLimits returns one. It is safe for concurrent use.
type streamLimits struct {
	perCaller int // at least 1

	mu        sync.Mutex
	all       int                  // guarded by mu
	ofCaller  map[identity]int     // guarded by mu
	ofAddress map[netip.Prefix]int // guarded by mu

	refusedFull, refusedCaller atomic.Int64 // streams that were refused
}

func newStreamLimits(perCaller int) *streamLimits {
	return &streamLimits{perCaller: perCaller, ofCaller: make(map[identity]int), ofAddress: make(map[netip.Prefix]int)}
}

// enter adds a stream and returns the function that removes it. It fails with
// errTooManyStreams, or with errCallerStreams if the limit is the caller's own.
func (l *streamLimits) enter(id identity) (leave func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ofCaller[id] >= l.perCaller,
		id.address.IsValid() && l.ofAddress[id.address] >= maxNames*l.perCaller:
		l.refusedCaller.Add(1)
		return nil, errCallerStreams
	case l.all >= maxAllStreams:
		l.refusedFull.Add(1)
		return nil, errTooManyStreams
	}
	l.all++
	l.ofCaller[id]++
	l.ofAddress[id.address]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all--
		if l.ofCaller[id]--; l.ofCaller[id] == 0 {
			delete(l.ofCaller, id)
		}
		if l.ofAddress[id.address]--; l.ofAddress[id.address] == 0 {
			delete(l.ofAddress, id.address)
		}
	}, nil
}

// boundStream is a stream whose sends end when its context does, when the caller has not
// read for the send timeout, or when others need the room.
type boundStream struct {
	grpc.ServerStream
	edge      *edge
	ctx       context.Context
	caller    identity
	givesWay  chan struct{} // closed when the stream must end
	streaming bool          // the caller also sends a stream
	progress  *progress
}

// progress is when a stream's send began, or when one of its messages last left. Guarded
// by the outbox's mutex.
type progress struct{ moved time.Time }

func (s *boundStream) Context() context.Context { return s.ctx }

// SendMsg sends m. After an error the handler must return: until then gRPC may still use
// m.
func (s *boundStream) SendMsg(m any) error {
	e := s.edge
	if err := s.ctx.Err(); err != nil {
		return err
	}
	e.outbox.block(s)
	defer e.outbox.unblock(s)
	if own, ok := m.(*encoded); ok {
		if own.lot != nil {
			own.lot.stream = s.progress
		}
		m = taken{own.take(), own.lot} // here, since the handler may return and free it before gRPC uses it
	}
	timer := time.NewTimer(e.sendTimeout)
	defer timer.Stop()
	sent := s.apart(func() error { return s.ServerStream.SendMsg(m) })
	for {
		select {
		case err := <-sent:
			return err
		case <-timer.C:
			rest := e.sendTimeout - e.outbox.still(s)
			if rest <= 0 {
				return errNotRead
			}
			timer.Reset(rest)
		case <-s.givesWay:
			return errNotRead
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
}

// RecvMsg receives m. It returns when the stream's context ends.
func (s *boundStream) RecvMsg(m any) error {
	if !s.streaming {
		defer arrived(s.ctx)
		return s.ServerStream.RecvMsg(m)
	}
	select {
	case err := <-s.apart(func() error { return s.ServerStream.RecvMsg(m) }):
		return err
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// apart runs f in a goroutine, which ends at the latest when the stream's handler has
// returned: gRPC has no other way to end a send or a receive.
func (s *boundStream) apart(f func() error) <-chan error {
	done := make(chan error, 1)
	s.edge.apart.Go(func() { done <- f() })
	return done
}

// bindStream runs a stream within the limits of streams. The stream ends when the server
// starts to stop.
func (e *edge) bindStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	defer e.begin()()
	err := e.runStream(srv, stream, info, handler)
	if err != nil && !strings.HasPrefix(info.FullMethod, "/"+ownServices) && ownFault(err) {
		return classify(err).status().Err() // not translated elsewhere
	}
	return err
}

func (e *edge) runStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	caller := identify(stream.Context())
	leave, err := e.streams.enter(caller)
	if err != nil {
		return err
	}
	defer leave()
	if info.IsClientStream { // it may send its messages at any time
		arrived(stream.Context())
	}
	ctx, cancel := endingWith(stream.Context(), e.drain)
	defer cancel()
	return handler(srv, &boundStream{
		ServerStream: stream, edge: e, ctx: ctx, caller: caller,
		givesWay: make(chan struct{}), streaming: info.IsClientStream, progress: &progress{},
	})
}
