package gate

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/quota"
)

func TestARefusedBatchIsHalved(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	clerk.reply = func(_ int, ids []string) error {
		for _, id := range ids {
			if id == "user_37" {
				return refused
			}
		}
		return nil
	}
	inBubble(t, clerk, Config{Quota: quota.Config{Limit: 1000}}, func(t *testing.T, g *Gate) {
		for i, r := range g.Lookup(t.Context(), userIDs("", 100), Options{}) {
			if i == 37 {
				if !errors.Is(r.Err, clerkapi.ErrRejected) {
					t.Errorf("the culprit got %v", r.Err)
				}
			} else if r.Err != nil {
				t.Errorf("user %d got %v", i, r.Err)
			}
		}
		if n := clerk.count(); n > 1+maxSearch {
			t.Errorf("%d requests, want at most %d", n, 1+maxSearch)
		}
		if n := seenAt(g).retries; n != 0 {
			t.Errorf("%d retries, halves are none", n)
		}
	})
}

func TestABatchThatIsTooLongIsRemembered(t *testing.T) {
	clerk := &fakeClerk{latency: 10 * time.Millisecond}
	clerk.reply = func(_ int, ids []string) error {
		if len(ids) > 60 {
			return tooLong
		}
		return nil
	}
	inBubble(t, clerk, Config{Quota: quota.Config{Limit: 1000}}, func(t *testing.T, g *Gate) {
		const rounds = 50
		for round := range rounds {
			for _, r := range g.Lookup(t.Context(), userIDs(fmt.Sprint(round, "x"), 100), Options{}) {
				if r.Err != nil {
					t.Error(r.Err)
				}
			}
		}
		// Two each, and the cost of the search for the size.
		if n := clerk.count(); n > 2*rounds+20 {
			t.Errorf("%d rounds cost %d requests, want little more than two each", rounds, n)
		}
	})
}
