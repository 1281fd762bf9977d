package quotatest

import (
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
)

func a429HoldsTheKeyAndOneProbeGoesFirst(t *testing.T, limiter Make) {
	l := limiter(t, quota.Config{}, epoch)
	a, b := take(t, l, epoch), take(t, l, epoch)
	now := epoch.Add(50 * time.Millisecond)
	l.Limited(a, now, 3*time.Second, nil)
	l.Limited(b, now, 3*time.Second, nil) // of the same event: no longer pause
	if got := refused(t, l, now); got != 3*time.Second {
		t.Errorf("paused for %v, want 3s", got)
	}
	now = now.Add(3 * time.Second)
	probe := take(t, l, now)
	if got := refused(t, l, now); got != -1 {
		t.Errorf("beside the probe: ask again in %v, want to be told to wait for it", got)
	}
	l.Lost(probe, now.Add(time.Second)) // it has shown nothing: another may go
	now = now.Add(time.Second)
	probe = take(t, l, now)
	l.Limited(probe, now, time.Second, nil)
	if got, want := refused(t, l, now), 1500*time.Millisecond; got != want {
		t.Errorf("after a second 429 paused for %v, want Retry-After and W/20: %v", got, want)
	}
	now = now.Add(1500 * time.Millisecond)
	probe = take(t, l, now)
	l.Answered(probe, now, now, now, nil)
	if got := refused(t, l, now); got <= 0 {
		t.Errorf("after the probe the rest must follow slowly; got %v", got)
	}
}

func pausesWithoutRetryAfterGrow(t *testing.T, limiter Make) {
	const longest = 5 * time.Minute
	l := limiter(t, quota.Config{Window: time.Second}, epoch)
	now := epoch
	for _, want := range []time.Duration{1, 2, 4, 8} {
		p := take(t, l, now)
		l.Limited(p, now, 0, nil)
		if got := refused(t, l, now); got < want*time.Second || got > want*time.Second+200*time.Millisecond {
			t.Errorf("paused for %v, want about %vs", got, int(want))
		}
		now = now.Add(refused(t, l, now))
	}
	p := take(t, l, now)
	l.Limited(p, now, time.Hour, nil)
	if got := refused(t, l, now); got > longest+time.Second {
		t.Errorf("a Retry-After of an hour pauses for %v, want it believed up to %v", got, longest)
	}
}

// oneEventIsOneStep: all 429s to requests that left before the pause began are one
// event, which lengthens the guessed pause by one step.
func oneEventIsOneStep(t *testing.T, limiter Make) {
	l := limiter(t, quota.Config{}, epoch)
	now := epoch
	var sent []quota.Permit
	for range 43 {
		var p quota.Permit
		p, now = takeNext(t, l, now)
		sent = append(sent, p)
	}
	for _, p := range sent {
		now = now.Add(time.Millisecond)
		l.Limited(p, now, 0, nil)
	}
	until := l.State(now).PausedUntil
	if got := until.Sub(now); got > 1100*time.Millisecond || got < 500*time.Millisecond {
		t.Errorf("43 refusals of one event pause for %v, want the 1s of one", got)
	}
	now = until
	p := take(t, l, now)
	l.Limited(p, now, 0, nil)
	if got := refused(t, l, now); got < 2*time.Second || got > 3*time.Second {
		t.Errorf("the next event pauses for %v, want the 2s of the next step, and W/20", got)
	}
}

// isolatedRefusalsCostLittle: a 429 now and then, while next to nothing is sent, shows
// little about the limit.
func isolatedRefusalsCostLittle(t *testing.T, limiter Make) {
	l := limiter(t, quota.Config{Limit: 1000}, epoch)
	now := epoch
	for range 6 {
		for i := range 12 {
			var p quota.Permit
			if p, now = takeNext(t, l, now); i == 11 {
				l.Limited(p, now, time.Second, nil)
				refused(t, l, now)
			} else {
				l.Answered(p, now, now, now, nil)
			}
			now = now.Add(time.Second + 50*time.Millisecond)
		}
		if got := l.State(now).Limit; got < 950 {
			t.Errorf("limit is %d after an isolated 429, want nearly all of 1000", got)
		}
	}
	if got := l.State(now.Add(time.Minute)).Limit; got != 1000 {
		t.Errorf("limit is %d a minute later, want 1000", got)
	}
}

func theLimitFallsAndRegrows(t *testing.T, limiter Make) {
	l := limiter(t, quota.Config{}, epoch)
	now := epoch
	var p quota.Permit
	for range 80 {
		p, now = takeNext(t, l, now)
		l.Answered(p, now, now, now, nil)
	}
	p, now = takeNext(t, l, now)
	l.Limited(p, now, time.Second, nil)
	if got := l.State(now).Limit; got != 76 {
		t.Errorf("limit is %d, want 76: 95 %% of the 80 accepted", got)
	}
	w := l.Config().Window
	if got := l.State(now.Add(6*w - 1)).Limit; got != 76 {
		t.Errorf("limit is %d before six windows have passed, want 76", got)
	}
	if got := l.State(now.Add(6 * w)).Limit; got != 77 {
		t.Errorf("limit is %d after six windows, want 77", got)
	}
	if got := l.State(now.Add(200 * w)).Limit; got != 100 {
		t.Errorf("limit is %d in the end, want 100", got)
	}
}

func headersOnlyTighten(t *testing.T, limiter Make) {
	l := limiter(t, quota.Config{}, epoch)
	p := take(t, l, epoch)
	l.Answered(p, epoch, epoch, epoch, &quota.Headers{Remaining: 2, Reset: 4 * time.Second})
	sent := 0
	for now := epoch; now.Before(epoch.Add(4 * time.Second)); now = now.Add(time.Millisecond) {
		if _, ok, _ := l.Take(now); ok {
			sent++
		}
	}
	if sent > 2 {
		t.Errorf("%d sent where 2 remained", sent)
	}
	for range 40 { // with the reset all is as it was
		take(t, l, epoch.Add(4*time.Second))
	}

	l = limiter(t, quota.Config{Limit: 1}, epoch)
	p = take(t, l, epoch)
	l.Answered(p, epoch, epoch, epoch, &quota.Headers{Remaining: 999, Reset: time.Second})
	if got := refused(t, l, epoch); got < 10*time.Second {
		t.Errorf("a generous header let a request through in %v", got)
	}
}
