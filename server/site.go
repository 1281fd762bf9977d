package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Bounds of HTTP requests. A handler that needs others sets them by
// http.ResponseController, as one that streams its answer must.
const (
	httpHeaderTimeout = 5 * time.Second  // from the first byte to the end of the header
	httpReadTimeout   = 10 * time.Second // to the end of the body
	httpWriteTimeout  = 15 * time.Second // from the end of the header to the end of the answer
	httpIdleTimeout   = time.Minute      // between two requests
)

// site is an HTTP listener with its server.
type site struct {
	name     string
	address  string
	handler  http.Handler
	bound    *net.Addr // gets the address
	tls      *liveTLS  // nil: none
	calls    bool      // whether it serves calls, and so HTTP/2
	listener *boundedListener
	server   *http.Server
}

// listen begins to listen, for so many connections at once.
func (s *site) listen(connections int, logger *slog.Logger) error {
	l, err := listen(s.address)
	if err != nil {
		return fmt.Errorf("%s listener: %w", s.name, err)
	}
	*s.bound = l.Addr()
	s.listener = newBoundedListener(l, s.name, connections, 0, logger)
	s.server = newHTTPServer(s.handler)
	if s.calls {
		takeCalls(s.server)
	}
	// What clients do wrong, such as to break off a handshake, is no fault here.
	s.server.ErrorLog = slog.NewLogLogger(logger.Handler(), slog.LevelDebug)
	return nil
}

// serve serves until the server is closed.
func (s *site) serve() error {
	if s.tls == nil {
		return s.server.Serve(s.listener)
	}
	s.server.TLSConfig = s.tls.config()
	return s.server.ServeTLS(s.listener, "", "")
}

// close stops the server. Answers whose handlers have returned may still be on their way to
// the connection: they have until ctx ends. Shutdown also waits until then for a connection
// that has sent no request yet, and for HTTP/2 clients to answer GOAWAY.
func (s *site) close(ctx context.Context) error {
	if s.server.Shutdown(ctx) == nil {
		return nil
	}
	return s.server.Close()
}

// newHTTPServer returns a server on which no request takes longer than the bounds above.
func newHTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: httpHeaderTimeout,
		ReadTimeout:       httpReadTimeout,
		WriteTimeout:      httpWriteTimeout,
		IdleTimeout:       httpIdleTimeout,
		MaxHeaderBytes:    maxHeaders,
	}
}
