package gate

// Patience of concurrency: how many answers, for each request in flight, are needed
// before one more is tried: after the first refusal, and at most.
const (
	firstPatience = 40
	lastPatience  = 640
)

// concurrency adapts the number of requests in flight to what Clerk accepts, up to a
// configured maximum.
//
// Halving at each refusal and growing by one, as TCP Reno does, would oscillate between
// half of what Clerk accepts and the next refusal. Here a refusal shows the limit: of the
// requests that were under way together, as many as were not refused. That number is
// kept. One more is tried only after many answers, and each failed try doubles the
// answers needed for the next. If a try succeeds, the old number is out of date, and it
// grows quickly, in steps that double, as CUBIC grows beyond its last maximum.
//
// All refusals of requests that left before the first of them was known are one event.
type concurrency struct {
	max   int // as configured
	limit int // requests in flight now, 1 to max

	launched uint64 // requests so far
	filled   uint64 // the number of the last request that left when limit were under way, itself included
	event    uint64 // the number of the last request that had left when the last event became known
	top      int    // how many were under way at the event
	refused  int    // how many of these were refused
	before   int    // limit before the event
	answered bool   // whether a request that left after the event was answered

	answers  int  // since limit was reached or changed
	patience int  // answers for each request in flight until more are tried
	waits    int  // patience after the last failed try
	step     int  // how many more the next try adds
	trying   bool // it is not known yet whether Clerk accepts limit
}

func newConcurrency(most int) concurrency {
	return concurrency{max: most, limit: most, before: most, patience: firstPatience, waits: firstPatience, step: 1}
}

// launch counts a request that leaves when inFlight are under way, itself included,
// and returns its number.
func (c *concurrency) launch(inFlight int) uint64 {
	c.launched++
	if inFlight >= c.limit {
		c.filled = c.launched
	}
	return c.launched
}

// concerns reports whether a 429 to a request that left beside so many others, itself
// included, may be due to a limit on concurrency. It may if the request was under way
// while limit was reached, or left beside one other at least and more than half of limit.
func (c *concurrency) concerns(number uint64, beside int) bool {
	if number <= c.event {
		return true
	}
	return beside >= 2 && (c.event == 0 || 2*beside > c.limit) || c.limit >= 2 && number <= c.filled
}

// refuse records such a 429. inFlight is how many are under way now, itself included.
func (c *concurrency) refuse(number uint64, beside, inFlight int) {
	if number > c.event {
		c.event, c.refused, c.answered = c.launched, 0, false
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

// undo reverts the last event, whose cause was the quota, unless later requests were
// answered at the lower limit.
func (c *concurrency) undo() {
	if c.event > 0 && c.limit < c.before && !c.answered {
		c.limit, c.answers = c.before, 0
	}
}

// answer records that Clerk answered a request other than by 429. The answer counts
// towards a higher limit only if the limit was reached while the request was under way:
// it shows nothing otherwise.
func (c *concurrency) answer(number uint64) {
	c.answered = c.answered || number > c.event
	if c.limit >= c.max || number > c.filled {
		return
	}
	c.answers++
	if c.trying && c.answers >= 2*c.limit { // Clerk accepts it
		c.trying = false
		c.patience, c.waits = 2, firstPatience
		c.step = min(2*c.step, max(1, c.max/4))
	}
	if c.answers >= c.patience*c.limit {
		c.limit = min(c.max, c.limit+c.step)
		c.answers, c.filled, c.trying = 0, 0, c.limit < c.max
	}
}
