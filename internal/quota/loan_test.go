package quota

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// lend takes n permits, which must be free, and lends them for a time.
func lend(t *testing.T, l *Limiter, n int, now time.Time, ttl time.Duration) Loan {
	t.Helper()
	permits := make([]Permit, n)
	for i := range permits {
		var ok bool
		if permits[i], ok, _ = l.Take(now); !ok {
			t.Fatalf("only %d permits of %d", i, n)
		}
	}
	return l.Lend(permits, now.Add(ttl), now)
}

var loanConfigs = map[string]Config{
	"window": {Limit: 100, LostHold: 20 * time.Second},
	"bucket": {Limit: 100, Burst: 100, LostHold: 20 * time.Second},
}

// restart saves a limiter and restores it after a while.
func restart(t rapid.TB, l *Limiter, now time.Time, down time.Duration) *Limiter {
	text, err := json.Marshal(l.Save(now, 0))
	if err != nil {
		t.Fatal(err)
	}
	saved, err := ParseSaved(text)
	if err != nil {
		t.Fatal(err)
	}
	return Restore(l.cfg, saved, now.Add(down))
}

// TestALoanIsHeldToItsEndAndAWindow: and for as long as its requests may be under way,
// also across a restart.
func TestALoanIsHeldToItsEndAndAWindow(t *testing.T) {
	for name, cfg := range loanConfigs {
		for _, restarts := range []bool{false, true} {
			l := New(cfg, epoch)
			lend(t, l, 50, epoch, time.Minute)
			now := epoch.Add(11 * time.Second)
			if restarts {
				l = restart(t, l, epoch.Add(time.Second), 10*time.Second)
			}
			end := time.Minute + cfg.LostHold
			if name == "window" {
				end += 10 * time.Second
			}
			for _, at := range []time.Time{now, epoch.Add(end - time.Millisecond)} {
				if s := l.State(at); s.Held != 50 || s.Available > 50 {
					t.Errorf("%s, restart %v: at %v %+v, want the 50 held", name, restarts, at.Sub(epoch), s)
				}
			}
			if s := l.State(epoch.Add(end + time.Second)); s.Held != 0 {
				t.Errorf("%s, restart %v: in the end %+v, want none held", name, restarts, s)
			}
		}
	}
}

func TestARecalledLoanIsHeldAsItWasUsed(t *testing.T) {
	for name, cfg := range loanConfigs {
		l := New(cfg, epoch)
		loan := lend(t, l, 10, epoch, time.Minute)
		now := epoch.Add(time.Second)
		l.Recall(loan, Use{Sent: 5, Unanswered: 2}, now)
		answered := 3 // held for a window; of a bucket, their tokens are gone
		if name == "bucket" {
			answered = 0
		}
		if s := l.State(now); s.Held != 2+answered {
			t.Errorf("%s: %d held after the recall, want %d", name, s.Held, 2+answered)
		}
		if s := l.State(now.Add(10100 * time.Millisecond)); s.Held != 2 {
			t.Errorf("%s: %d held after a window, want the 2 without an answer", name, s.Held)
		}
		if s := l.State(now.Add(31 * time.Second)); s.Held != 0 {
			t.Errorf("%s: %d held in the end", name, s.Held)
		}
		l.Recall(loan, Use{}, now.Add(2*time.Minute)) // is over
		if s := l.State(now.Add(2 * time.Minute)); s.Held != 0 || s.Available != 100 {
			t.Errorf("%s: after a recall that comes too late: %+v", name, s)
		}
	}
}

// TestNoMoreThanHalfIsLent: permits that are held because of loans count until they are
// free.
func TestNoMoreThanHalfIsLent(t *testing.T) {
	for name, cfg := range loanConfigs {
		l := New(cfg, epoch)
		if n := cfg.MostLent(); n != 50 {
			t.Errorf("%s: %d may be lent, want 50", name, n)
		}
		first := lend(t, l, 30, epoch, time.Minute)
		if !l.MayLend(epoch, 20) || l.MayLend(epoch, 21) {
			t.Errorf("%s: with 30 lent, 20 more may be, and not 21", name)
		}
		now := epoch.Add(time.Second)
		l.Recall(first, Use{Sent: 20, Unanswered: 10}, now)
		if !l.MayLend(now, 40) || l.MayLend(now, 41) {
			t.Errorf("%s: 10 without an answer still count", name)
		}
		now = now.Add(31 * time.Second)
		if !l.MayLend(now, 50) {
			t.Errorf("%s: nothing is lent in the end", name)
		}
		lend(t, l, 50, now, time.Second) // and forgotten
		if now = now.Add(15 * time.Second); l.MayLend(now, 1) {
			t.Errorf("%s: a forgotten loan is still held", name)
		}
		p, ok, _ := l.Take(now)
		if !ok {
			t.Fatalf("%s: nothing left beside loans", name)
		}
		l.Limited(p, now, time.Second, nil)
		if n := l.MostLent(now); name == "window" && n > 49 {
			t.Errorf("%s: %d may be lent with a limit of %d", name, n, l.State(now).Limit)
		}
	}
	if n := (Config{Limit: 1}).MostLent(); n != 1 {
		t.Errorf("of one permit %d may be lent", n)
	}
}

