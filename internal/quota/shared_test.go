package quota_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
)

// TestAReservationIsNotUsedEarly, when the state falls silent before its time.
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
