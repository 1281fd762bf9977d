package gate

import "time"

// rollingCount counts the events of the last ten seconds, to the second.
type rollingCount struct {
	counts [10]int
	second int64 // of the newest count
}

func (c *rollingCount) advance(now time.Time) {
	s := now.Unix()
	for c.second < s {
		c.second = max(c.second+1, s-int64(len(c.counts)))
		c.counts[c.second%int64(len(c.counts))] = 0
	}
}

func (c *rollingCount) add(now time.Time) {
	c.advance(now)
	c.counts[c.second%int64(len(c.counts))]++
}

func (c *rollingCount) sum(now time.Time) int {
	c.advance(now)
	n := 0
	for _, c := range c.counts {
		n += c
	}
	return n
}
