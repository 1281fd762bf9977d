package fairqueue

import "math"

// backlog is how much waits in the lines of a level, sorted roughly by line, so
// that what goes before a newcomer is known without asking every line.
//
// Lines take turns, so while a want of its own line with x units ahead of it
// waits, every other line gets x too, or less if it has less:
// the work that goes before is the sum of min(units, x). Lines are counted in
// bins by their units per weight, four bins to an octave, so the sum is exact
// but for lines in x's own bin, and there off by less than a fifth.
type backlog struct {
	units [bins]int64 // of the lines in the bin
	lines [bins]int64 // their weights
	total int64
}

const (
	binsPerOctave = 4
	bins          = 24*binsPerOctave + 2
)

func bin(units, weight int64) int {
	if units <= 0 {
		return 0
	}
	b := 1 + int(math.Log2(float64(units)/float64(weight))*binsPerOctave)
	return min(max(b, 1), bins-1)
}

// move counts a line's units anew.
func (b *backlog) move(from, to, weight int64) {
	i, j := bin(from, weight), bin(to, weight)
	if from > 0 {
		b.units[i] -= from
		b.lines[i] -= weight
	}
	if to > 0 {
		b.units[j] += to
		b.lines[j] += weight
	}
	b.total += to - from
}

// ahead is how many units go before a want with own units ahead of it in its own
// line, of the weight given, if all lines keep taking turns.
func (b *backlog) ahead(own, weight int64) int64 {
	x := float64(own) / float64(weight)
	last := bin(own, weight)
	var sum float64
	for i := 1; i < bins; i++ {
		if i < last {
			sum += float64(b.units[i])
		} else {
			sum += min(float64(b.units[i]), x*float64(b.lines[i]))
		}
	}
	return int64(sum)
}
