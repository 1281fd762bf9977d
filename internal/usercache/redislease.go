package usercache

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// leases tracks which replicas may use their memory. A replica renews its lease with each
// heartbeat, and may use its memory for a fixed time after the last heartbeat that it
// received itself. An invalidation waits until every replica with a lease has received
// it, or its lease has ended. A lease is identified by its value, and its end is computed
// with this process's monotonic clock, so no other clock matters.
type leases struct {
	lasts time.Duration

	mu    sync.Mutex
	known map[string]lease // by replica; guarded by mu
	over  []string         // replicas whose leases ended long ago; guarded by mu
}

// lease is the lease of another replica.
type lease struct {
	value string
	since time.Time // when it was first seen with this value
}

// forgetAfter is the number of lease times after which the replica of an ended lease is
// forgotten.
const forgetAfter = 30

// gone returns the replicas whose leases ended long ago.
func (l *leases) gone() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

// observe records the current leases of all replicas and returns the ends of those that
// have not ended. It may modify values.
func (l *leases) observe(values map[string]string, now time.Time) (ends map[string]time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.known
	l.known, l.over = make(map[string]lease, len(values)), nil
	ends = make(map[string]time.Time)
	for replica, k := range known {
		if _, there := values[replica]; !there && now.Sub(k.since) < l.lasts {
			values[replica] = k.value // Redis has lost it, but the replica does not know yet
		}
	}
	for replica, value := range values {
		k, ok := known[replica]
		if !ok || k.value != value {
			k = lease{value, now}
		}
		l.known[replica] = k
		switch over := now.Sub(k.since); {
		case over < l.lasts:
			ends[replica] = k.since.Add(l.lasts)
		case over > forgetAfter*l.lasts:
			l.over = append(l.over, replica)
		}
	}
	return ends
}

// recipients is the set of replicas that must receive a publication, and until when.
type recipients struct {
	until  time.Time // until then there may be unknown leases
	number int64     // number of the publication
	epoch  string    // epoch of the number
	ends   map[string]time.Time
}

// awaited decodes the reply of publishScript.
func (r *redis) awaited(reply []rueidis.RedisMessage) (a recipients, err error) {
	if a.number, err = number(reply, 0); err != nil || len(reply) < 3 {
		return a, errReply
	}
	if a.epoch, err = reply[1].ToString(); err != nil {
		return a, err
	}
	fields, err := reply[2].AsStrMap()
	if err != nil {
		return a, err
	}
	a.ends = r.leases.observe(leasesIn(fields), time.Now())
	delete(a.ends, r.me)
	a.remove(fields)
	return a, nil
}

// leasesIn returns the leases among the sequence's fields, by replica.
func leasesIn(fields map[string]string) map[string]string {
	values := make(map[string]string)
	for name, value := range fields {
		if replica, ok := strings.CutPrefix(name, leaseField); ok {
			values[replica] = value
		}
	}
	return values
}

// Prefixes of the sequence's fields.
const (
	leaseField = "l:"
	heardField = "h:"
)

// remove removes the replicas that have received the publication.
func (a *recipients) remove(fields map[string]string) {
	for replica := range a.ends {
		epoch, text, _ := strings.Cut(fields[heardField+replica], " ")
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && epoch == a.epoch && n >= a.number {
			delete(a.ends, replica)
		}
	}
}

// Intervals at which await polls: short at first, then longer.
const (
	firstAsk   = 500 * time.Microsecond
	longestAsk = 20 * time.Millisecond
)

// await blocks until all replicas in a have received the publication or their leases have
// ended. It fails only if ctx ends first. If Redis becomes unavailable meanwhile, leases
// end.
func (r *redis) await(ctx context.Context, a recipients) error {
	for pause := firstAsk; ; pause = min(2*pause, longestAsk) {
		now := time.Now()
		names := make([]string, 0, len(a.ends))
		var last time.Time
		for replica, end := range a.ends {
			if !now.Before(end) {
				delete(a.ends, replica)
				continue
			}
			names = append(names, heardField+replica)
			if end.After(last) {
				last = end
			}
		}
		if now.Before(a.until) && a.until.After(last) {
			last = a.until
		}
		if last.IsZero() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(pause, last.Sub(now))):
		}
		if len(names) == 0 {
			continue
		}
		values, err := write(ctx, r, func(ctx context.Context, c rueidis.Client) ([]rueidis.RedisMessage, error) {
			return c.Do(ctx, c.B().Hmget().Key(r.sequenceKey()).Field(names...).Build()).ToArray()
		})
		if err != nil {
			continue
		}
		fields := make(map[string]string, len(names))
		for i, name := range names {
			if i < len(values) {
				fields[name], _ = values[i].ToString()
			}
		}
		a.remove(fields)
	}
}
