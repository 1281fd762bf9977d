package clerksim

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// QuotaKind is how requests are counted against a quota of N per W.
type QuotaKind string

// The kinds of quota. Clerk does not say which one it uses.
const (
	Fixed    QuotaKind = "fixed"     // windows of W one after the other, of a random phase
	FirstHit QuotaKind = "first-hit" // a window begins with the first request after the last one ended
	Sliding  QuotaKind = "sliding"   // an exact log: at most N in any W
	Bucket   QuotaKind = "bucket"    // a token bucket of Burst, refilled at N per W
	Approx   QuotaKind = "approx"    // this window's count plus the last one's, weighted by its overlap with the W before now
)

// QuotaHeaders says which headers tell of the quota.
type QuotaHeaders string

// The ways to tell of the quota.
const (
	// RetryAfter: a 429 carries Retry-After, in whole seconds. This is what Clerk documents.
	RetryAfter QuotaHeaders = "retry-after"
	// AllHeaders: that, and X-RateLimit-Limit, -Remaining and -Reset (seconds) on every answer.
	AllHeaders QuotaHeaders = "all"
	// NoHeaders: nothing.
	NoHeaders QuotaHeaders = "none"
)

// Quota is how many requests the simulator answers. The zero value has no limit.
type Quota struct {
	Limit   int           // N: requests per window; 0: no limit
	Window  time.Duration // W; default 10 s
	Burst   int           // size of the bucket; default Limit. Only with Bucket
	Kind    QuotaKind     // default Bucket if there is a Burst, else Fixed
	Headers QuotaHeaders  // default RetryAfter
	// CountRefused lets refused requests count too. It makes a difference to
	// Sliding and Approx alone.
	CountRefused bool
}

// ParseQuota reads a quota such as "100/10s" (requests per window). The empty
// text and "off" mean no limit.
func ParseQuota(text string) (Quota, error) {
	if text == "" || text == "off" {
		return Quota{}, nil
	}
	limit, window, _ := strings.Cut(text, "/")
	n, err := strconv.Atoi(limit)
	w, werr := time.ParseDuration(window)
	if err != nil || werr != nil || n < 1 || w <= 0 {
		return Quota{}, fmt.Errorf("quota %q: want requests per window, such as 100/10s", text)
	}
	return Quota{Limit: n, Window: w}, nil
}

// The most that a quota can be, so that meters count in whole numbers.
const (
	maxQuota  = 1_000_000
	maxWindow = time.Hour
)

// withDefaults fills in what is not set and checks the rest.
func (q Quota) withDefaults() (Quota, error) {
	if q.Headers == "" {
		q.Headers = RetryAfter
	}
	if q.Kind == "" {
		q.Kind = Fixed
		if q.Burst > 0 {
			q.Kind = Bucket
		}
	}
	if q.Window == 0 {
		q.Window = 10 * time.Second
	}
	if q.Kind == Bucket && q.Burst == 0 {
		q.Burst = q.Limit
	}
	switch q.Headers {
	case AllHeaders, RetryAfter, NoHeaders:
	default:
		return q, fmt.Errorf("quota headers %q: want %s, %s or %s", q.Headers, AllHeaders, RetryAfter, NoHeaders)
	}
	switch q.Kind {
	case Fixed, FirstHit, Sliding, Approx, Bucket:
	default:
		return q, fmt.Errorf("quota kind %q: want %s, %s, %s, %s or %s", q.Kind, Fixed, FirstHit, Sliding, Bucket, Approx)
	}
	switch {
	case q.Limit < 0 || q.Window < 0 || q.Burst < 0:
		return q, fmt.Errorf("quota of %d per %v, burst %d: must not be negative", q.Limit, q.Window, q.Burst)
	case q.Limit > maxQuota || q.Burst > maxQuota || q.Window > maxWindow:
		return q, fmt.Errorf("quota of %d per %v, burst %d: can be at most %d per %v", q.Limit, q.Window, q.Burst, maxQuota, maxWindow)
	case q.Burst > 0 && q.Kind != Bucket:
		return q, fmt.Errorf("quota kind %q: has no burst", q.Kind)
	}
	return q, nil
}

// verdict is what a meter says to one request.
type verdict struct {
	allowed   bool
	remaining int           // requests that could follow at once
	reset     time.Duration // until the window resets, the bucket is full, or the log is empty
	retry     time.Duration // until a request is allowed; 0 if one is
}

// meter counts requests against a quota. Its state changes by take alone, and
// its verdict follows from that state and the time alone. Times must not run
// backwards.
type meter interface {
	take(now time.Time) verdict
}

