package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/leaktest"
)

func TestSampler(t *testing.T) {
	const gap = 100 * time.Millisecond
	var s sampler
	for i, step := range []struct {
		at time.Duration
		ok bool
	}{
		{0, true}, {0, true}, {0, true}, {0, false}, // a burst of 3
		{99 * time.Millisecond, false}, {100 * time.Millisecond, true}, {100 * time.Millisecond, false},
		{time.Hour, true}, {time.Hour, true}, {time.Hour, true}, {time.Hour, false}, // at most a burst, however long the pause
	} {
		if ok := s.allow(step.at, gap, 3); ok != step.ok {
			t.Errorf("step %d: %v", i, ok)
		}
	}
	if n := s.leftOut.Load(); n != 4 {
		t.Errorf("%d are left out, want 4", n)
	}
}

// logLines returns the lines that a JSON handler wrote.
func logLines(t *testing.T, text string) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for line := range strings.Lines(text) {
		m := map[string]any{}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, m)
	}
	return lines
}

// TestFailuresInAFlood: the number of lines is bounded, and lines plus omitted calls are
// all calls.
func TestFailuresInAFlood(t *testing.T) {
	const failures, spread = 100_000, 10 * time.Second
	log := &logBuffer{}
	l := newCallLog(leaktest.Logger(slog.NewJSONHandler(log, nil)))
	var callers sync.WaitGroup
	for c := range 4 {
		callers.Go(func() {
			for i := c; i < failures; i += 4 {
				at := l.epoch.Add(spread / failures * time.Duration(i))
				l.failed(t.Context(), "/clerkgate.v1.UserService/GetUser", at, at, &gate.Error{Kind: gate.ErrQueueFull}, true)
			}
		})
	}
	callers.Wait()
	l.tellLeftOut()
	l.tellLeftOut() // nothing to report
	written, leftOut, told := 0, 0, 0
	for _, line := range logLines(t, log.String()) {
		if line["reason"] != "QUEUE_FULL" {
			t.Errorf("line %v", line)
		}
		switch line["msg"] {
		case "call failed":
			written++
		case "more calls failed":
			told++
			leftOut += int(line["left_out"].(float64))
		}
	}
	if most := lineBurst + int(spread/lineGap); written > most || written < lineBurst || told != 1 || written+leftOut != failures {
		t.Errorf("%d lines, of at most %d, and %d left out, told %d times", written, most, leftOut, told)
	}
}

func TestLevels(t *testing.T) {
	for _, tt := range []struct {
		err  error
		took time.Duration
		want string // "": no line at info
	}{
		{errors.New("a fault"), 0, "ERROR"},
		{clerkError(clerkapi.ErrUnavailable), time.Minute, "WARN"},
		{clerkError(clerkapi.ErrKeyRejected), 0, "WARN"},
		{&gate.Error{Kind: gate.ErrQueueFull}, 0, "WARN"},
		{invalid("view", "must be known"), 0, "INFO"},
		{errNotAllowed, 0, "INFO"},
		{context.DeadlineExceeded, 0, "INFO"},
		{&userError{"user_1", clerkapi.ErrNotFound}, 0, ""},
		{context.Canceled, slowCall - 1, ""},
		{context.Canceled, slowCall, "INFO"},
	} {
		log := &logBuffer{}
		l := newCallLog(leaktest.Logger(slog.NewJSONHandler(log, nil)))
		flood(t, l, 1, tt.took, tt.err)
		alone := log.String()
		flood(t, l, lineBurst, tt.took, tt.err)
		l.tellLeftOut()
		levels := map[string]bool{} // levels of all lines, including the one about omitted calls
		for _, line := range logLines(t, log.String()) {
			levels[line["level"].(string)] = true
		}
		if len(logLines(t, alone)) != len(levels) || len(levels) > 1 || tt.want != "" && !levels[tt.want] {
			t.Errorf("%v after %v: levels %v, want %q; alone:\n%s", tt.err, tt.took, levels, tt.want, alone)
		}
	}
}

// flood makes n calls fail at once.
func flood(t *testing.T, l *callLog, n int, took time.Duration, err error) {
	t.Helper()
	for range n {
		l.failed(t.Context(), "/clerkgate.v1.UserService/GetUser", l.epoch.Add(-took), l.epoch, err, true)
	}
}

