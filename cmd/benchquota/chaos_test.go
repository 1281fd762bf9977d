package main

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

func newChaos() *chaos {
	return &chaos{
		emails: map[string]string{"user_1": "a@example.com"}, written: map[string]int64{}, acked: map[string]int64{},
		calls: map[string]int{}, broken: map[promise][]string{},
	}
}

// TestCallsAreJudged checks which calls break an invariant on a machine whose control was
// never slow.
func TestCallsAreJudged(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	lost := ending{lost: errors.New("reset")}
	late := ending{code: codes.DeadlineExceeded, reason: "DEADLINE_EXCEEDED"}
	for _, c := range []struct {
		name  string
		calls []callMade
		want  promise // that is broken
	}{
		{"in time", []callMade{{took: s, timeout: s}}, ""},
		{"within 50 ms", []callMade{{took: s + 50*ms, timeout: s, ending: late}}, ""},
		{"late", []callMade{{took: s + 51*ms, timeout: s}}, deadlines},
		{"late, and away for a while", []callMade{{took: s + 51*ms, timeout: s, killed: true}}, ""},
		{"no reason", []callMade{{took: 1, timeout: s, ending: ending{code: codes.Unavailable}}}, outcomes},
		{"lost before its deadline", []callMade{{took: s - ms, timeout: s, ending: lost}}, outcomes},
		{"lost with its server", []callMade{{took: s - ms, timeout: s, ending: lost, killed: true}}, ""},
		{"reset at its deadline", []callMade{{took: s, timeout: s, ending: lost}}, ""},
		{"two of two", []callMade{{took: s, timeout: s, ending: lost}, {took: s, timeout: s, ending: lost}}, outcomes},
		{"frozen beyond its deadline", []callMade{
			{took: s - ms, frozen: s, timeout: s, ending: lost}, {took: s - ms, frozen: s, timeout: s, ending: lost},
		}, ""},
	} {
		x := newChaos()
		for _, call := range c.calls {
			x.note(call)
		}
		x.judgeDeadlines(&control{})
		for _, p := range []promise{outcomes, deadlines} {
			if got := len(x.broken[p]) > 0; got != (p == c.want) {
				t.Errorf("%s: %q is broken: %t (%v)", c.name, p, got, x.broken[p])
			}
		}
	}
}

func TestAnswersAreJudged(t *testing.T) {
	for _, c := range []struct {
		name          string
		id            string
		version       int64
		acked, served int64
		want          promise // that is broken
	}{
		{"the newest", "user_1", 7, 7, 7, ""},
		{"somebody else", "user_2", 9, 7, 7, identity},
		{"older than acknowledged", "user_1", 6, 7, 0, acknowledged},
		{"older than served", "user_1", 6, 0, 7, versions},
	} {
		x := newChaos()
		a := &actor{chaos: x, node: &node{seen: map[string]int64{}, life: 1}}
		u := &clerkgatev1.User{Id: c.id, UpdatedAt: timestamppb.New(time.UnixMilli(c.version))}
		a.judge(1, "user_1", u, &clerkgatev1.Freshness{}, c.acked, c.served)
		for _, p := range []promise{identity, versions, acknowledged} {
			if got := len(x.broken[p]) > 0; got != (p == c.want) {
				t.Errorf("%s: %q is broken: %t", c.name, p, got)
			}
		}
	}
	x := newChaos()
	a := &actor{chaos: x, node: &node{seen: map[string]int64{}, life: 2}}
	a.judge(1, "user_1", &clerkgatev1.User{Id: "user_1"}, &clerkgatev1.Freshness{}, 0, 7)
	if len(x.broken[versions]) > 0 {
		t.Error("an answer of a life that has ended was compared with those of the next")
	}
}

func TestRecoveriesAreJudged(t *testing.T) {
	if r := recoveryRow("x", []recoveryTime{{took: 2 * time.Second, allowed: 2 * time.Second}}); !r.met {
		t.Error("in time, and not met")
	}
	if r := recoveryRow("x", []recoveryTime{{took: 1, allowed: 2}, {took: 3, allowed: 2}}); r.met {
		t.Error("late, and met")
	}
}
