package telemetry

import "slices"

// Histogram counts values by upper bounds.
type Histogram struct {
	Bounds []float64 // ascending; never to be changed
	Counts []uint64  // values up to each bound and above the one before; the last: above all bounds
	Sum    float64   // of all values
}

func newHistogram(bounds ...float64) Histogram {
	return Histogram{Bounds: bounds, Counts: make([]uint64, len(bounds)+1)}
}

// Count returns the number of values.
func (h Histogram) Count() uint64 {
	var n uint64
	for _, c := range h.Counts {
		n += c
	}
	return n
}

func (h *Histogram) observe(v float64) {
	i, _ := slices.BinarySearch(h.Bounds, v)
	h.Counts[i]++
	h.Sum += v
}

func (h Histogram) clone() Histogram {
	h.Counts = slices.Clone(h.Counts)
	return h
}