// TestWhoHangsUpAtItsDeadline: a caller hangs up by its own clock, so a call cancelled
// close to its deadline counts as DEADLINE_EXCEEDED.
func TestWhoHangsUpAtItsDeadline(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name string
		left time.Duration // time until the deadline
		err  error
		want codes.Code
	}{
		{"past it", -time.Second, context.Canceled, codes.DeadlineExceeded},
		{"just before it", hangUpLead - 1, context.Canceled, codes.DeadlineExceeded},
		{"before it", hangUpLead, context.Canceled, codes.Canceled},
		{"stopped just before it", 0, errStopping, codes.Unavailable},
		{"failed just before it", 0, clerkapi.ErrNotFound, codes.NotFound},
	} {
		ctx, cancel := context.WithDeadline(t.Context(), now.Add(tt.left))
		defer cancel()
		l := newCallLog(leaktest.Logger(slog.DiscardHandler))
		if f, _ := l.failed(ctx, "/clerkgate.v1.UserService/GetUser", now, now, tt.err, true); f.code != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, f.code, tt.want)
		}
	}
}

// TestAnsweredCalls: of each method one call per interval is logged, with the number of
// omitted ones; slow calls are logged in addition.
func TestAnsweredCalls(t *testing.T) {
	const get, stream = "/clerkgate.v1.UserService/GetUser", "/clerkgate.v1.UserService/StreamUsers"
	log := &logBuffer{}
	l := newCallLog(leaktest.Logger(slog.NewJSONHandler(log, nil)))
	call := func(method string, at, took time.Duration, mayBeSlow bool) {
		end := l.epoch.Add(at)
		l.answered(t.Context(), method, end.Add(-took), end, mayBeSlow)
	}
	for range 50 {
		call(get, 0, time.Millisecond, true)
	}
	call(stream, 0, time.Minute, false)
	call(get, time.Second, slowCall-1, true)
	call(get, 2*time.Second, slowCall, true)
	for range 30 {
		call(get, 3*time.Second, time.Minute, true)
	}
	call(get, answerGap, time.Millisecond, true)
	l.tellLeftOut()
	var got []string
	for _, line := range logLines(t, log.String()) {
		got = append(got, fmt.Sprintf("%v %v %v", line["msg"], line["method"], line["left_out"]))
	}
	want := []string{"call " + get + " 0", "call " + stream + " 0"}
	for range 1 + lineBurst {
		want = append(want, "slow call "+get+" <nil>")
	}
	want = append(want, "call "+get+" 50", "more slow calls "+get+" 20")
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	quiet := newCallLog(slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if id := quiet.answered(t.Context(), get, quiet.epoch, quiet.epoch, true); id != "" {
		t.Errorf("a call that is not logged has the id %q", id)
	}
}

// TestLeftOutIsTold: the number of omitted lines is logged every second.
func TestLeftOutIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logBuffer{}
		s := New(Config{Users: &fakeUpstream{}, Quota: &fakeUpstream{}, Logger: leaktest.Logger(slog.NewJSONHandler(log, nil))})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.runPeriodic(ctx)
		}()
		more := func() {
			for range lineBurst + 5 {
				s.edge.calls.failed(t.Context(), "", time.Now(), time.Now(), errNotAllowed, true)
			}
		}
		more()
		time.Sleep(tellGap + time.Millisecond)
		if n := strings.Count(log.String(), `"left_out":5`); n != 1 {
			t.Errorf("told %d times after a second:\n%s", n, log)
		}
		more()
		stop()
		<-done
		if n := strings.Count(log.String(), `"left_out"`); n != 2 {
			t.Errorf("told %d times at the end:\n%s", n, log)
		}
	})
}

