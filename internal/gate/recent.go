package gate

import "time"

// recent counts what happened in the last ten seconds, to the second.
type recent struct {
	counts [10]int
	second int64 // of the newest count
}

func (r *recent) advance(now time.Time) {
	s := now.Unix()
	for r.second < s {
		r.second = max(r.second+1, s-int64(len(r.counts)))
		r.counts[r.second%int64(len(r.counts))] = 0
	}
}

func (r *recent) add(now time.Time) {
	r.advance(now)
	r.counts[r.second%int64(len(r.counts))]++
}

func (r *recent) sum(now time.Time) int {
	r.advance(now)
	n := 0
	for _, c := range r.counts {
		n += c
	}
	return n
}
