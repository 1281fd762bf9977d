package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

const (
	// floodLasts is the duration of each flood.
	floodLasts = 15 * time.Second
	// floodEnds is the time after which the server must use as much as before.
	floodEnds = 70 * time.Second // connections to Clerk stay open for 50 s
	mib       = 1 << 20
)

// floodScenarios measure the use of resources while callers request much and read
// nothing, or send much slowly.
func floodScenarios() []scenario {
	return []scenario{
		{"unread-streams", true, func(ctx context.Context, l *lab) ([]row, error) {
			return l.flood(ctx, "unread-streams", 300, func(ctx context.Context, f *floodedServer) error {
				return f.unread(ctx, 400, func(ctx context.Context, c *grpc.ClientConn) error {
					_, err := clerkgatev1.NewUserServiceClient(c).StreamUsers(ctx, &clerkgatev1.StreamUsersRequest{})
					return err
				})
			})
		}},
		{"unread-answers", true, func(ctx context.Context, l *lab) ([]row, error) {
			return l.flood(ctx, "unread-answers", 300, func(ctx context.Context, f *floodedServer) error {
				return f.unreadAnswers(ctx, 1000)
			})
		}},
		{"watchers-1", true, watchers(1)},
		{"watchers-1000", true, watchers(1000)},
		{"webhook-bodies", true, func(ctx context.Context, l *lab) ([]row, error) {
			return l.flood(ctx, "webhook-bodies", 100, func(ctx context.Context, f *floodedServer) error {
				return f.bodies(ctx, 400)
			})
		}},
		{"slow-posts", true, func(ctx context.Context, l *lab) ([]row, error) {
			return l.flood(ctx, "slow-posts", 100, func(ctx context.Context, f *floodedServer) error {
				return f.slowPosts(ctx, 400)
			})
		}},
	}
}

func watchers(n int) func(context.Context, *lab) ([]row, error) {
	return func(ctx context.Context, l *lab) ([]row, error) {
		return l.flood(ctx, fmt.Sprintf("watchers-%d", n), 100, func(ctx context.Context, f *floodedServer) error {
			return f.watch(ctx, n)
		})
	}
}

// floodedServer is a server under a flood.
type floodedServer struct {
	*pair
	ids            []string
	http, webhooks string // host:port
	note           string // shown below the table
}

var otherAddresses = regexp.MustCompile(`"http":"([^"]*)"(?:.*"webhooks":"([^"/]*)/)?`)

// flood measures a server before, during and after do, which runs until its context ends.
// Memory may rise by at most `most` MiB.
func (l *lab) flood(ctx context.Context, name string, most int64, do func(context.Context, *floodedServer) error) ([]row, error) {
	dir, err := os.MkdirTemp("", "benchquota")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("whsec_"+strings.Repeat("abcd", 8)), 0o600); err != nil {
		return nil, err
	}
	q := clerksim.Quota{Limit: liveLimit, Window: liveWindow, Kind: clerksim.Fixed, Headers: clerksim.RetryAfter}
	p, err := l.startPair(ctx, q, liveLatency/5, 10_000, 1, "--webhook-listen", "127.0.0.1:0", "--webhook-secret-file", secret)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	f := &floodedServer{pair: p}
	if f.ids, err = p.clerk.ids(); err != nil {
		return nil, err
	}
	m := otherAddresses.FindStringSubmatch(p.server.out.String())
	if m == nil {
		return nil, errors.New("the server has not logged its addresses")
	}
	f.http, f.webhooks = m[1], m[2]

	pid := p.server.cmd.Process.Pid
	before, err := f.measure(ctx, pid)
	if err != nil {
		return nil, err
	}
	flood, end := context.WithTimeout(ctx, floodLasts)
	defer end()
	failed := make(chan error, 1)
	go func() { failed <- do(flood, f) }()
	peak := before
	for flood.Err() == nil {
		now, err := memory(pid)
		if err != nil {
			return nil, err
		}
		peak.memory = max(peak.memory, now)
		_ = wait(flood, 20*time.Millisecond)
	}
	if err := <-failed; err != nil {
		return nil, err
	}
	cpu, err := cpuTime(pid)
	if err != nil {
		return nil, err
	}
	ended := time.Now()
	after, err := f.measure(ctx, pid)
	for err == nil && !after.like(before) && time.Since(ended) < floodEnds {
		if err = wait(ctx, 100*time.Millisecond); err == nil {
			after, err = f.measure(ctx, pid)
		}
	}
	if err != nil {
		return nil, err
	}
	stopped := time.Now()
	p.server.process.stop()
	return []row{{
		name:   name,
		served: fmt.Sprintf("%d, peak %d, %d MiB", before.memory/mib, peak.memory/mib, after.memory/mib),
		used:   fmt.Sprintf("%.1f s of CPU", cpu.Seconds()),
		target: fmt.Sprintf("+%d MiB at most; back as before", most),
		met:    peak.memory-before.memory <= most*mib && after.like(before),
		note: fmt.Sprintf("goroutines %d, then %d; descriptors %d, then %d, %s after its end; stopped in %s%s",
			before.goroutines, after.goroutines, before.descriptors, after.descriptors,
			time.Since(ended).Round(100*time.Millisecond), time.Since(stopped).Round(100*time.Millisecond), f.note),
	}}, nil
}