// TestALineHasAllOfACall makes calls that fail, succeed and panic, with ids of the
// callers and of the server, and looks for their lines in the log.
func TestALineHasAllOfACall(t *testing.T) {
	const given = "0192f0c4-7d11-7e3a-9d0e-2f7c5b1a4e55"
	up := &fakeUpstream{}
	up.onCall = func(_ context.Context, c call) error {
		if c.method == "invalidate" {
			panic("at the disco")
		}
		if c.method == "count" {
			return nil
		}
		return clerkError(clerkapi.ErrUnavailable)
	}
	for _, tt := range []struct {
		name string
		id   string // set by the caller
		kept bool
		call func(context.Context, *running, *metadata.MD) error
		msg  string
		want map[string]any
	}{
		{"failure", given, true, func(ctx context.Context, r *running, md *metadata.MD) error {
			_, err := r.users.GetUser(ctx, &clerkgatev1.GetUserRequest{UserId: "user_1"}, grpc.Trailer(md))
			return err
		}, "call failed", map[string]any{
			"level": "WARN", "method": "/clerkgate.v1.UserService/GetUser", "code": "Unavailable", "reason": "CLERK_UNAVAILABLE", "clerk_trace_id": "trace_1",
		}},
		{"failure of a stream", given, true, func(ctx context.Context, r *running, md *metadata.MD) error {
			stream, err := r.users.StreamUsers(ctx, &clerkgatev1.StreamUsersRequest{})
			if err == nil {
				_, err = stream.Recv()
				*md = stream.Trailer()
			}
			return err
		}, "call failed", map[string]any{
			"level": "WARN", "method": "/clerkgate.v1.UserService/StreamUsers", "code": "Unavailable", "reason": "CLERK_UNAVAILABLE", "clerk_trace_id": "trace_1",
		}},
		{"answer", "", false, func(ctx context.Context, r *running, md *metadata.MD) error {
			_, err := r.users.CountUsers(ctx, &clerkgatev1.CountUsersRequest{}, grpc.Trailer(md))
			return err
		}, "call", map[string]any{"level": "INFO", "method": "/clerkgate.v1.UserService/CountUsers", "code": "OK"}},
		{"panic", given, true, invalidate, "panic in a call", map[string]any{"level": "ERROR", "panic": "at the disco"}},
		{"panic, for the caller", given, true, invalidate, "call failed", map[string]any{
			"level": "ERROR", "method": "/clerkgate.v1.UserService/InvalidateUsers", "code": "Internal", "reason": "INTERNAL",
		}},
		{"panic without an id", "", false, invalidate, "call failed", map[string]any{"level": "ERROR", "code": "Internal"}},
		{"id that is too long", strings.Repeat("x", 65), false, invalidate, "call failed", nil},
		{"id with a space", "a b", false, invalidate, "call failed", nil},
		{"id that is a key", "sk_test_abc", false, invalidate, "call failed", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, Config{Users: up, Quota: up})
			ctx := metadata.AppendToOutgoingContext(t.Context(), callerKey, "team-a/api")
			if tt.id != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, requestIDKey, tt.id)
			}
			var trailer metadata.MD
			if err := tt.call(ctx, r, &trailer); (err == nil) != (tt.msg == "call") {
				t.Fatal(err)
			}
			id := strings.Join(trailer.Get(requestIDKey), " and ")
			if tt.kept && id != tt.id || !tt.kept && !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(id) {
				t.Errorf("the trailer has the id %q", id)
			}
			for _, line := range logLines(t, r.log.String()) {
				if line["request_id"] != nil && line["request_id"] != id {
					t.Errorf("another id than %s in %v", id, line)
				}
				if line["msg"] != tt.msg {
					continue
				}
				if tt.msg != "panic in a call" {
					if took, ok := line["took"].(float64); !ok || took <= 0 {
						t.Errorf("took %v", line["took"])
					}
					if peer, _ := line["peer"].(string); line["caller"] != "team-a/api" || !strings.HasPrefix(peer, "127.0.0.1:") {
						t.Errorf("caller %v, peer %v", line["caller"], line["peer"])
					}
				}
				for key, want := range tt.want {
					if line[key] != want {
						t.Errorf("%s is %v, want %v", key, line[key], want)
					}
				}
				return
			}
			t.Errorf("no such line in\n%s", r.log)
		})
	}
}

func invalidate(ctx context.Context, r *running, md *metadata.MD) error {
	_, err := r.users.InvalidateUsers(ctx, &clerkgatev1.InvalidateUsersRequest{UserIds: []string{"user_1"}}, grpc.Trailer(md))
	return err
}

// TestBatchWithoutAUser: a batch whose ids all fail is logged as what it is, at the level
// of its failure; one with a user is logged as any call.
func TestBatchWithoutAUser(t *testing.T) {
	up := &fakeUpstream{users: []*clerkgatev1.User{{Id: "user_1"}}, failures: map[string]error{"user_down": clerkapi.ErrUnavailable}}
	r := start(t, Config{Users: up, Quota: up})
	for _, ids := range [][]string{{"user_down", "user_down", "-bad"}, {"-bad"}, {"user_none"}, {"user_1", "-bad"}} {
		if _, err := r.users.BatchGetUsers(t.Context(), &clerkgatev1.BatchGetUsersRequest{UserIds: ids}); err != nil {
			t.Fatalf("%v: %v", ids, err)
		}
	}
	var got []string
	for _, line := range logLines(t, r.log.String()) {
		if line["method"] != nil {
			got = append(got, fmt.Sprint(line["level"], " ", line["msg"], " ", line["reason"]))
		}
	}
	want := "WARN every id of a call failed CLERK_UNAVAILABLE\nINFO every id of a call failed INVALID_ARGUMENT\nINFO call <nil>"
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}
