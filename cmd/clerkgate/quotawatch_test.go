package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

func TestHeldIsExplained(t *testing.T) {
	window := durationpb.New(10 * time.Second)
	for _, tt := range []struct {
		quota *clerkgatev1.Quota
		want  string
	}{
		{&clerkgatev1.Quota{Window: window, Held: 502, InFlight: 1, Leased: 1}, "502 permits: 1 by requests in flight, 1 by leases, 500 by answers of the last 10 s or, after a start, for earlier use of the key"},
		{&clerkgatev1.Quota{Window: window, Held: 1, InFlight: 1}, "1 permit: 1 by requests in flight, 0 by leases"},
		{&clerkgatev1.Quota{Held: 9, Shared: &clerkgatev1.SharedQuota{Decider: clerkgatev1.SharedQuota_DECIDER_REDIS}}, "9 permits of all replicas; this one has 0 requests in flight and 0 permits leased"},
	} {
		if got := heldText(tt.quota); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
	if got := keyText(clerkgatev1.Key_STATE_REFUSED); !strings.Contains(got, "CLERK_KEY_REJECTED") {
		t.Errorf("a refused key: %s", got)
	}
}

func TestBars(t *testing.T) {
	for _, tt := range []struct{ n, limit, filled int32 }{{0, 100, 0}, {1, 100, 1}, {50, 100, 15}, {100, 100, 30}, {200, 100, 30}, {1, 0, 1}, {0, 0, 0}} {
		if got := bar(tt.n, tt.limit); len(got) != 32 || strings.Count(got, "#") != int(tt.filled) {
			t.Errorf("%d of %d: %s", tt.n, tt.limit, got)
		}
	}
}

// TestQuotaScreen checks that a drawing covers the one before, and scrolls nothing.
func TestQuotaScreen(t *testing.T) {
	var out bytes.Buffer
	s := &quotaScreen{out: &out, size: func() (int, int) { return 20, 8 }}
	q := &clerkgatev1.Quota{Limit: 100, EffectiveLimit: 100, Available: 40, InFlightLimit: 64}
	for i := range 2 {
		out.Reset()
		if err := s.draw(q, nil, time.Now()); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		if n := strings.Count(text, "\n"); n != 7 || s.lines != 7 {
			t.Errorf("drawing %d has %d lines", i, n)
		}
		if begin := []string{"\x1b[?25l", "\x1b[7A\r"}[i]; !strings.HasPrefix(text, begin) {
			t.Errorf("drawing %d begins %q", i, text[:10])
		}
		for line := range strings.Lines(strings.TrimPrefix(strings.TrimPrefix(text, "\x1b[?25l"), "\x1b[7A\r")) {
			if before, _, _ := strings.Cut(line, "\x1b"); len(before) > 20 {
				t.Errorf("a line of %d characters: %q", len(before), before)
			}
		}
	}
	if err := s.end(); err != nil || !strings.HasSuffix(out.String(), "\x1b[?25h") {
		t.Errorf("the cursor remains hidden: %v", err)
	}
}

// TestQuotaWatchInAPipe: without a terminal each message is one line, and an interrupt
// is no failure.
func TestQuotaWatchInAPipe(t *testing.T) {
	address, _, _ := serveSim(t)
	out, errs := &output{first: make(chan string, 1)}, &output{}
	first := out.first
	ctx, interrupt := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"quota", "--watch", "--interval", "100ms", "--address", address}, streams{out, errs})
	}()
	line := <-first
	interrupt()
	if code := <-done; code != 0 || errs.String() != "" {
		t.Errorf("exit code %d: %s", code, errs)
	}
	if !strings.Contains(line, " available=") || !strings.Contains(line, " breaker=closed key=") || strings.Contains(out.String(), "\x1b") {
		t.Errorf("it printed %s", out)
	}
}

// restarted is a server that sends the quota once, is away for some calls, and then sends it again
// until the client leaves.
type restarted struct {
	clerkgatev1.QuotaServiceClient
	away  int // calls that fail after the first
	calls int
}

func (r *restarted) GetUsage(context.Context, *clerkgatev1.GetUsageRequest, ...grpc.CallOption) (*clerkgatev1.GetUsageResponse, error) {
	return nil, status.Error(codes.PermissionDenied, "")
}

func (r *restarted) WatchQuota(ctx context.Context, _ *clerkgatev1.WatchQuotaRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[clerkgatev1.WatchQuotaResponse], error) {
	r.calls++
	if r.calls > 1 && r.calls <= 1+r.away {
		return nil, status.Error(codes.Unavailable, "connection refused")
	}
	return &quotaStream{ctx: ctx, stays: r.calls > 1}, nil
}

type quotaStream struct {
	grpc.ServerStreamingClient[clerkgatev1.WatchQuotaResponse]
	ctx   context.Context
	stays bool
	sent  bool
}

func (s *quotaStream) Recv() (*clerkgatev1.WatchQuotaResponse, error) {
	if !s.sent {
		s.sent = true
		return &clerkgatev1.WatchQuotaResponse{Quota: &clerkgatev1.Quota{Limit: 100, Window: durationpb.New(10 * time.Second)}}, nil
	}
	if s.stays {
		<-s.ctx.Done()
		return nil, status.FromContextError(s.ctx.Err()).Err()
	}
	return nil, status.Error(codes.Unavailable, "the server is stopping")
}

// TestQuotaWatchGoesOn: on a terminal, a restart of the server ends nothing; elsewhere it does.
func TestQuotaWatchGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		show := &quotaScreen{out: &out, size: func() (int, int) { return 80, 24 }}
		server, again := &restarted{away: 5}, 0
		c := &quotaCmd{Output: "table", Interval: time.Second}
		c.Timeout = 10 * time.Second
		ctx, interrupt := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, interrupt)
		began := time.Now().UTC()
		if err := c.followAll(ctx, server, show, func() { again++ }); err != nil || server.calls != 7 || again != 6 {
			t.Errorf("%v after %d calls, %d of them again", err, server.calls, again)
		}
		if want := "No answer since " + began.Format(time.TimeOnly) + " UTC: trying again"; strings.Count(out.String(), want) != 6 {
			t.Errorf("%q is not there 6 times:\n%s", want, &out)
		}
		last := out.String()[strings.LastIndex(out.String(), "\x1b[?25l")+1:]
		if i := strings.LastIndex(last, "\r"); !strings.HasPrefix(last[i+1:], began.Add(6*time.Second).Format(time.DateTime)+" UTC   (ctrl-C ends it)") {
			t.Errorf("the server is back, and the screen shows\n%s", last[i+1:])
		}

		pipe := &quotaScreen{out: &out}
		failed, _ := errors.AsType[*codedError](c.followAll(t.Context(), &restarted{}, pipe, nil))
		if failed == nil || failed.code != exitUnavailable {
			t.Errorf("in a pipe it ends with %v", failed)
		}
	})
}
