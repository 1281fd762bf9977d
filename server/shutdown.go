package server

import (
	"context"
	"time"
)

// awaitEnd blocks until ctx has ended and the drain delay has passed, or until a listener has
// failed. Meanwhile, from the end of ctx on, health is NOT_SERVING.
func (s *Server) awaitEnd(ctx context.Context, failed <-chan error) error {
	select {
	case <-ctx.Done():
		s.ready.enter(stopping)
		select {
		case <-s.after(s.cfg.DrainDelay):
			return nil
		case err := <-failed:
			return err
		}
	case err := <-failed:
		s.ready.enter(stopping)
		return err
	}
}

// shutDown refuses new calls, ends the streams, waits for the other calls, and
// at last cuts off those that do not end.
func (s *Server) shutDown() {
	s.drain()
	s.calls.refuse()
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(stopped)
		s.calls.wait() // ends at the latest when the HTTP listener's connections are closed
		close(done)
	}()
	s.awaitCalls(done)
	if s.edge.active.Load() > 0 {
		s.stop()
		endsWithin(done, closeTimeout)
	}
	s.grpc.Stop() // does nothing after GracefulStop has ended
	<-stopped
}

// awaitCalls waits for done, for at most the drain timeout. It returns earlier when all
// calls have returned and their answers are not read, for which gRPC would wait.
func (s *Server) awaitCalls(done <-chan struct{}) {
	limit := time.NewTimer(s.cfg.DrainTimeout)
	defer limit.Stop()
	look := time.NewTicker(pulse)
	defer look.Stop()
	listener := s.edge.outbox.listener.Load()
	for idle := (time.Time{}); ; {
		select {
		case <-done:
			return
		case <-limit.C:
			return
		case now := <-look.C:
			switch {
			case s.edge.active.Load() > 0:
				idle = time.Time{}
			case idle.IsZero():
				idle = now
			case now.Sub(idle) > closeTimeout && listener.quiet() > closeTimeout:
				return
			}
		}
	}
}

// endsWithin waits for done, for at most d.
func endsWithin(done <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}
