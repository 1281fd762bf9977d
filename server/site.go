package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// httpHeaderTimeout is the time limit from the first byte of a request to the end of its
// header.
const httpHeaderTimeout = 5 * time.Second

// site is an HTTP listener with its server.
type site struct {
	name     string
	address  string
	handler  http.Handler
	bound    *net.Addr // receives the address
	tls      *liveTLS  // nil: none
	calls    bool      // it serves calls, and so HTTP/2
	refused  *refusedConnections
	listener *boundedListener
	server   *http.Server
}

// listen begins to listen.
func (s *site) listen(cfg Config) error {
	l, err := listen(s.address)
	if err != nil {
		return fmt.Errorf("%s listener: %w", s.name, err)
	}
	*s.bound = l.Addr()
	s.listener = newBoundedListener(l, s.name, cfg.MaxConnections, cfg.Limits.AddressShare, 0, cfg.Logger)
	s.listener.refused = s.refused
	s.server = newHTTPServer(s.handler, cfg.Limits)
	if s.calls {
		takeCalls(s.server, cfg.Limits)
	}
	// Mistakes of clients, such as a broken handshake, are not errors of the server.
	s.server.ErrorLog = slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug)
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

// newHTTPServer returns a server on which no request takes longer than the limits. A handler
// that needs more time sets its own deadlines by http.ResponseController, as one that streams
// its answer must.
func newHTTPServer(h http.Handler, l Limits) *http.Server {
	return &http.Server{
		Handler:           endingConnections(h),
		ReadHeaderTimeout: min(httpHeaderTimeout, l.ReadTimeout),
		ReadTimeout:       l.ReadTimeout,
		WriteTimeout:      l.writeTimeout(),
		IdleTimeout:       l.HTTPIdle,
		MaxHeaderBytes:    l.MaxMetadataBytes,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connectionKey{}, connection{c.RemoteAddr(), l.connectionEnd()})
		},
	}
}

// connectionKey is the context key of the connection of an HTTP request.
type connectionKey struct{}

// connection is a connection of an HTTP listener.
type connection struct {
	peer net.Addr
	end  time.Time // the first answer after this is the last one
}

// endingConnections closes old connections: after the first answer that follows its end, a
// connection takes no more requests, and net/http closes it once the others are answered.
func endingConnections(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connectionKey{}).(connection); ok && time.Now().After(c.end) {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}
