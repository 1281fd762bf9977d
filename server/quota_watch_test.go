package server

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/usage"
)

func TestWatchInterval(t *testing.T) {
	for _, tt := range []struct {
		asked *durationpb.Duration
		want  time.Duration // 0: refused
	}{
		{nil, time.Second},
		{durationpb.New(0), 100 * time.Millisecond},
		{durationpb.New(99 * time.Millisecond), 100 * time.Millisecond},
		{durationpb.New(101 * time.Millisecond), 101 * time.Millisecond},
		{durationpb.New(time.Hour), time.Hour},
		{durationpb.New(-1), 0},
		{&durationpb.Duration{Seconds: 1, Nanos: -1}, 0},
	} {
		got, err := watchInterval(tt.asked)
		if got != tt.want || (err != nil) != (tt.want == 0) {
			t.Errorf("%v: %v, %v", tt.asked, got, err)
		}
		if err != nil && classify(err).field != "min_interval" {
			t.Errorf("%v: %v names another field", tt.asked, err)
		}
	}
}

// watchedInBubble runs f with a client of a server with up, in virtual time, and then
// checks that no watcher is left.
func watchedInBubble(t *testing.T, up *fakeUpstream, f func(*testing.T, clerkgatev1.QuotaServiceClient)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Users: up, Quota: up, MaxStreamsPerCaller: 1000})
		listener := bufconn.Listen(1 << 20)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { s.runPeriodic(ctx) })
		wg.Go(func() { _ = s.grpc.Serve(listener) })
		conn := dialInBubble(t, listener)
		f(t, clerkgatev1.NewQuotaServiceClient(conn))
		_ = conn.Close()
		s.grpc.Stop()
		stop()
		wg.Wait()
		synctest.Wait()
		s.feed.mu.Lock()
		defer s.feed.mu.Unlock()
		if s.feed.watchers != 0 {
			t.Errorf("%d watchers are left", s.feed.watchers)
		}
	})
}

func watchQuota(ctx context.Context, t *testing.T, c clerkgatev1.QuotaServiceClient, interval time.Duration) grpc.ServerStreamingClient[clerkgatev1.WatchQuotaResponse] {
	t.Helper()
	stream, err := c.WatchQuota(ctx, &clerkgatev1.WatchQuotaRequest{MinInterval: durationpb.New(interval)})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// TestWatchQuota: a message is sent at once; of changes within the interval, only the
// last is sent, at its end; a later change is sent when it is noticed; and without
// changes nothing is sent.
func TestWatchQuota(t *testing.T) {
	type message struct {
		at        time.Duration
		available int32
	}
	up := &fakeUpstream{}
	up.status.Shared = &gate.SharedStatus{}
	watchedInBubble(t, up, func(t *testing.T, c clerkgatev1.QuotaServiceClient) {
		begin := time.Now()
		time.AfterFunc(15*time.Second, func() { // another exchange with Redis is not a change
			up.change(func() {
				up.status.Shared = &gate.SharedStatus{ShareState: quota.ShareState{LastReply: time.Now()}}
			})
		})
		for at, available := range map[time.Duration]int{
			101 * time.Millisecond: 1, 201 * time.Millisecond: 2,
			10001 * time.Millisecond: 3, 10102 * time.Millisecond: 4, 10251 * time.Millisecond: 5,
		} {
			time.AfterFunc(at, func() { up.change(func() { up.status.Available = available }) })
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		stream := watchQuota(ctx, t, c, 300*time.Millisecond)
		var got []message
		for {
			m, err := stream.Recv()
			if err != nil {
				if status.Code(err) != codes.DeadlineExceeded {
					t.Errorf("the watch ends with %v", err)
				}
				break
			}
			got = append(got, message{time.Since(begin), m.Quota.Available})
		}
		want := []message{
			{0, 0}, {300 * time.Millisecond, 2},
			{10050 * time.Millisecond, 3}, {10350 * time.Millisecond, 5},
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// TestManyWatchers: the gate is read no more often for a thousand than for one.
func TestManyWatchers(t *testing.T) { manyWatch(t, &fakeUpstream{}, 1000, 0, 3) }

// TestSlowWatchers: a watcher that does not read delays nobody, although more is sent
// than its connection buffers.
func TestSlowWatchers(t *testing.T) {
	up := &fakeUpstream{status: gate.Status{Callers: usage.Report{Busiest: slices.Repeat([]usage.Counts{{Name: strings.Repeat("x", 64)}}, 100)}}}
	manyWatch(t, up, 3, 2, 30)
}

// manyWatch has watchers receive changes, beside slow ones that do not read.
func manyWatch(t *testing.T, up *fakeUpstream, watchers, slow, changes int) {
	watchedInBubble(t, up, func(t *testing.T, c clerkgatev1.QuotaServiceClient) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range slow {
			_ = watchQuota(ctx, t, c, 0)
		}
		begin := time.Now()
		var all sync.WaitGroup
		for range watchers {
			stream := watchQuota(ctx, t, c, 0)
			all.Go(func() {
				for {
					m, err := stream.Recv()
					if err != nil {
						t.Errorf("the watch ends with %v", err)
						return
					}
					if int(m.Quota.Available) == changes {
						return
					}
				}
			})
		}
		for i := 1; i <= changes; i++ {
			time.Sleep(200 * time.Millisecond)
			up.change(func() { up.status.Available = i })
		}
		all.Wait()
		took := time.Since(begin)
		if took > time.Duration(changes)*200*time.Millisecond+2*pulse {
			t.Errorf("the last change was told after %v", took)
		}
		up.mu.Lock()
		defer up.mu.Unlock()
		if most := 1 + int(took/pulse); up.reads > most {
			t.Errorf("the gate was asked %d times in %v, want at most %d", up.reads, took, most)
		}
	})
}

func TestNobodyWatches(t *testing.T) {
	up := &fakeUpstream{}
	watchedInBubble(t, up, func(t *testing.T, c clerkgatev1.QuotaServiceClient) {
		ctx, leave := context.WithCancel(t.Context())
		stream := watchQuota(ctx, t, c, 0)
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		leave()
		if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
			t.Errorf("the watch ends with %v", err)
		}
		synctest.Wait()
		up.change(func() { up.reads = 0; up.status.Available = 1 })
		time.Sleep(time.Minute)
		up.mu.Lock()
		reads := up.reads
		up.mu.Unlock()
		if reads > 0 {
			t.Errorf("the gate was asked %d times while nobody watches", reads)
		}
		// The next watcher sees the current state at once.
		if m, err := watchQuota(t.Context(), t, c, 0).Recv(); err != nil || m.Quota.Available != 1 {
			t.Errorf("%v, %v", m, err)
		}
	})
}

func TestWatchQuotaEndsWithTheServer(t *testing.T) {
	up := &fakeUpstream{}
	r := start(t, Config{Users: up, Quota: up})
	waiting, resting := watchQuota(t.Context(), t, r.quota, 0), watchQuota(t.Context(), t, r.quota, time.Hour)
	for _, stream := range []grpc.ServerStreamingClient[clerkgatev1.WatchQuotaResponse]{waiting, resting} {
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	r.stop()
	for name, stream := range map[string]grpc.ServerStreamingClient[clerkgatev1.WatchQuotaResponse]{"waiting for a change": waiting, "in its interval": resting} {
		if _, err := stream.Recv(); reasonOf(err) != "Unavailable SHUTTING_DOWN" {
			t.Errorf("a watch %s ends with %v", name, err)
		}
	}
}
