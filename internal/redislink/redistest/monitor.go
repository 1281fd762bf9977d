package redistest

import (
	"bufio"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// argument matches an argument of a command in what MONITOR shows.
var argument = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// Monitor records all commands that the server receives from now on: those of scripts,
// and what is published, are among them, but not the password of a connection. It sees all
// that clients store, since Redis has its data from commands alone. password may be "". The
// returned function ends the recording and returns the commands, one in a line, with their
// arguments as they were sent.
func (s *Server) Monitor(password string) (received func() string) {
	s.t.Helper()
	conn, lines := s.monitor(password)
	s.t.Cleanup(func() { _ = conn.Close() })
	const end = "the-recording-ends"
	var all strings.Builder
	done := make(chan error, 1)
	go func() {
		for {
			line, err := lines.ReadString('\n')
			if err != nil || strings.Contains(line, end) {
				done <- err
				return
			}
			for _, quoted := range argument.FindAllString(line, -1) {
				text, err := strconv.Unquote(quoted)
				if err != nil {
					text = quoted
				}
				all.WriteString(text + " ")
			}
			all.WriteByte('\n')
		}
	}()
	return func() string {
		s.t.Helper()
		other, _ := s.monitor(password, end)
		defer func() { _ = other.Close() }()
		if err := <-done; err != nil {
			s.t.Fatalf("MONITOR: %v", err)
		}
		return all.String()
	}
}

// monitor connects and sends MONITOR, or PING with the given words.
func (s *Server) monitor(password string, words ...string) (net.Conn, *bufio.Reader) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		s.t.Fatal(err)
	}
	if err := conn.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	commands := []string{"MONITOR"}
	if len(words) > 0 {
		commands = []string{"PING " + strings.Join(words, " ")}
	}
	if password != "" {
		commands = append([]string{"AUTH " + password}, commands...)
	}
	lines := bufio.NewReader(conn)
	for _, command := range commands {
		if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
			s.t.Fatal(err)
		}
		if answer, err := lines.ReadString('\n'); err != nil || strings.HasPrefix(answer, "-") {
			s.t.Fatalf("%s: %s%v", strings.Fields(command)[0], answer, err)
		}
	}
	return conn, lines
}