// newMeter makes the meter of q, which must have its defaults and a limit.
// Windows begin at a moment drawn from rng within the W before now.
func (q Quota) newMeter(now time.Time, rng *rand.Rand) meter {
	begin := now.Add(-time.Duration(rng.Int64N(int64(q.Window))))
	switch q.Kind {
	case FirstHit:
		return &fixedMeter{quota: q, begin: now.Add(-q.Window), firstHit: true}
	case Sliding:
		return &slidingMeter{quota: q, log: make([]time.Time, q.Limit)}
	case Bucket:
		return &bucketMeter{quota: q, level: int64(q.Burst) * int64(q.Window), at: now}
	case Approx:
		return &approxMeter{quota: q, begin: begin}
	default:
		return &fixedMeter{quota: q, begin: begin}
	}
}

// fixedMeter counts in windows that follow each other, or that the first
// request after the last one begins.
type fixedMeter struct {
	quota    Quota
	firstHit bool
	begin    time.Time // of the window
	count    int       // requests allowed in the window
}

func (m *fixedMeter) take(now time.Time) verdict {
	if past := now.Sub(m.begin); past >= m.quota.Window {
		m.count = 0
		if m.firstHit {
			m.begin = now
		} else {
			m.begin = m.begin.Add(past.Truncate(m.quota.Window))
		}
	}
	v := verdict{allowed: m.count < m.quota.Limit, reset: m.begin.Add(m.quota.Window).Sub(now)}
	if v.allowed {
		m.count++
	}
	v.remaining = m.quota.Limit - m.count
	if !v.allowed {
		v.retry = v.reset
	}
	return v
}

// slidingMeter keeps the times of the last N requests that count.
type slidingMeter struct {
	quota Quota
	log   []time.Time // a ring; next is the oldest
	next  int
}

func (m *slidingMeter) take(now time.Time) verdict {
	// The request is allowed if the Nth before it has left the window.
	v := verdict{allowed: now.Sub(m.log[m.next]) >= m.quota.Window}
	if v.allowed || m.quota.CountRefused {
		m.log[m.next] = now
		m.next = (m.next + 1) % len(m.log)
	}
	newest := m.log[(m.next+len(m.log)-1)%len(m.log)]
	v.reset = newest.Add(m.quota.Window).Sub(now)
	if !v.allowed {
		v.retry = m.log[m.next].Add(m.quota.Window).Sub(now)
		return v
	}
	for i := range m.log {
		if now.Sub(m.log[(m.next+i)%len(m.log)]) < m.quota.Window {
			break
		}
		v.remaining++
	}
	return v
}

// bucketMeter holds tokens. A token is counted as W units of which N come in
// each nanosecond, so that no fraction is ever lost.
type bucketMeter struct {
	quota Quota
	level int64
	at    time.Time // of level
}

func (m *bucketMeter) take(now time.Time) verdict {
	token, rate := int64(m.quota.Window), int64(m.quota.Limit)
	full := int64(m.quota.Burst) * token
	untilFull := (full - m.level + rate - 1) / rate
	m.level = min(full, m.level+rate*min(untilFull, int64(now.Sub(m.at))))
	m.at = now
	v := verdict{allowed: m.level >= token}
	if v.allowed {
		m.level -= token
	} else {
		v.retry = time.Duration((token - m.level + rate - 1) / rate)
	}
	v.remaining = int(m.level / token)
	v.reset = time.Duration((full - m.level + rate - 1) / rate)
	return v
}

// approxMeter estimates a sliding window from two counts, as CDNs do.
type approxMeter struct {
	quota       Quota
	begin       time.Time // of this window
	last, count int       // requests in the window before and in this one
}

func (m *approxMeter) take(now time.Time) verdict {
	w := m.quota.Window
	if past := now.Sub(m.begin); past >= w {
		if past < 2*w {
			m.last = m.count
		} else {
			m.last = 0
		}
		m.count = 0
		m.begin = m.begin.Add(past.Truncate(w))
	}
	left := m.begin.Add(w).Sub(now)
	// In units of a request times a nanosecond, so that nothing is rounded.
	room := int64(m.quota.Limit-m.count)*int64(w) - int64(m.last)*int64(left)
	v := verdict{allowed: room >= int64(w), reset: left}
	if v.allowed || m.quota.CountRefused {
		m.count++
		room -= int64(w)
	}
	if v.allowed {
		v.remaining = int(room / int64(w))
		return v
	}
	v.retry = m.retry(left)
	return v
}

// retry is how long it takes until a request is allowed if none comes before,
// when left remains of this window.
func (m *approxMeter) retry(left time.Duration) time.Duration {
	w := int64(m.quota.Window)
	// weight is how much of a window before may remain for another request to fit.
	weight := func(before, now int) time.Duration {
		return time.Duration(int64(m.quota.Limit-1-now) * w / int64(max(before, 1)))
	}
	if m.count < m.quota.Limit {
		return left - min(left, weight(m.last, m.count))
	}
	return left + m.quota.Window - min(m.quota.Window, weight(m.count, 0))
}
