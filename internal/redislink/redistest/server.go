// Package redistest starts redis-server processes for tests. Start is the usual entry
// point; the binary must be in PATH.
package redistest

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
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

// Server is a redis-server process that a test can stop and start again.
type Server struct {
	Port int // port at 127.0.0.1

	t    testing.TB
	args []string
	cmd  *exec.Cmd
}

// Start starts a redis-server without persistence. It ends with the test.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return StartServer(t, append([]string{"--save", "", "--appendonly", "no", "--dir", t.TempDir()}, args...)...)
}

// StartServer starts a redis-server with only the given arguments and a port.
func StartServer(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, Port: FreePort(t), args: args}
	t.Cleanup(s.Kill)
	s.Start()
	return s
}

// FreePort returns a port that is free for a server or a cluster node, which also listens
// 10000 ports higher. The system chooses neither port by itself (Linux begins at 32768), so
// no connection and no test that listens at port 0 takes it meanwhile.
func FreePort(t testing.TB) int {
	t.Helper()
	for {
		port := 11000 + rand.IntN(11000)
		if isFree(t, port) && isFree(t, port+10000) {
			return port
		}
	}
}

func isFree(t testing.TB, port int) bool {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return false
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return true
}

// Start starts the server, also again after Kill.
func (s *Server) Start() {
	s.t.Helper()
	var said lockedBuffer
	s.cmd = exec.Command("redis-server", append(slices.Clone(s.args), "--port", fmt.Sprint(s.Port))...)
	s.cmd.Stdout, s.cmd.Stderr = &said, &said
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		s.t.Fatalf("redis-server can't be started (Debian: apt-get install redis-server): %v", err)
	}
	end := time.After(time.Minute)
	for {
		// What this process says, since another one may answer at the port.
		if text := said.String(); strings.Contains(text, "Ready to accept connections") || strings.Contains(text, "Sentinel ID is") {
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

// Kill kills the process, like a crash.
func (s *Server) Kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// Addr returns the server's host:port.
func (s *Server) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.Port) }

// URL returns the server's URL for --redis-url.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Ask sends a command of words without spaces and returns the first line of the answer.
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

// Client returns a client for inspecting the server's data.
func (s *Server) Client() rueidis.Client {
	s.t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Addr()}, ForceSingleClient: true, DisableCache: true})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// lockedBuffer is a buffer that is safe for concurrent use.
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

// String returns everything written so far.
func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
