package gate

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/quota"
)

func TestA429IsNoTry(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	clerk.reply = func(n int, _ []string) error {
		if n <= 5 { // more than there are tries
			return limited
		}
		return nil
	}
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		var callers sync.WaitGroup
		callers.Go(func() {
			if r := one(t.Context(), g, "user_1", Options{}); r.Err != nil {
				t.Errorf("the patient one got %v", r.Err)
			}
		})
		callers.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			r := one(ctx, g, "user_1", Options{})
			var e *Error
			if !errors.As(r.Err, &e) || e.Kind != ErrRateLimited || e.RetryAfter != 2*time.Second {
				t.Errorf("the hurried one got %v, want to be told that the key is held for 2s", r.Err)
			}
			if took := time.Since(start); took > 100*time.Millisecond {
				t.Errorf("... and was told so after %v, want at once", took)
			}
		})
		synctest.Wait()
		callers.Wait()
		if s := seenAt(g); s.limited != 5 || s.retries != 0 {
			t.Errorf("counted %+v, want 5 times limited and no retry", s)
		}
	})
}

func TestRetriesStayInsideTriesDeadlineAndBudget(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fails int
		err   error
		want  int // requests
		ok    bool
	}{
		{"a passing failure", 2, down, 3, true},
		{"a lasting failure", 99, down, 3, false},
		{"a bad answer", 1, &clerkapi.Error{Kind: clerkapi.ErrBadAnswer, Status: 200}, 2, true},
		{"a lost connection", 1, lostLink, 2, true},
		{"not sent", 1, unsent, 2, true},
		{"a refused list", 99, refused, 1, false},
		{"the plan's limit", 99, &clerkapi.Error{Kind: clerkapi.ErrPlanLimit, Status: 402}, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clerk := &fakeClerk{latency: 10 * time.Millisecond}
			clerk.reply = func(n int, _ []string) error {
				if n <= tt.fails {
					return tt.err
				}
				return nil
			}
			inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
				_, err := g.List(t.Context(), clerkapi.ListParams{}, Options{})
				if (err == nil) != tt.ok {
					t.Errorf("got %v", err)
				}
				if err != nil && !errors.Is(err, tt.err) {
					t.Errorf("got %v, want Clerk's own error", err)
				}
				if n := clerk.count(); n != tt.want {
					t.Errorf("%d requests, want %d", n, tt.want)
				}
			})
		})
	}
}

func TestRetriesAreATenthOfRequests(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	clerk.reply = func(n int, _ []string) error {
		if n%3 == 0 {
			return down
		}
		return nil
	}
	inBubble(t, clerk, Config{Quota: quota.Config{Limit: 1000}}, func(t *testing.T, g *Gate) {
		for range 200 {
			_, _ = g.List(t.Context(), clerkapi.ListParams{}, Options{})
		}
		if s := seenAt(g); s.retries < s.requests/20 || s.retries > s.requests/10+retryFloor {
			t.Errorf("%d retries among %d requests, want a tenth", s.retries, s.requests)
		}
	})
}

func TestTheRetryBudget(t *testing.T) {
	var b retryBudget
	now := time.Unix(1000, 0)
	for range 3 {
		if !b.spend(now) {
			t.Fatal("three retries per 10 s are always allowed")
		}
	}
	if b.spend(now) {
		t.Fatal("a fourth retry, with no requests")
	}
	for range 50 {
		b.sent(now)
	}
	for range 2 {
		if !b.spend(now) {
			t.Fatal("with 50 requests 5 retries are allowed")
		}
	}
	if b.spend(now) {
		t.Fatal("a sixth retry for 50 requests")
	}
	if !b.spend(now.Add(10 * time.Second)) {
		t.Fatal("after ten seconds all is forgotten")
	}
}
