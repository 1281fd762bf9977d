package quota_test

import (
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
)

// TestAReservationIsNotUsedEarly: also if the state falls silent before its time.
func TestAReservationIsNotUsedEarly(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := quota.NewShared(quota.Config{}, "a", now)
	for _, grants := range []string{"", "5000000"} { // the first reply only makes it share
		r := s.Report(now, [2]int{1, 0})
		s.Reply(r, now, now, quota.Reply{
			Status: "ok", Now: strconv.FormatInt(now.UnixMicro(), 10), Epoch: "e", Again: -1, Grants: grants,
			Limit: 100, Capacity: 100, Quota: 100, Window: 10_000_000, Replicas: 1,
		}, nil)
	}
	silent := now.Add(time.Second)
	if got := s.ShareState(silent); got.Decider != quota.DecidesFallback || got.Allowance != 1 {
		t.Fatalf("%+v, want the one permit that was reserved", got)
	}
	if _, ok, again := s.Take(silent); ok || !again.Equal(now.Add(5*time.Second)) {
		t.Errorf("taken at once: %v, else to be asked for in %v", ok, again.Sub(silent))
	}
	if _, ok, _ := s.Take(now.Add(5 * time.Second)); !ok {
		t.Error("not to be had at its time")
	}
}

func TestALate429TellsWhatIsLeftOfIt(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		retryAfter, later time.Duration
		want              []quota.Microseconds
	}{
		"at once":               {time.Minute, 0, []quota.Microseconds{60_000_000}},
		"later":                 {time.Minute, 40 * time.Second, []quota.Microseconds{20_000_000}},
		"over":                  {time.Minute, time.Minute, nil},
		"almost over":           {time.Minute, time.Minute - 1, []quota.Microseconds{1}},
		"a short one":           {time.Millisecond, 900 * time.Millisecond, []quota.Microseconds{100_000}},
		"longer than believed":  {time.Hour, 0, []quota.Microseconds{300_000_000}},
		"a guess":               {0, 900 * time.Millisecond, []quota.Microseconds{0}},
		"a guess that is over":  {0, time.Second, nil},
		"a date that is passed": {-time.Second, 0, []quota.Microseconds{0}},
	} {
		s := quota.NewShared(quota.Config{}, "a", start)
		now := start.Add(time.Second)
		p, ok, _ := s.Take(now)
		if !ok {
			t.Fatal("no permit without a state")
		}
		s.Limited(p, now, c.retryAfter, nil)
		var got []quota.Microseconds
		for _, e := range s.Report(now.Add(c.later), [2]int{}).Limited {
			got = append(got, e.After)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestOf429sOnlyTheLatestAreTold: each until its report was answered.
func TestOf429sOnlyTheLatestAreTold(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := quota.NewShared(quota.Config{Limit: 1000}, "a", now)
	refuse := func(n int) {
		for i := range n {
			s.Limited(quota.Permit{}, now, time.Duration(i+2)*time.Second, nil)
		}
	}
	refuse(105)
	r := s.Report(now, [2]int{})
	if n := len(r.Limited); n != 100 || r.Limited[0].After != 7_000_000 {
		t.Errorf("%d told, from %+v on, want the latest 100", n, r.Limited[0])
	}
	refuse(3)
	s.Reply(r, now, now, quota.Reply{Status: "ok", Now: "1", Epoch: "e", Again: -1, Window: 10_000_000, Limit: 1000, Replicas: 1}, nil)
	if n := len(s.Report(now, [2]int{}).Limited); n != 3 {
		t.Errorf("%d told after the reply, want the 3 that came meanwhile", n)
	}
}

// TestAReportWithoutEffectIsNotRepeatedAtOnce: whatever prevents the effect, and
// whatever is wanted.
func TestAReportWithoutEffectIsNotRepeatedAtOnce(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	reply := quota.Reply{
		Status: "ok", Now: strconv.FormatInt(now.UnixMicro(), 10), Epoch: "e",
		Limit: 100, Capacity: 100, Quota: 100, Window: 10_000_000, Replicas: 1,
	}
	stale, jump := reply, reply
	stale.Status, jump.Status = "stale", "jump"
	for name, c := range map[string]struct {
		reply quota.Reply
		err   error
	}{"stale": {stale, nil}, "jump": {jump, nil}, "none": {quota.Reply{}, errors.New("away")}} {
		for _, wants := range [][2]int{{}, {1, 0}, {0, 1}} {
			s := quota.NewShared(quota.Config{}, "a", now)
			for range 2 { // the first only makes it share
				s.Reply(s.Report(now, wants), now, now, reply, nil)
			}
			s.Reply(s.Report(now, wants), now, now, c.reply, c.err)
			if in := s.Due(now, wants).Sub(now); in < 10*time.Millisecond || in > 200*time.Millisecond {
				t.Errorf("%s, wanting %v: the next report is due in %v", name, wants, in)
			}
		}
	}
}
