package page

import "time"

const (
	// span is the number of samples: ten minutes at one a second.
	span = 600
	// every is the time from one sample to the next.
	every = time.Second
	// maxEvents is the maximum number of events.
	maxEvents = 40
)

// sample is one second in the plots.
type sample struct {
	at            int64 // Unix time in ms
	used          int32 // requests to Clerk that ended in the window before
	held          int32 // permits
	limit         int32 // permits that may be held
	waiting       int32
	inFlight      int32
	inFlightLimit int32
	replicas      int32
	marks         uint8
}

// Marks of samples.
const (
	markPaused  = 1 << iota // a 429 pauses the key
	markOutage              // the breaker is not closed
	markKey                 // Clerk refuses the key
	markLimited             // a 429 came
	markRedis               // Redis does not answer
)

// event is a change that is kept for longer than its sample.
type event struct {
	at   time.Time
	kind string // clerk, key, quota, redis or server
	text string
}

// history holds the last ten minutes, and the last events. Its memory is allocated once.
// It is not safe for concurrent use.
type history struct {
	samples [span]sample
	deltas  []uint32 // of each sample, by counter
	next    int      // where the next sample goes
	count   int      // how many samples there are
	early   int      // how many of the newest are of the last minute

	last   []int64 // the counters as they were last read
	recent []int64 // sums of deltas over all samples
	lately []int64 // sums of deltas over the last minute

	events    [maxEvents]event
	nextEvent int // events so far
}

func newHistory() *history {
	n := len(counters)
	return &history{
		deltas: make([]uint32, span*n), recent: make([]int64, n), lately: make([]int64, n),
	}
}

// index returns the index of the sample that is a number of samples old; 0 is the newest.
func (h *history) index(ago int) int { return (h.next - 1 - ago + 2*span) % span }

// of returns the deltas of the sample at i.
func (h *history) of(i int) []uint32 {
	n := len(counters)
	return h.deltas[i*n : (i+1)*n]
}

// add adds a second. The first one only sets the start of the counters.
func (h *history) add(s sample, r *reading) {
	h.expire(s.at)
	if h.count == span {
		h.forget()
	}
	deltas := h.of(h.next)
	first := h.last == nil
	if first {
		h.last = make([]int64, len(counters))
	}
	for i, c := range counters {
		now := c.read(r)
		d := max(0, now-h.last[i])
		if first {
			d = 0
		}
		h.last[i] = now
		deltas[i] = uint32(min(d, 1<<32-1))
		h.recent[i] += int64(deltas[i])
		h.lately[i] += int64(deltas[i])
	}
	h.samples[h.next] = s
	h.next = (h.next + 1) % span
	h.count++
	h.early++
}

// expire forgets samples that are ten minutes old at now, in Unix ms. There may be fewer
// than span of them: after the machine has slept, seconds are missing.
func (h *history) expire(now int64) {
	for h.count > 0 && now-h.samples[h.index(h.count-1)].at >= span*every.Milliseconds() {
		h.forget()
	}
	for h.early > 0 && now-h.samples[h.index(h.early-1)].at >= Lately.Milliseconds() {
		h.early--
		for i, d := range h.of(h.index(h.early)) {
			h.lately[i] -= int64(d)
		}
	}
}

// forget forgets the oldest sample.
func (h *history) forget() {
	oldest := h.of(h.index(h.count - 1))
	for i, d := range oldest {
		h.recent[i] -= int64(d)
	}
	if h.early == h.count {
		for i, d := range oldest {
			h.lately[i] -= int64(d)
		}
		h.early--
	}
	h.count--
}

// within returns how much a counter has risen within d before now, in Unix ms. Samples
// come a little early or late, so their ages are rounded to seconds.
func (h *history) within(name string, d time.Duration, now int64) (total int64) {
	at := counterIndex[name]
	for ago := range h.count {
		i := h.index(ago)
		if now-h.samples[i].at >= (d - every/2).Milliseconds() {
			break
		}
		total += int64(h.of(i)[at])
	}
	return total
}

// mostReplicas returns the most replicas of any sample.
func (h *history) mostReplicas() (most int) {
	for ago := range h.count {
		most = max(most, int(h.samples[h.index(ago)].replicas))
	}
	return most
}

// note adds an event.
func (h *history) note(at time.Time, kind, text string) {
	h.events[h.nextEvent%maxEvents] = event{at, kind, text}
	h.nextEvent++
}

// newest returns the events, the newest first.
func (h *history) newest() []event {
	all := make([]event, 0, min(h.nextEvent, maxEvents))
	for i := h.nextEvent - 1; i >= max(0, h.nextEvent-maxEvents); i-- {
		all = append(all, h.events[i%maxEvents])
	}
	return all
}

// counterIndex is the index of each counter.
var counterIndex = func() map[string]int {
	index := make(map[string]int, len(counters))
	for i, c := range counters {
		index[c.name] = i
	}
	return index
}()

// byName returns figures by the names of their counters.
func byName(figures []int64) Counts {
	counts := make(Counts, len(figures))
	for i, c := range counters {
		counts[c.name] = figures[i]
	}
	return counts
}
