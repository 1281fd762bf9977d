package quota

import "time"

// releases holds when permits come free by themselves, for reports.
type releases struct {
	known times
	fresh []time.Time // those that were not reported yet
}

func (r *releases) add(t time.Time) {
	r.known.add(t)
	r.fresh = append(r.fresh, t)
}

// report returns the times until permits come free: of all, or of those that were not
// reported yet.
func (r *releases) report(now time.Time, all bool) []Microseconds {
	r.known.dropUntil(now)
	if all {
		r.fresh = r.known.all()
	}
	left := []Microseconds{}
	for _, t := range r.fresh {
		if t.After(now) {
			left = append(left, microsUp(t.Sub(now)))
		}
	}
	r.fresh = nil
	return left
}
