package gate

// Patience of concurrency: how many requests are answered before one more in flight
// is tried, for each that is: after the first refusal, and at most.
const (
	firstPatience = 40
	lastPatience  = 640
)

// concurrency adapts the number of requests in flight to what Clerk bears, below a
// ceiling that is configured.
//
// Halving at each refusal and growing again by one, as TCP Reno does, would saw
// between half of what is borne and a refusal. Here a refusal itself says what is
// borne: of the requests that were under way together, those that were not refused.
// That number is remembered, and stays; one more is tried only after many answers,
// and after each try that fails twice as many pass. If a try succeeds, what was
// learned is out of date, and the number grows quickly, doubling its steps, as
// CUBIC does beyond its last maximum.
//
// All refusals of requests that left before the first of them was known are one event.
type concurrency struct {
	max   int // as configured
	limit int // requests in flight now, 1 to max

	launched uint64 // requests so far
	event    uint64 // requests up to this one left before the last event was known
	top      int    // how many were under way at the event
	refused  int    // ... of which so many were refused
	before   int    // limit before the event

	answers  int  // since limit was reached or changed
	patience int  // answers until more are tried, for each in flight
	waits    int  // patience after the last try that failed
	step     int  // how many more the next try is
	trying   bool // limit is one that has not been borne yet
}

func newConcurrency(most int) concurrency {
	return concurrency{max: most, limit: most, before: most, patience: firstPatience, waits: firstPatience, step: 1}
}

// launch counts a request that leaves beside others, and returns its number.
func (c *concurrency) launch() uint64 {
	c.launched++
	return c.launched
}

// concerns reports whether a 429 to a request that left beside so many others,
// itself included, may be one of a limit on concurrency: at least two were under way,
// and more than half of what was borne after the last event.
func (c *concurrency) concerns(number uint64, beside int) bool {
	if number <= c.event {
		return true
	}
	return beside >= 2 && (c.event == 0 || 2*beside > c.limit)
}

// refuse takes in such a 429. inFlight is how many are under way, itself included.
func (c *concurrency) refuse(number uint64, beside, inFlight int) {
	if number > c.event {
		c.event, c.refused = c.launched, 0
		c.top, c.before = max(beside, inFlight), c.limit
		if c.trying {
			c.waits = min(2*c.waits, lastPatience)
		}
		c.trying, c.step = false, 1
		c.patience = c.waits
	}
	c.refused++
	c.answers = 0
	c.limit = max(1, min(c.before, c.top-c.refused))
}

// undo takes the last event back: it was one of the quota.
func (c *concurrency) undo() {
	if c.event > 0 && c.limit < c.before {
		c.limit, c.answers = c.before, 0
	}
}

// answer takes in that a request was answered other than by 429, which left when
// so many were under way, itself included.
func (c *concurrency) answer(beside int) {
	if c.limit >= c.max || beside < c.limit {
		return
	}
	c.answers++
	if c.trying && c.answers >= 2*c.limit { // borne
		c.trying = false
		c.patience, c.waits = 2, firstPatience
		c.step = min(2*c.step, max(1, c.max/4))
	}
	if c.answers >= c.patience*c.limit {
		c.limit = min(c.max, c.limit+c.step)
		c.answers, c.trying = 0, c.limit < c.max
	}
}
