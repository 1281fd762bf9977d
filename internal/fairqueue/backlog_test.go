package fairqueue

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// TestBacklogKnowsWhatGoesBefore compares the estimate with the sum over all lines.
func TestBacklogKnowsWhatGoesBefore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b backlog
		type ln struct{ units, weight int64 }
		lines := make([]ln, rapid.IntRange(1, 50).Draw(t, "lines"))
		for i := range lines {
			lines[i].weight = rapid.Int64Range(1, 5).Draw(t, "weight")
		}
		for range rapid.IntRange(0, 200).Draw(t, "moves") {
			l := &lines[rapid.IntRange(0, len(lines)-1).Draw(t, "line")]
			to := rapid.Int64Range(0, 100_000).Draw(t, "units")
			b.move(l.units, to, l.weight)
			l.units = to
		}
		me := lines[0]
		var want float64
		for _, l := range lines {
			want += math.Min(float64(l.units), float64(me.units)/float64(me.weight)*float64(l.weight))
		}
		got := float64(b.ahead(me.units, me.weight))
		if math.Abs(got-want) > want/5+1 {
			t.Fatalf("%v units go before, want %v", got, want)
		}
	})
}
