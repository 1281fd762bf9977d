package fairqueue

import "math"

// backlog is a histogram of how much waits at the peers of a level. With it, an estimate of
// what goes before a newcomer need not look at every peer.
//
// Peers take turns. So while an item with x units ahead of it at its own peer waits,
// every other peer gets x units too, or less if it has less: the work that goes before is
// the sum of min(units, x). Peers are counted in bins by their units per weight, four
// bins per octave, so the sum is exact except for the peers in the bin of x, where it is
// off by less than a fifth.
type backlog struct {
	units   [bins]int64 // of the peers in the bin
	weights [bins]int64 // of these peers
	total   int64
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

// move records that a peer with from units now has to.
func (b *backlog) move(from, to, weight int64) {
	i, j := bin(from, weight), bin(to, weight)
	if from > 0 {
		b.units[i] -= from
		b.weights[i] -= weight
	}
	if to > 0 {
		b.units[j] += to
		b.weights[j] += weight
	}
	b.total += to - from
}

// ahead returns how many units go before an item with own units ahead of it at its own
// peer, of the given weight, if all peers keep taking turns.
func (b *backlog) ahead(own, weight int64) int64 {
	x := float64(own) / float64(weight)
	last := bin(own, weight)
	var sum float64
	for i := 1; i < bins; i++ {
		if i < last {
			sum += float64(b.units[i])
		} else {
			sum += min(float64(b.units[i]), x*float64(b.weights[i]))
		}
	}
	return int64(sum)
}
