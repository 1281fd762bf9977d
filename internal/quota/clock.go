package quota

import (
	"errors"
	"strconv"
	"time"
)

const (
	clockTolerance = 150 * time.Millisecond // the delay of the call included
	clockDrift     = slack                  // the part of a time by which two clocks may run apart
)

// clock compares Redis's clock, which may be set, with the replica's own, which is
// monotonic.
type clock struct {
	redis  time.Time // Redis's clock at one moment
	own    time.Time // the replica's clock at that moment; zero: not known
	jumped bool      // Redis's clock has been set since
}

// expect returns the expected time of Redis's clock now, in Unix µs, and by how much it
// may be off; 0 if that is not known.
func (c *clock) expect(now time.Time) (micro int64, tolerance Microseconds) {
	if c.own.IsZero() {
		return 0, micros(clockTolerance)
	}
	return c.redis.Add(now.Sub(c.own)).UnixMicro(), micros(c.tolerance(now))
}

func (c *clock) tolerance(now time.Time) time.Duration {
	return clockTolerance + time.Duration(float64(now.Sub(c.own))*clockDrift)
}

// observe reads Redis's time from a reply to a report that was sent at sent. It fails if
// the time is not known to clockTolerance.
func (c *clock) observe(r Reply, sent, now time.Time) error {
	if now.Sub(sent) > clockTolerance {
		return errors.New("the reply came too late to show the time")
	}
	micro, err := strconv.ParseInt(r.Now, 10, 64)
	if err != nil {
		return errors.New("the reply has no time")
	}
	redis := time.UnixMicro(micro)
	middle := sent.Add(now.Sub(sent) / 2)
	if r.Status == "jump" {
		// The time was expected at the sending. A late reply explains some of the difference.
		off := redis.Sub(c.redis.Add(middle.Sub(c.own)))
		c.jumped = c.jumped || off.Abs() > c.tolerance(now)+now.Sub(sent)/2
	} else {
		c.jumped = false
	}
	c.redis, c.own = redis, middle
	return nil
}
