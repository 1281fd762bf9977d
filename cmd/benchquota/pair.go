package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
)

// clerk is a simulated Clerk in its own process.
type clerk struct {
	*process
	quota clerksim.Quota
	users int
	seed  uint64
	http  *http.Client
}

var clerkAddress = regexp.MustCompile(`(http://127\.0\.0\.1:\d+)`)

// startClerk starts a simulated Clerk with the given latency, and with further flags.
func (l *lab) startClerk(ctx context.Context, q clerksim.Quota, latency time.Duration, users int, flags ...string) (*clerk, error) {
	flags = append([]string{
		"sim", "--listen", "127.0.0.1:0",
		"--quota", fmt.Sprintf("%d/%s", q.Limit, q.Window),
		"--quota-kind", string(q.Kind), "--quota-headers", string(q.Headers),
		"--latency", latency.String(), "--jitter", "0s",
		"--users", strconv.Itoa(users), "--seed", strconv.FormatUint(l.seed, 10),
	}, flags...)
	p, err := startProcess(ctx, l.binary, clerkAddress, flags...)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	return &clerk{process: p, quota: q, users: users, seed: l.seed, http: &http.Client{Transport: transport}}, nil
}

// stats returns the simulator's counters.
func (c *clerk) stats(ctx context.Context) (clerksim.Stats, error) {
	var s clerksim.Stats
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.address+"/sim/stats", nil)
	if err != nil {
		return s, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// fail adds a fault to the simulator.
func (c *clerk) fail(ctx context.Context, fault clerksim.Fault) error {
	body, err := json.Marshal(fault)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.address+"/sim/faults", bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("the simulator takes no such fault: %s", resp.Status)
	}
	return nil
}

// ids returns the ids of all users, by generating the same users again.
func (c *clerk) ids() ([]string, error) {
	same, err := clerksim.New(clerksim.Config{Users: c.users, Seed: c.seed})
	if err != nil {
		return nil, err
	}
	return same.UserIDs(c.users), nil
}

// pair is a server and its simulated Clerk.
type pair struct {
	clerk *clerk
	*server
}

// startPair starts a simulated Clerk like startClerk, and a server with the given flags,
// and connects to the server for the given number of concurrent calls.
func (l *lab) startPair(ctx context.Context, q clerksim.Quota, latency time.Duration, users, calls int, flags ...string) (*pair, error) {
	c, err := l.startClerk(ctx, q, latency, users)
	if err != nil {
		return nil, err
	}
	// The simulator's key was not used before.
	s, err := l.startServer(ctx, c, calls, append([]string{"--first-window", "full"}, flags...)...)
	if err != nil {
		c.stop()
		return nil, err
	}
	return &pair{clerk: c, server: s}, nil
}

func (p *pair) stop() {
	p.server.stop()
	p.clerk.stop()
}

// cpu returns the CPU time of the server, the simulator and this program.
func (p *pair) cpu() (used [3]time.Duration, err error) {
	for i, pid := range []int{p.server.cmd.Process.Pid, p.clerk.cmd.Process.Pid, os.Getpid()} {
		if used[i], err = cpuTime(pid); err != nil {
			return used, err
		}
	}
	return used, nil
}