// TestTheEstimateKnowsWhenLoansEnd: the estimate is right within a fifth.
func TestTheEstimateKnowsWhenLoansEnd(t *testing.T) {
	l := New(Config{Limit: 20, LostHold: time.Second, MaxLeased: 0.75}, epoch)
	lend(t, l, 10, epoch, 20*time.Second)
	now := epoch
	const rtt = 50 * time.Millisecond
	type flight struct {
		p    Permit
		sent time.Time
	}
	var flights []flight
	next := func() { // takes the next permit
		for {
			for len(flights) > 0 && !flights[0].sent.Add(rtt).After(now) {
				l.Answered(flights[0].p, flights[0].sent, now, now, nil)
				flights = flights[1:]
			}
			p, ok, again := l.Take(now)
			if ok {
				flights = append(flights, flight{p, now})
				return
			}
			if len(flights) > 0 {
				if done := flights[0].sent.Add(rtt); again.IsZero() || done.Before(again) {
					again = done
				}
			}
			now = again
		}
	}
	for range 15 { // until the other ten come round
		next()
	}
	start := now
	var want [60]time.Duration
	for k := range want {
		want[k] = l.Estimate(now, k+1)
	}
	for k := range want {
		next()
		got := now.Sub(start)
		if diff := (got - want[k]).Abs(); diff > got/5+time.Second {
			t.Errorf("permit %d came after %v, the estimate was %v", k+1, got, want[k])
		}
	}
}

// TestLoansNeverExceedTheQuota lends, recalls, forgets and restarts beside requests.
// Wherever a loan's requests arrive, no window holds more than the quota.
func TestLoansNeverExceedTheQuota(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{Limit: rapid.IntRange(2, 20).Draw(t, "limit"), Window: time.Second, LostHold: 300 * time.Millisecond}
		l := New(cfg, epoch)
		type borrower struct {
			loan Loan
			left int
			end  time.Time
			sent int
		}
		var loans []*borrower
		var arrivals []time.Time
		now := epoch
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "ms")) * time.Millisecond)
			for i := 0; i < len(loans); i++ {
				b := loans[i]
				over := now.After(b.end)
				for b.left > 0 && (over || rapid.IntRange(0, 3).Draw(t, "send") == 0) {
					b.left--
					b.sent++
					at := now
					if over { // at the last moment, and long under way
						at = b.end.Add(cfg.LostHold)
					}
					arrivals = append(arrivals, at)
				}
				if over {
					loans = append(loans[:i], loans[i+1:]...)
					i--
				}
			}
			switch rapid.SampledFrom([]string{"take", "take", "lend", "recall", "restart"}).Draw(t, "what") {
			case "take":
				if p, ok, _ := l.Take(now); ok {
					arrivals = append(arrivals, now)
					l.Answered(p, now, now, now, nil)
				}
			case "lend":
				n := rapid.IntRange(1, cfg.MostLent()).Draw(t, "permits")
				if !l.MayLend(now, n) {
					continue
				}
				var permits []Permit
				for range n {
					if p, ok, _ := l.Take(now); ok {
						permits = append(permits, p)
					}
				}
				end := now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ttl")) * time.Millisecond)
				loans = append(loans, &borrower{loan: l.Lend(permits, end, now), left: len(permits), end: end})
			case "recall":
				if len(loans) == 0 {
					continue
				}
				b := loans[0]
				loans = loans[1:]
				lost := rapid.IntRange(0, b.sent).Draw(t, "unanswered")
				l.Recall(b.loan, Use{Sent: b.sent, Unanswered: lost}, now)
			case "restart":
				saved := l.Save(now, 0)
				l = restart(t, l, now, 50*time.Millisecond)
				now = now.Add(50 * time.Millisecond)
				for _, b := range loans {
					b.loan = saved.Loan(b.loan.Save(), cfg.LostHold, now)
				}
			}
		}
		now = now.Add(10 * time.Second)
		if s := l.State(now); s.Held != 0 || s.Available != cfg.Limit {
			t.Fatalf("in the end %+v, want nothing held", s)
		}
		times := times{}
		for _, a := range arrivals {
			times.add(a)
		}
		for i := cfg.Limit; i < times.len(); i++ {
			if span := times.at(i).Sub(times.at(i - cfg.Limit)); span <= cfg.Window {
				t.Fatalf("%d arrivals span %v", cfg.Limit+1, span)
			}
		}
	})
}
