package gate

import (
	"fmt"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/usage"
)

// sumsOf returns all counts that must never fall.
func sumsOf(s Status) map[string]float64 {
	sums := map[string]float64{}
	caller := func(name string, c usage.Counts) {
		sums[name+" lookups"] = float64(c.Lookups)
		sums[name+" share"] = c.Requests
		sums[name+" refused"] = float64(c.Refused)
	}
	for _, c := range s.Callers.First {
		caller(c.Name, c)
	}
	caller("later ones", s.Callers.Later)
	return sums
}

// TestCallersSumsNeverFall: of thousands of callers most are forgotten, but no sum falls
// and nothing that was counted is lost.
func TestCallersSumsNeverFall(t *testing.T) {
	const names, first = 3000, 100 // those who come first are never forgotten
	clerk := &fakeClerk{}
	clerk.reply = func(n int, _ []string) error {
		if n%5 == 0 {
			return unsent
		}
		return nil
	}
	inBubble(t, clerk, Config{QueueLimit: 2, BreakerFailures: 100}, func(t *testing.T, g *Gate) {
		seen := map[string]float64{}
		for i := range names {
			o := Options{Caller: fmt.Sprint("caller", i)}
			g.cfg.Callers.Asked(o.Caller, 3)
			if i%3 == 0 { // of the three, one is refused
				_ = g.Lookup(t.Context(), userIDs("", 3), o)
				time.Sleep(time.Second)
			}
			if i == 2*first {
				for range 3 {
					_, _ = g.List(t.Context(), clerkapi.ListParams{}, o)
				}
			}
			if i%10 != 0 {
				continue
			}
			now := sumsOf(g.Status())
			for name, before := range seen {
				if after, ok := now[name]; !ok || after < before {
					t.Fatalf("%s fell from %v to %v, if it is there (%v)", name, before, after, ok)
				}
			}
			seen = now
		}
		s := g.Status()
		if busiest := fmt.Sprint("caller", 2*first); s.Callers.Busiest[0].Name != busiest {
			t.Errorf("%+v is the busiest that is remembered, want %s", s.Callers.Busiest[0], busiest)
		}
		if len(s.Callers.Busiest) != 100 || len(s.Callers.First) != first {
			t.Errorf("%d callers shown, %d first ones", len(s.Callers.Busiest), len(s.Callers.First))
		}
		for sum, callers := range map[*usage.Counts][]usage.Counts{&s.Callers.Others: s.Callers.Busiest, &s.Callers.Later: s.Callers.First} {
			for _, c := range callers {
				sum.Lookups += c.Lookups
			}
			if sum.Lookups != 3*names {
				t.Errorf("%d ids asked for, want %d", sum.Lookups, 3*names)
			}
		}
	})
}
