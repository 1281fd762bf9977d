package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// testKey returns a secret key that ends in suffix.
func testKey(t *testing.T, suffix string) clerkapi.Key {
	t.Helper()
	key, err := clerkapi.ParseKey("sk_test_" + suffix)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// refusedKey returns a Clerk that refuses the configured key, and a function that
// replaces the key with one that Clerk answers in the given way.
func refusedKey(t *testing.T) (clerk *fakeClerk, cfg Config, replace func(answer error)) {
	key, answer := testKey(t, "old"), error(badKey)
	clerk = &fakeClerk{reply: func(int, []string) error { return answer }}
	cfg = Config{BreakerFailures: 100, Key: func() clerkapi.Key {
		clerk.mu.Lock()
		defer clerk.mu.Unlock()
		return key
	}}
	return clerk, cfg, func(a error) { clerk.change(func() { key, answer = testKey(t, "new"), a }) }
}

func TestHealth(t *testing.T) {
	for _, tt := range []struct {
		name    string
		replies []error // to lookups, one after the other
		want    Health
	}{
		{"nothing asked", nil, Health{}},
		{"answered", []error{nil}, Health{KeyTaken: true}},
		{"refused arguments", []error{refused}, Health{KeyTaken: true}},
		{"key refused first", []error{badKey, badKey}, Health{KeyRefused: true}},
		{"key refused once only", []error{badKey, nil}, Health{KeyTaken: true}}, // a probe has contradicted it
		{"key refused later", []error{nil, badKey, badKey}, Health{KeyRefused: true, KeyTaken: true}},
		{"rate limited", []error{limited}, Health{KeyTaken: true}}, // by the probe after the pause
		{"down", []error{down, down, down}, Health{Breaker: Open}},
		{"down after a while", []error{nil, down, down, down}, Health{Breaker: Open, KeyTaken: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clerk := &fakeClerk{latency: time.Millisecond}
			clerk.reply = func(n int, _ []string) error {
				if n <= len(tt.replies) {
					return tt.replies[n-1]
				}
				return nil
			}
			inBubble(t, clerk, Config{BreakerFailures: 1, BreakerOpen: time.Minute}, func(t *testing.T, g *Gate) {
				for range tt.replies {
					_ = one(t.Context(), g, "user_1", Options{})
				}
				if got := g.Health(); got != tt.want {
					t.Errorf("got %+v, want %+v", got, tt.want)
				}
			})
		})
	}
}

// TestTheKeyIsAskedAbout: with AskKey the first request is a probe, for which lookups
// wait. There is one such probe, whatever its answer.
func TestTheKeyIsAskedAbout(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer error
		want   Health
		result error // of a lookup that came meanwhile
	}{
		{"taken", nil, Health{KeyTaken: true}, nil},
		{"refused", badKey, Health{KeyRefused: true}, clerkapi.ErrKeyRejected},
		{"down", down, Health{KeyTaken: true}, nil}, // by the lookup that follows
	} {
		t.Run(tt.name, func(t *testing.T) {
			clerk := &fakeClerk{latency: time.Second}
			clerk.reply = func(n int, ids []string) error {
				if n > 1 {
					return nil
				}
				if len(ids) > 0 {
					t.Error("the first request is a lookup")
				}
				return tt.answer
			}
			inBubble(t, clerk, Config{AskKey: true}, func(t *testing.T, g *Gate) {
				if got := g.Health(); got != (Health{AskingKey: true}) {
					t.Errorf("before the answer: %+v", got)
				}
				if r := one(t.Context(), g, "user_1", Options{}); !errors.Is(r.Err, tt.result) {
					t.Errorf("the lookup got %v", r.Err)
				}
				if got := g.Health(); got != tt.want {
					t.Errorf("got %+v, want %+v", got, tt.want)
				}
				want := 2
				if tt.result != nil {
					want = 1
				}
				if n := clerk.count(); n != want {
					t.Errorf("%d requests, want %d", n, want)
				}
			})
		})
	}
}

// TestNothingKeepsAStartForLong: a start is over after a time even if the quota lets
// nothing go or Clerk hangs. The key is probed when that is possible.
func TestNothingKeepsAStartForLong(t *testing.T) {
	for _, tt := range []struct {
		name    string
		first   quota.FirstWindow
		latency time.Duration
	}{
		{"quota spent", quota.WaitWindow, 0},
		{"Clerk hangs", quota.FullWindow, 12 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clerk := &fakeClerk{latency: tt.latency, reply: func(int, []string) error { return badKey }}
			cfg := Config{AskKey: true, Quota: quota.Config{FirstWindow: tt.first}}
			inBubble(t, clerk, cfg, func(t *testing.T, g *Gate) {
				for _, step := range []struct {
					at   time.Duration
					want Health
				}{
					{askFor - time.Millisecond, Health{AskingKey: true}},
					{askFor, Health{}},
					{13 * time.Second, Health{KeyRefused: true}},
				} {
					time.Sleep(step.at - time.Since(g.breaker.since))
					if got := g.Health(); got != step.want {
						t.Errorf("after %v: %+v, want %+v", step.at, got, step.want)
					}
				}
			})
		})
	}
}

