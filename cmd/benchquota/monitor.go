package main

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// commands counts Redis commands by purpose and name, such as "quota EVALSHA".
type commands map[string]int64

// Purposes of commands.
const (
	forQuota      = "quota"
	forCache      = "cache"
	forConnection = "connection" // commands without a key
	inScripts     = "scripts"    // called by scripts
)

// monitor counts the commands that a Redis executes.
type monitor struct {
	mu     sync.Mutex
	counts commands
}

// watch starts to count the commands that r executes, until ctx ends.
func (r *redis) watch(ctx context.Context) (*monitor, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.address())
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	if _, err := fmt.Fprint(conn, "MONITOR\r\n"); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(conn)
	if answer, err := lines.ReadString('\n'); err != nil || answer != "+OK\r\n" {
		return nil, fmt.Errorf("redis answers MONITOR with %q: %w", answer, err)
	}
	m := &monitor{counts: commands{}}
	go m.read(lines)
	return m, nil
}

func (m *monitor) read(lines *bufio.Reader) {
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		m.mu.Lock()
		m.counts[purpose(line)]++
		m.mu.Unlock()
	}
}

// counted returns the current counts.
func (m *monitor) counted() commands {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.counts)
}

// monitored matches a line of MONITOR: time, database and sender, and the quoted words of
// the command.
var monitored = regexp.MustCompile(`^\+[\d.]+ \[\d+ (\S+)\] "([^"]*)"(?:.*?"\{?clerkgate:([^"]*))?`)

// purpose returns the purpose and name of the command in a line of MONITOR.
func purpose(line string) string {
	m := monitored.FindStringSubmatch(line)
	if m == nil {
		return "unknown"
	}
	of := forQuota
	switch {
	case m[1] == "lua":
		of = inScripts
	case m[3] == "":
		of = forConnection
	case strings.Contains(m[3], ":cache"):
		of = forCache
	}
	return of + " " + strings.ToUpper(m[2])
}

// since returns the counts minus those of an earlier moment.
func (c commands) since(before commands) commands {
	diff := commands{}
	for name, n := range c {
		if n > before[name] {
			diff[name] = n - before[name]
		}
	}
	return diff
}

// sum returns the number of commands for a purpose.
func (c commands) sum(purpose string) (sum int64) {
	for name, n := range c {
		if strings.HasPrefix(name, purpose+" ") {
			sum += n
		}
	}
	return sum
}

// sent returns the number of commands that the replicas have sent.
func (c commands) sent() int64 { return c.sum(forQuota) + c.sum(forCache) + c.sum(forConnection) }

func (c commands) String() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(c)) {
		all = append(all, fmt.Sprintf("%d %s", c[name], name))
	}
	return strings.Join(all, ", ")
}
