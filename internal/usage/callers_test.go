package usage

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTheBusiestAreShown: callers are shown by the requests spent on them, then by the
// ids asked for. All others are summed.
func TestTheBusiestAreShown(t *testing.T) {
	callers := New()
	for i := range 2 * shownCallers {
		callers.Asked(fmt.Sprint("reads", i), i)
	}
	callers.Get("lists").Pay(1)
	r := callers.Report()
	if got := r.Busiest[0]; got != (Counts{Name: "lists", Requests: 1}) {
		t.Errorf("the busiest is %+v", got)
	}
	if got := r.Busiest[1]; got != (Counts{Name: "reads199", Lookups: 199}) {
		t.Errorf("the next is %+v", got)
	}
	// 0 to 100, since 99 of the callers that read are shown.
	if got := r.Others; got != (Counts{Lookups: 100 * 101 / 2}) {
		t.Errorf("the others are %+v", got)
	}
	if got := r.Later; got != (Counts{Lookups: 100*100 + 99*100/2, Requests: 1}) {
		t.Errorf("those who came later are %+v", got)
	}
}

// TestNothingAskedIsLost: ids are counted for a caller just after it was forgotten,
// before and after its counts were moved.
func TestNothingAskedIsLost(t *testing.T) {
	callers := New()
	for i := range firstCallers { // which are never forgotten
		callers.Get(fmt.Sprint("first", i))
	}
	who := callers.Get("a")
	own := who.counts.Load()
	callers.forget()
	who.asked(3)
	own.lookups.Add(4)
	who.moveLookups(own)
	who.moveLookups(own) // there may be several who do so
	if got := callers.Report().Later; got != (Counts{Lookups: 7}) {
		t.Errorf("counted %+v", got)
	}
}

// TestWhatAForgottenCallerDoesIsCounted: it was forgotten after somebody got it.
func TestWhatAForgottenCallerDoesIsCounted(t *testing.T) {
	callers := New()
	for i := range firstCallers {
		callers.Get(fmt.Sprint("first", i))
	}
	who := callers.Get("a")
	callers.forget()
	callers.Get("a") // a new one
	who.Wait()
	who.Wait()
	who.Leave()
	who.Pay(2)
	who.Refused(3)
	who.OverLimit(4)
	callers.Charge([]*Caller{who, who, who})
	want := Counts{Requests: 3, Queued: 1, Refused: 3, OverLimit: 4}
	if diff := cmp.Diff(want, callers.Report().Others); diff != "" {
		t.Errorf("the others (-want +got):\n%s", diff)
	}
	who.Leave()
	if got := callers.Report().Others.Queued; got != 0 || len(callers.idle) != 1 {
		t.Errorf("%d wait, and %d are idle, want none and the new one", got, len(callers.idle))
	}
}

// TestNamesAreBounded: even if all callers wait for something.
func TestNamesAreBounded(t *testing.T) {
	callers := New()
	const all = 3 * maxCallers
	for i := range all {
		callers.Get(fmt.Sprint("name", i)).Wait()
	}
	if n := len(callers.byName); n != maxCallers {
		t.Errorf("%d callers are remembered", n)
	}
	r := callers.Report()
	queued := r.Others.Queued
	for _, c := range r.Busiest {
		queued += c.Queued
	}
	if queued != all || len(r.Busiest) != shownCallers || len(r.First) != firstCallers {
		t.Errorf("%d wait, want %d; %d are shown, %d came first", queued, all, len(r.Busiest), len(r.First))
	}
}

// TestSumsHoldWhileCallersAreForgotten: names come and go, so that callers are forgotten
// while others use them. Each report's two sums never fall, and at the end they are what
// was counted.
func TestSumsHoldWhileCallersAreForgotten(t *testing.T) {
	const workers, rounds = 8, 1500
	callers := New()
	sum := func(all []Counts, rest Counts) Counts {
		for _, one := range all {
			rest.Lookups += one.Lookups
			rest.Requests += one.Requests
			rest.Queued += one.Queued
			rest.Refused += one.Refused
			rest.OverLimit += one.OverLimit
		}
		return rest
	}
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for i := range rounds {
				// Each name is used by several at about the same time.
				name := fmt.Sprint("name", i+worker/2)
				who := callers.Get(name)
				callers.Asked(name, 3)
				who.Wait()
				who.Pay(1)
				who.Leave()
				callers.Charge([]*Caller{who, who})
				who.Refused(1)
				who.OverLimit(3)
				who.asked(2)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	var before Counts
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		r := callers.Report()
		later := r.Later
		if later.Lookups < before.Lookups || later.Requests < before.Requests || later.Refused < before.Refused || later.OverLimit < before.OverLimit {
			t.Fatalf("the later callers fall from %+v to %+v", before, later)
		}
		before = later
	}
	const all = workers * rounds
	want := Counts{Lookups: 5 * all, Requests: 2 * all, Refused: all, OverLimit: 3 * all}
	r := callers.Report()
	for name, got := range map[string]Counts{"busiest": sum(r.Busiest, r.Others), "first": sum(r.First, r.Later)} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s and the rest (-want +got):\n%s", name, diff)
		}
	}
	if len(callers.idle) != maxCallers-firstCallers {
		t.Errorf("%d are idle, want all but the first", len(callers.idle))
	}
}