// state is a server's use of resources.
type state struct {
	memory                  int64 // bytes
	goroutines, descriptors int
}

// like reports whether goroutines and descriptors are about the same as before.
func (s state) like(before state) bool {
	return s.goroutines <= before.goroutines+20 && s.descriptors <= before.descriptors+20
}

var goroutines = regexp.MustCompile(`(?m)^go_goroutines (\d+)$`)

func (f *floodedServer) measure(ctx context.Context, pid int) (state, error) {
	return f.clerk.measure(ctx, pid, f.http)
}

// measure measures the server with the given process id and HTTP address.
func (c *clerk) measure(ctx context.Context, pid int, address string) (s state, err error) {
	if s.memory, err = memory(pid); err != nil {
		return s, err
	}
	if s.descriptors, err = descriptors(pid); err != nil {
		return s, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return s, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if m := goroutines.FindSubmatch(text); err == nil && m != nil {
		_, err = fmt.Sscan(string(m[1]), &s.goroutines)
	}
	return s, err
}

// unread opens n streams on one connection, as as many callers as one address may have,
// and reads none of them.
func (f *floodedServer) unread(ctx context.Context, n int, begin func(context.Context, *grpc.ClientConn) error) error {
	conn, err := grpc.NewClient(f.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	for i := range n {
		if err := begin(as(ctx, fmt.Sprintf("unread%d", i%16)), conn); err != nil && ctx.Err() == nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

// watch reads n watches of the quota, during lookups that constantly change it.
func (f *floodedServer) watch(ctx context.Context, n int) error {
	var read tally
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			stream, err := clerkgatev1.NewQuotaServiceClient(f.conns[0]).WatchQuota(as(ctx, fmt.Sprintf("watcher%d", i%16)),
				&clerkgatev1.WatchQuotaRequest{MinInterval: durationpb.New(100 * time.Millisecond)})
			for err == nil {
				if _, err = stream.Recv(); err == nil {
					read.add(ctx, nil)
				}
			}
			if status.Code(err) != codes.DeadlineExceeded { // the flood ended
				read.add(ctx, err)
			}
		})
	}
	stop := keep(ctx, 1, func(ctx context.Context, i int) error {
		_, err := f.get(ctx, 0, f.ids[i%len(f.ids)])
		return errors.Join(err, wait(ctx, 50*time.Millisecond))
	})
	wg.Wait()
	f.note = fmt.Sprintf("; %d messages of watches were read", read.ok.Load())
	return errors.Join(read.err(), stop())
}

// unreadAnswers requests a hundred cached users n times with a client that lets the
// server send nothing.
func (f *floodedServer) unreadAnswers(ctx context.Context, n int) error {
	ids := f.ids[:100]
	if _, err := f.users(0).BatchGetUsers(ctx, &clerkgatev1.BatchGetUsersRequest{UserIds: ids}); err != nil {
		return err
	}
	return noWindow(ctx, f.address, n, ids)
}

// bodies repeatedly posts n bodies of 1 MiB without the last byte, each on a connection
// of its own.
func (f *floodedServer) bodies(ctx context.Context, n int) error {
	const head = "POST /webhooks/clerk HTTP/1.1\r\nHost: x\r\nsvix-id: m\r\nsvix-timestamp: 1\r\nsvix-signature: v1,x\r\nContent-Length: %d\r\n\r\n"
	return f.posts(ctx, f.webhooks, n, fmt.Sprintf(head, 1<<20)+strings.Repeat("x", 1<<20-1))
}

// slowPosts starts n requests whose bodies never arrive, at each listener.
func (f *floodedServer) slowPosts(ctx context.Context, n int) error {
	var errs []error
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, p := range []struct{ address, line string }{
		{f.webhooks, "POST /x"}, {f.webhooks, "PUT /webhooks/clerk"}, {f.http, "POST /healthz"},
	} {
		wg.Go(func() {
			err := f.posts(ctx, p.address, n/3, p.line+" HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// posts keeps n connections busy with incomplete requests, and records how long the
// slowest stayed open.
func (f *floodedServer) posts(ctx context.Context, address string, n int, text string) error {
	var longest times
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
				if err != nil {
					return
				}
				stop := context.AfterFunc(ctx, func() { conn.Close() })
				_, _ = io.WriteString(conn, text)
				_, _ = io.Copy(io.Discard, bufio.NewReader(conn))
				stop()
				conn.Close()
				if ctx.Err() != nil {
					return // still open at the end
				}
				longest.mu.Lock()
				longest.took = append(longest.took, time.Since(began))
				longest.mu.Unlock()
			}
		})
	}
	wg.Wait()
	took := longest.taken()
	if len(took) == 0 {
		f.note += "; no connection was ended by the server"
		return nil
	}
	f.note += fmt.Sprintf("; %d connections ended, the slowest after %s", len(took), slices.Max(took).Round(100*time.Millisecond))
	return nil
}
