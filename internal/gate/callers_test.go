package gate

import (
	"fmt"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
)

// sumsOf returns all counts that must never fall.
func sumsOf(s Status) map[string]float64 {
	sums := map[string]float64{"unsent": float64(s.Stats.Unsent)}
	caller := func(name string, c CallerStatus) {
		sums[name+" lookups"] = float64(c.Lookups)
		sums[name+" share"] = c.Requests
		sums[name+" refused"] = float64(c.Refused)
	}
	for _, c := range s.FirstCallers {
		caller(c.Name, c)
	}
	caller("later ones", s.LaterCallers)
	for r, n := range s.Stats.Requests {
		sums[fmt.Sprint(r)] = float64(n)
	}
	return sums
}

// TestCallersSumsNeverFall: of thousands of callers most are forgotten, but no sum falls
// and nothing that was counted is lost.
func TestCallersSumsNeverFall(t *testing.T) {
	const names = 3 * maxCallers
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
			g.Asked(o.Caller, 3)
			if i%3 == 0 { // of the three, one is refused
				_ = g.Lookup(t.Context(), userIDs("", 3), o)
				time.Sleep(time.Second)
			}
			if i == 2*firstCallers {
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
		if busiest := fmt.Sprint("caller", 2*firstCallers); s.Callers[0].Name != busiest {
			t.Errorf("%+v is the busiest that is remembered, want %s", s.Callers[0], busiest)
		}
		if len(s.Callers) != shownCallers || len(s.FirstCallers) != firstCallers || len(g.callers.byName) > maxCallers {
			t.Errorf("%d callers shown, %d first ones, %d remembered", len(s.Callers), len(s.FirstCallers), len(g.callers.byName))
		}
		for sum, callers := range map[*CallerStatus][]CallerStatus{&s.OtherCallers: s.Callers, &s.LaterCallers: s.FirstCallers} {
			for _, c := range callers {
				sum.Lookups += c.Lookups
			}
			if sum.Lookups != 3*names {
				t.Errorf("%d ids asked for, want %d", sum.Lookups, 3*names)
			}
		}
	})
}

// TestTheBusiestAreShown: callers are shown by the requests spent on them, then by the
// ids asked for. All others are summed.
func TestTheBusiestAreShown(t *testing.T) {
	inBubble(t, &fakeClerk{}, Config{}, func(t *testing.T, g *Gate) {
		for i := range 2 * shownCallers {
			g.Asked(fmt.Sprint("reads", i), i)
		}
		_, _ = g.List(t.Context(), clerkapi.ListParams{}, Options{Caller: "lists"})
		s := g.Status()
		if got := s.Callers[0]; got != (CallerStatus{Name: "lists", Requests: 1}) {
			t.Errorf("the busiest is %+v", got)
		}
		if got := s.Callers[1]; got != (CallerStatus{Name: "reads199", Lookups: 199}) {
			t.Errorf("the next is %+v", got)
		}
		// 0 to 100, since 99 of the callers that read are shown.
		if got := s.OtherCallers; got != (CallerStatus{Lookups: 100 * 101 / 2}) {
			t.Errorf("the others are %+v", got)
		}
		if got := s.LaterCallers; got != (CallerStatus{Lookups: 100*100 + 99*100/2, Requests: 1}) {
			t.Errorf("those who came later are %+v", got)
		}
	})
}

// TestNothingAskedIsLost: ids are counted for a caller just after it was forgotten,
// before and after its counts were moved.
func TestNothingAskedIsLost(t *testing.T) {
	g := New(Config{})
	for i := range firstCallers { // which are never forgotten
		g.callers.get(fmt.Sprint("first", i))
	}
	who := g.callers.get("a")
	own := who.counts.Load()
	g.callers.forget()
	who.countLookups(3)
	own.lookups.Add(4)
	who.moveLookups(own)
	who.moveLookups(own) // there may be several who do so
	if got := g.Status().LaterCallers; got != (CallerStatus{Lookups: 7}) {
		t.Errorf("counted %+v", got)
	}
}
