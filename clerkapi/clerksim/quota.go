package clerksim

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// QuotaKind is a way to count requests against a quota of N per W.
type QuotaKind string

// The kinds of quota. Clerk does not document which one it uses.
const (
	Fixed    QuotaKind = "fixed"     // consecutive windows of W with a random phase
	FirstHit QuotaKind = "first-hit" // a window begins with the first request after the last one ended
	Sliding  QuotaKind = "sliding"   // an exact log: at most N in any W
	Bucket   QuotaKind = "bucket"    // a token bucket of Burst, refilled at N per W
	Approx   QuotaKind = "approx"    // this window's count plus the last one's, weighted by its overlap with the W before now
)

// QuotaHeaders selects the headers that show the quota.
type QuotaHeaders string

// The headers that show the quota.
const (
	// RetryAfter sends Retry-After with a 429, in whole seconds. Clerk documents only
	// this.
	RetryAfter QuotaHeaders = "retry-after"
	// AllHeaders also sends X-RateLimit-Limit, -Remaining and -Reset (seconds) with every
	// answer.
	AllHeaders QuotaHeaders = "all"
	// NoHeaders sends none.
	NoHeaders QuotaHeaders = "none"
)

// Quota is the simulated quota. The zero value has no limit.
type Quota struct {
	Limit   int           // N: requests per window; 0: no limit
	Window  time.Duration // W; default 10 s
	Burst   int           // size of the bucket; default Limit. Only with Bucket
	Kind    QuotaKind     // default Bucket if there is a Burst, else Fixed
	Headers QuotaHeaders  // default RetryAfter
	// CountRefused counts refused requests too. It matters for Sliding and Approx only.
	CountRefused bool
}

// ParseQuota parses a quota such as "100/10s" (requests per window). "" and "off" mean no
// limit.
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

// Limits of a quota, so that meters can count in integers.
const (
	maxQuota  = 1_000_000
	maxWindow = time.Hour
)

// withDefaults returns q with its defaults set, or an error if q is invalid.
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

// verdict is a meter's decision about one request.
type verdict struct {
	allowed   bool
	remaining int           // requests that could follow immediately
	reset     time.Duration // until the window resets, the bucket is full, or the log is empty
	retry     time.Duration // until a request is allowed; 0 if it is now
}

// meter counts requests against a quota. Only take changes it, and its result depends
// only on the state and the time. Times must not decrease.
type meter interface {
	take(now time.Time) verdict
}

// newMeter returns the meter of q, which must have its defaults and a limit. Windows
// begin at a random time within the W before now.
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

// fixedMeter counts in consecutive windows, or in windows that begin with the first
// request after the last one.
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

// slidingMeter records the times of the last N counted requests.
type slidingMeter struct {
	quota Quota
	log   []time.Time // ring buffer; next is the index of the oldest
	next  int
}

func (m *slidingMeter) take(now time.Time) verdict {
	// Allowed if the Nth request before it has left the window.
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

// bucketMeter holds tokens. A token is W units, of which N arrive per nanosecond, so no
// fraction is lost.
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

// approxMeter estimates a sliding window from two counts, like a CDN.
type approxMeter struct {
	quota       Quota
	begin       time.Time // of this window
	last, count int       // requests in the last window and in this one
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
	// In request-nanoseconds, so nothing is rounded.
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

// retry returns the time until a request is allowed if none comes before, with rest left
// of this window.
func (m *approxMeter) retry(rest time.Duration) time.Duration {
	w := int64(m.quota.Window)
	// weight returns the part of the last window that may overlap for another request to
	// fit.
	weight := func(before, now int) time.Duration {
		return time.Duration(int64(m.quota.Limit-1-now) * w / int64(max(before, 1)))
	}
	if m.count < m.quota.Limit {
		return rest - min(rest, weight(m.last, m.count))
	}
	return rest + m.quota.Window - min(m.quota.Window, weight(m.count, 0))
}