// TestLookupsOutlastAHangAtTheStart: if the first request hangs, lookups go once the start
// is over.
func TestLookupsOutlastAHangAtTheStart(t *testing.T) {
	clerk := &hanging{fakeClerk: &fakeClerk{latency: 100 * time.Millisecond}}
	inBubbleOf(t, clerk, clerk.fakeClerk, Config{AskKey: true}, func(t *testing.T, g *Gate) {
		start := time.Now()
		clerk.hang(start, start.Add(time.Second))
		if r := one(t.Context(), g, "user_1", Options{}); r.Err != nil || time.Since(start) > askFor+time.Second {
			t.Errorf("%v after %v, want an answer soon after %v", r.Err, time.Since(start), askFor)
		}
		if got := g.Health(); got != (Health{KeyTaken: true}) {
			t.Errorf("got %+v, want the key taken", got)
		}
	})
}

// TestAnUntriedKeyIsNotTaken: a caller may try the key that has replaced a refused one,
// but the health stays at the refusal until Clerk has answered.
func TestAnUntriedKeyIsNotTaken(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer error // to the new key
		want   Health
	}{
		{"taken", nil, Health{KeyTaken: true}},
		{"refused", badKey, Health{KeyRefused: true}},
		{"down", down, Health{KeyRefused: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clerk, cfg, replace := refusedKey(t)
			clerk.latency = 100 * time.Millisecond
			inBubble(t, clerk, cfg, func(t *testing.T, g *Gate) {
				_ = one(t.Context(), g, "user_1", Options{})
				synctest.Wait() // the gate has looked at the key
				replace(tt.answer)
				ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
				defer cancel()
				answered := make(chan struct{})
				go func() {
					defer close(answered)
					_ = one(ctx, g, "user_1", Options{})
				}()
				time.Sleep(50 * time.Millisecond)
				if got := g.Health(); clerk.count() != 3 || got != (Health{KeyRefused: true}) {
					t.Errorf("while the new key is tried, in request %d: %+v", clerk.count(), got)
				}
				<-answered
				if got := g.Health(); got != tt.want {
					t.Errorf("in the end: %+v, want %+v", got, tt.want)
				}
			})
		})
	}
}

// TestLowIsNoWordOfTheFirstWindow: permits that are held back after a start do not count
// as a quota that runs out. A quota that does run out is logged once.
func TestLowIsNoWordOfTheFirstWindow(t *testing.T) {
	for _, first := range []quota.FirstWindow{quota.FullWindow, quota.SlowWindow} {
		inBubble(t, &fakeClerk{}, Config{Quota: quota.Config{FirstWindow: first}}, func(t *testing.T, g *Gate) {
			told := func(when string, want int) {
				t.Helper()
				if n := seenAt(g).low; n != want {
					t.Errorf("first window %d, %s: told %d times, want %d", first, when, n, want)
				}
			}
			_ = one(t.Context(), g, "user_1", Options{})
			told("after a request", 0)
			time.Sleep(11 * time.Second)
			told("after a window", 0)
			for range 95 {
				_, _ = g.Count(t.Context(), nil, Options{})
			}
			told("after 95 requests", 1)
		})
	}
}

// TestARefusedKeyIsTriedAgain: a mistaken refusal that ends within a minute is noticed
// within a second. One that lasts costs a probe every ten seconds.
func TestARefusedKeyIsTriedAgain(t *testing.T) {
	for _, lasts := range []time.Duration{500 * time.Millisecond, 3 * time.Second, 9 * time.Second, 55 * time.Second, 10 * time.Minute} {
		clerk := &fakeClerk{latency: 50 * time.Millisecond, reply: first(lasts, badKey)}
		inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
			start := time.Now()
			for one(t.Context(), g, "user_1", Options{}).Err != nil {
				time.Sleep(50 * time.Millisecond)
			}
			late := time.Since(start) - lasts
			if most := 2 * time.Second; late > most && lasts < keyProbeSoon {
				t.Errorf("a key that is refused for %v is taken %v after that, want %v at most", lasts, late, most)
			}
			if most := keyProbeLast + time.Second; late > most {
				t.Errorf("a key that is refused for %v is taken %v after that, want %v at most", lasts, late, most)
			}
			if n, most := clerk.count(), int((min(lasts, keyProbeSoon)/time.Second)+(lasts/keyProbeLast))+6; n > most {
				t.Errorf("a key that is refused for %v costs %d requests, want %d at most", lasts, n, most)
			}
		})
	}
}

