// Package redistest runs real redis-servers for tests.
package redistest

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// Server is a real Redis that a test may stop and start again.
type Server struct {
	Port int // that it listens on, at 127.0.0.1

	t    testing.TB
	args []string
	cmd  *exec.Cmd
}

// Start starts a Redis that keeps nothing on disk; it ends with the test.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return StartServer(t, append([]string{"--save", "", "--appendonly", "no", "--dir", t.TempDir()}, args...)...)
}

// StartServer starts a redis-server with no arguments but those given and a port.
func StartServer(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, Port: FreePort(t), args: args}
	t.Cleanup(s.Kill)
	s.Start()
	return s
}

// FreePort gives a port that a server, or a node of a cluster, may listen on.
func FreePort(t testing.TB) int {
	t.Helper()
	// A cluster's node listens 10000 ports higher, too.
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if port < 55000 {
			return port
		}
	}
}

// Start starts it, again after Kill.
func (s *Server) Start() {
	s.t.Helper()
	var said lockedBuffer
	s.cmd = exec.Command("redis-server", append(slices.Clone(s.args), "--port", fmt.Sprint(s.Port))...)
	s.cmd.Stdout, s.cmd.Stderr = &said, &said
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		s.t.Fatalf("redis-server can't be started (Debian: apt-get install redis-server): %v", err)
	}
	end := time.After(20 * time.Second)
	for {
		if conn, err := net.Dial("tcp", s.Addr()); err == nil {
			_ = conn.Close()
			if got := s.Ask("PING"); got == "+PONG" || strings.HasPrefix(got, "-NOAUTH") {
				return
			}
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-end:
			s.t.Fatalf("redis-server did not start:\n%s", &said)
		}
	}
}

// Signal sends the server a signal.
func (s *Server) Signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Error(err)
	}
}

// Kill ends the server as a crash would.
func (s *Server) Kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// Addr is where it listens, as host:port.
func (s *Server) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.Port) }

// URL is where it listens, as --redis-url takes it.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Ask sends a command of words without spaces and gives the first line of the answer.
func (s *Server) Ask(command string) string {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		s.t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// Client is a connection for looking at what this server stores.
func (s *Server) Client() rueidis.Client {
	s.t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Addr()}, ForceSingleClient: true, DisableCache: true})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// lockedBuffer is a buffer that goroutines may use at once.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write adds p.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String gives all that was written.
func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
