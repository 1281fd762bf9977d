package gate

import (
	"errors"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
)

func TestTheBreakerOpensAndComesBackByItself(t *testing.T) {
	var back time.Time
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	clerk.reply = func(int, []string) error {
		if back.IsZero() || time.Now().Before(back) {
			return down
		}
		return nil
	}
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		for range 3 { // which one caller's query draws, again and again: a probe decides
			_ = one(t.Context(), g, "user_1", Options{})
		}
		time.Sleep(20 * time.Millisecond) // the probe may be under way
		r := one(t.Context(), g, "user_1", Options{})
		var e *Error
		if !errors.As(r.Err, &e) || e.Kind != ErrBreakerOpen || e.RetryAfter <= 0 || !errors.Is(r.Err, clerkapi.ErrUnavailable) {
			t.Fatalf("got %v, want the breaker open, the time to come back and the cause", r.Err)
		}
		before := clerk.count()
		time.Sleep(10 * time.Second)
		if n := clerk.count() - before; n < 9 || n > 10 {
			t.Errorf("%d probes in 10 s, want one per second", n)
		}
		if s := g.Status().Breaker; s.State != Open || s.TimesOpened < 2 {
			t.Errorf("the breaker is %+v", s)
		}
		clerk.change(func() { back = time.Now() })
		time.Sleep(1100 * time.Millisecond)
		if s := g.Status().Breaker; s.State != Closed {
			t.Errorf("the breaker is %+v after Clerk came back", s)
		}
		if r := one(t.Context(), g, "user_1", Options{}); r.Err != nil {
			t.Error(r.Err)
		}
	})
}

func TestANeutralProbeFreesItsSlot(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	var probes int
	clerk.reply = func(n int, _ []string) error {
		if n <= 7 { // five tries, the probe that these cause, and one that left beside it
			return down
		}
		if probes++; probes == 1 {
			return limited
		}
		return nil
	}
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		for range 3 {
			_ = one(t.Context(), g, "user_1", Options{})
		}
		time.Sleep(1500 * time.Millisecond)
		if s := g.Status().Breaker; s.State != HalfOpen {
			t.Errorf("the breaker is %+v after a probe that got a 429, want half open", s)
		}
		time.Sleep(3500 * time.Millisecond)
		if s := g.Status().Breaker; s.State != Closed {
			t.Errorf("the breaker is %+v, want closed by the second probe", s)
		}
	})
}

func TestARefusedKeyIsProbed(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	good := false
	clerk.reply = func(int, []string) error {
		if !good {
			return badKey
		}
		return nil
	}
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		for range 5 {
			if r := one(t.Context(), g, "user_1", Options{}); !errors.Is(r.Err, clerkapi.ErrKeyRejected) {
				t.Errorf("got %v", r.Err)
			}
		}
		if n := clerk.count(); n != 2 {
			t.Errorf("%d requests with a refused key, want 1 and the probe that believes it", n)
		}
		time.Sleep(31 * time.Second)
		if n := clerk.count() - 2; n < 30 || n > 31 {
			t.Errorf("%d probes in 31 s, want one each second", n)
		}
		time.Sleep(2 * time.Minute)
		before := clerk.count()
		time.Sleep(time.Minute)
		if n := clerk.count() - before; n < 5 || n > 6 {
			t.Errorf("%d probes in a minute of a key that has been refused for long, want one per 10 s", n)
		}
		clerk.change(func() { good = true })
		time.Sleep(keyProbeLast + time.Second)
		if r := one(t.Context(), g, "user_1", Options{}); r.Err != nil {
			t.Errorf("after the key was accepted: %v", r.Err)
		}
	})
}