// TestAnotherKeyIsProbedAtOnce: without any call, a key that replaces one that has been
// refused for long is probed within a second, once. If it is refused too, or the probe
// fails, the probes go on.
func TestAnotherKeyIsProbedAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer error // to the new key
		want   Health
		more   int // probes in the 9 s after its first
	}{
		{"taken", nil, Health{KeyTaken: true}, 0},
		{"refused", badKey, Health{KeyRefused: true}, 8}, // it is new
		{"down", down, Health{KeyRefused: true}, 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clerk, cfg, replace := refusedKey(t)
			inBubble(t, clerk, cfg, func(t *testing.T, g *Gate) {
				_ = one(t.Context(), g, "user_1", Options{})
				time.Sleep(2 * time.Minute)
				for before := clerk.count(); clerk.count() == before; {
					time.Sleep(10 * time.Millisecond)
				}
				before := clerk.count()
				time.Sleep(4500 * time.Millisecond)
				if n := clerk.count() - before; n != 0 {
					t.Errorf("%d requests in the half of 10 s while the key is the same", n)
				}
				replace(tt.answer)
				time.Sleep(time.Second)
				if n := clerk.count() - before; n != 1 {
					t.Errorf("%d requests a second after the key has changed, want 1", n)
				}
				if got := g.Health(); got != tt.want {
					t.Errorf("got %+v, want %+v", got, tt.want)
				}
				time.Sleep(8400 * time.Millisecond) // not to the moment of a probe
				if n := clerk.count() - before - 1; n != tt.more {
					t.Errorf("%d further probes, want %d", n, tt.more)
				}
			})
		})
	}
}

func TestAFailureIsLogged(t *testing.T) {
	failure := &clerkapi.Error{
		Kind: clerkapi.ErrUnavailable, Status: 503, Message: "words of Clerk's", Meta: clerkapi.Meta{TraceID: "trace_1"},
	}
	for _, tt := range []struct {
		endpoint string
		ids      float64
		ask      func(context.Context, *Gate) error
	}{
		{"get", 1, func(ctx context.Context, g *Gate) error { return one(ctx, g, "user_1", Options{}).Err }},
		{"lookup", 2, func(ctx context.Context, g *Gate) error { return g.Lookup(ctx, userIDs("", 2), Options{})[1].Err }},
		{"list", 0, func(ctx context.Context, g *Gate) error {
			_, err := g.List(ctx, clerkapi.ListParams{}, Options{})
			return err
		}},
		{"count", 0, func(ctx context.Context, g *Gate) error {
			_, err := g.Count(ctx, nil, Options{})
			return err
		}},
		{"probe", 0, func(context.Context, *Gate) error { return failure }},
	} {
		t.Run(tt.endpoint, func(t *testing.T) {
			var log bytes.Buffer
			clerk := &fakeClerk{latency: 20 * time.Millisecond, reply: func(int, []string) error { return failure }}
			cfg := Config{AskKey: tt.endpoint == "probe", Logger: slog.New(slog.NewJSONHandler(&log, nil))}
			inBubble(t, clerk, cfg, func(t *testing.T, g *Gate) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if err := tt.ask(ctx, g); !errors.Is(err, clerkapi.ErrUnavailable) {
					t.Errorf("got %v", err)
				}
				time.Sleep(time.Second)
			})
			lines := json.NewDecoder(&log)
			got := map[string]any{}
			for got["msg"] != "a request to Clerk failed" {
				clear(got)
				if err := lines.Decode(&got); err != nil {
					t.Fatal(err)
				}
			}
			want := map[string]any{
				"level": "WARN", "endpoint": tt.endpoint, "took": float64(20 * time.Millisecond), "status": 503.0,
				"clerk_trace_id": "trace_1", "clerk_says": "words of Clerk's", "error": failure.Error(),
			}
			if tt.ids > 0 {
				want["ids"] = tt.ids
			}
			for key, v := range want {
				if got[key] != v {
					t.Errorf("%s is %v, want %v", key, got[key], v)
				}
			}
			if _, has := got["ids"]; has != (tt.ids > 0) {
				t.Errorf("ids: %v", got["ids"])
			}
		})
	}
}
