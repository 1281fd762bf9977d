package quota

import (
	"errors"
	"strconv"
	"time"
)

const (
	clockTolerance = 150 * time.Millisecond // a call's own delay included
	clockDrift     = slack                  // by which two clocks may run apart
)

// clock compares Redis's clock, which may be set, with the replica's own, which
// is monotonic.
type clock struct {
	redis  time.Time // at one moment ...
	at     time.Time // ... and the replica's; zero: not known
	jumped bool      // Redis's was set since
}

// expect is where Redis's clock should stand now, in Unix µs, and by how much it
// may be off; 0 if that is not known.
func (c *clock) expect(now time.Time) (micro int64, tolerance Microseconds) {
	if c.at.IsZero() {
		return 0, micros(clockTolerance)
	}
	return c.redis.Add(now.Sub(c.at)).UnixMicro(), micros(c.tolerance(now))
}

func (c *clock) tolerance(now time.Time) time.Duration {
	return clockTolerance + time.Duration(float64(now.Sub(c.at))*clockDrift)
}

// observe takes in the time that a reply to what was sent tells. It fails where that
// is not known to clockTolerance.
func (c *clock) observe(r Reply, sent, now time.Time) error {
	if now.Sub(sent) > clockTolerance {
		return errors.New("the reply came too late to tell the time by")
	}
	micro, err := strconv.ParseInt(r.Now, 10, 64)
	if err != nil {
		return errors.New("the reply tells no time")
	}
	redis := time.UnixMicro(micro)
	middle := sent.Add(now.Sub(sent) / 2)
	if r.Status == "jump" {
		// It was expected at the sending. If the reply is as late, nothing jumped.
		off := redis.Sub(c.redis.Add(middle.Sub(c.at)))
		c.jumped = c.jumped || off.Abs() > c.tolerance(now)+now.Sub(sent)/2
	} else {
		c.jumped = false
	}
	c.redis, c.at = redis, middle
	return nil
}
