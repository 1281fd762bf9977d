package quota

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestARestartDoesNotSpendTheWindowTwice: a Limiter crashes at random moments. The
// arrivals of both lives together keep to the quota.
func TestARestartDoesNotSpendTheWindowTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{
			Limit:  rapid.IntRange(1, 20).Draw(t, "limit"),
			Window: time.Second,
			Burst:  rapid.SampledFrom([]int{0, 0, 30}).Draw(t, "burst"),
		}
		const block = 3
		rtt := time.Duration(rapid.IntRange(0, 100).Draw(t, "rtt")) * time.Millisecond
		var arrivals []time.Time
		live := func(l *Limiter, from, to time.Time) (last Saved) {
			type flight struct {
				p    Permit
				sent time.Time
			}
			var flights []flight
			left := 0
			for now := from; !now.After(to); now = now.Add(time.Millisecond) {
				for len(flights) > 0 && !flights[0].sent.Add(rtt).After(now) {
					l.Answered(flights[0].p, flights[0].sent, now, now, nil)
					flights = flights[1:]
				}
				for {
					if left == 0 {
						last, left = l.Save(now, block), block
					}
					p, ok, _ := l.Take(now)
					if !ok {
						break
					}
					left--
					arrivals = append(arrivals, now) // at once: the earliest that Clerk may count it
					flights = append(flights, flight{p, now})
				}
			}
			return last
		}
		now := epoch
		saved := live(New(cfg, now), now, now.Add(1500*time.Millisecond))
		for range rapid.IntRange(1, 3).Draw(t, "crashes") {
			now = arrivals[len(arrivals)-1].Add(time.Duration(rapid.IntRange(1, 1500).Draw(t, "down ms")) * time.Millisecond)
			text, err := json.Marshal(saved)
			if err != nil {
				t.Fatal(err)
			}
			back, err := ParseSaved(text)
			if err != nil {
				t.Fatal(err)
			}
			saved = live(Restore(cfg, back, now), now, now.Add(1500*time.Millisecond))
		}
		if cfg.Burst == 0 {
			for i := cfg.Limit; i < len(arrivals); i++ {
				if span := arrivals[i].Sub(arrivals[i-cfg.Limit]); span <= cfg.Window {
					t.Fatalf("%d arrivals span %v across a restart", cfg.Limit+1, span)
				}
			}
			return
		}
		level, at := float64(cfg.Burst), epoch
		for _, a := range arrivals {
			level = min(float64(cfg.Burst), level+a.Sub(at).Seconds()*float64(cfg.Limit)) - 1
			at = a
			if level < -1e-3 {
				t.Fatalf("Clerk's bucket is at %v across a restart", level)
			}
		}
	})
}

func TestSavedRubbishIsAnError(t *testing.T) {
	for _, text := range []string{"", "{}", "null", `{"version":1}`, `{"version":2,"ahead":-1}`, `{"version":2,"free_at":["x"]}`} {
		if _, err := ParseSaved([]byte(text)); err == nil {
			t.Errorf("ParseSaved(%q): no error", text)
		}
	}
}

func TestAClockSetBackHoldsNothingForLong(t *testing.T) {
	s := Saved{Version: savedVersion, At: epoch.Add(time.Hour), FreeAt: []time.Time{epoch.Add(time.Hour)}, PausedUntil: epoch.Add(time.Hour)}
	l := Restore(Config{}, s, epoch)
	if got := l.State(epoch.Add(maxPause)).Held; got != 0 {
		t.Errorf("%d permits are still held after %v", got, maxPause)
	}
	if until := l.State(epoch).PausedUntil; until.After(epoch.Add(maxPause)) {
		t.Errorf("paused until %v", until)
	}
}

// TestAServerThatIsMovedAndBack: a Limiter stops, another one that knows nothing of it
// uses the key elsewhere, and the first is restored from its old state. All arrivals
// keep to the quota.
func TestAServerThatIsMovedAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{Limit: rapid.IntRange(1, 20).Draw(t, "limit"), Window: time.Second}
		rtt := time.Duration(rapid.IntRange(0, 100).Draw(t, "rtt")) * time.Millisecond
		var arrivals []time.Time
		// live spends all permits that it may, and returns the state that it leaves when
		// it ends.
		live := func(l *Limiter, from time.Time, d time.Duration) (Saved, time.Time) {
			type flight struct {
				p    Permit
				sent time.Time
			}
			var flights []flight
			now, to := from, from.Add(d)
			for ; now.Before(to); now = now.Add(time.Millisecond) {
				for len(flights) > 0 && !flights[0].sent.Add(rtt).After(now) {
					l.Answered(flights[0].p, flights[0].sent, now, now, nil)
					flights = flights[1:]
				}
				for {
					p, ok, _ := l.Take(now)
					if !ok {
						break
					}
					arrivals = append(arrivals, now)
					flights = append(flights, flight{p, now})
				}
			}
			return l.Save(now, 0), now
		}
		draw := func(name string, most int) time.Duration {
			return time.Duration(rapid.IntRange(1, most).Draw(t, name)) * time.Millisecond
		}
		here, now := live(New(cfg, epoch), epoch, draw("here ms", 1500))
		cfg.FirstWindow = WaitWindow
		now = now.Add(draw("moving ms", 1500))
		_, now = live(New(cfg, now), now, draw("elsewhere ms", 3000))
		now = now.Add(draw("moving back ms", 1500))
		live(Restore(cfg, here, now), now, 2*time.Second)
		for i := cfg.Limit; i < len(arrivals); i++ {
			if span := arrivals[i].Sub(arrivals[i-cfg.Limit]); span <= cfg.Window {
				t.Fatalf("%d arrivals span %v", cfg.Limit+1, span)
			}
		}
	})
}
