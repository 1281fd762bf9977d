package clerksim

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// start is the start of the meters' tests.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var kinds = []QuotaKind{Fixed, FirstHit, Sliding, Bucket, Approx}

func TestMetersDecide(t *testing.T) {
	type step struct {
		at           time.Duration // since start
		allowed      bool
		remaining    int
		reset, retry time.Duration
	}
	const ms, s = time.Millisecond, time.Second
	for _, c := range []struct {
		name  string
		meter meter
		steps []step
	}{
		{"fixed: a new window gives all back", &fixedMeter{quota: Quota{Limit: 2, Window: 10 * s}, begin: start.Add(-4 * s)}, []step{
			{0, true, 1, 6 * s, 0},
			{1 * s, true, 0, 5 * s, 0},
			{2 * s, false, 0, 4 * s, 4 * s},
			{6*s - 1, false, 0, 1, 1},
			{6 * s, true, 1, 10 * s, 0},
			{27 * s, true, 1, 9 * s, 0},
		}},
		{"first-hit: a request begins the window", &fixedMeter{quota: Quota{Limit: 2, Window: 10 * s}, begin: start.Add(-10 * s), firstHit: true}, []step{
			{3 * s, true, 1, 10 * s, 0},
			{4 * s, true, 0, 9 * s, 0},
			{13*s - 1, false, 0, 1, 1},
			{14 * s, true, 1, 10 * s, 0},
		}},
		{"sliding: each request comes back by itself", &slidingMeter{quota: Quota{Limit: 2, Window: 10 * s}, log: make([]time.Time, 2)}, []step{
			{0, true, 1, 10 * s, 0},
			{4 * s, true, 0, 10 * s, 0},
			{5 * s, false, 0, 9 * s, 5 * s},
			{10 * s, true, 0, 10 * s, 0},
			{13 * s, false, 0, 7 * s, 1 * s},
			{40 * s, true, 1, 10 * s, 0},
		}},
		{"sliding: refused ones count too if asked for", &slidingMeter{quota: Quota{Limit: 2, Window: 10 * s, CountRefused: true}, log: make([]time.Time, 2)}, []step{
			{0, true, 1, 10 * s, 0},
			{1 * s, true, 0, 10 * s, 0},
			{9 * s, false, 0, 10 * s, 2 * s},
			{10 * s, false, 0, 10 * s, 9 * s},
		}},
		{"bucket: a burst, then one token each W/N", &bucketMeter{quota: Quota{Limit: 4, Window: 10 * s, Burst: 3}, level: 3 * int64(10*s), at: start}, []step{
			{0, true, 2, 2500 * ms, 0},
			{0, true, 1, 5 * s, 0},
			{0, true, 0, 7500 * ms, 0},
			{1 * s, false, 0, 6500 * ms, 1500 * ms},
			{2500 * ms, true, 0, 7500 * ms, 0},
			{1000 * s, true, 2, 2500 * ms, 0},
		}},
		{"approx: the last window fades", &approxMeter{quota: Quota{Limit: 4, Window: 10 * s}, begin: start.Add(-10 * s), count: 4}, []step{
			{0, false, 0, 10 * s, 2500 * ms},
			{2500 * ms, true, 0, 7500 * ms, 0},
			{6 * s, true, 0, 4 * s, 0},
			{6 * s, false, 0, 4 * s, 1500 * ms},
			{39 * s, true, 3, 1 * s, 0},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, w := range c.steps {
				want := verdict{w.allowed, w.remaining, w.reset, w.retry}
				if got := c.meter.take(start.Add(w.at)); got != want {
					t.Errorf("at %v: got %+v, want %+v", w.at, got, want)
				}
			}
		})
	}
}

// TestMetersKeepTheirQuota draws random arrivals and checks each meter against the
// definition of its kind, for all arrivals so far.
func TestMetersKeepTheirQuota(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := drawQuota(t)
		q.CountRefused = false
		m := q.newMeter(start, rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)))
		var begin time.Time
		switch m := m.(type) {
		case *fixedMeter:
			begin = m.begin
		case *approxMeter:
			begin = m.begin
		}
		var allowed []time.Time
		now := start
		for range rapid.IntRange(1, 60).Draw(t, "arrivals") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(q.Window)/2).Draw(t, "gap")))
			ok := allows(q, begin, allowed, now)
			if got := m.take(now).allowed; got != ok {
				t.Fatalf("%s, %v after the start: allowed %v, want %v", q.Kind, now.Sub(start), got, ok)
			}
			if ok {
				allowed = append(allowed, now)
			}
		}
	})
}

// allows decides by definition whether a request may be allowed at now after the earlier
// ones.
func allows(q Quota, begin time.Time, allowed []time.Time, now time.Time) bool {
	since := func(from time.Time) (n int) {
		for _, at := range allowed {
			if !at.Before(from) {
				n++
			}
		}
		return n
	}
	switch q.Kind {
	case Fixed:
		return since(begin.Add(now.Sub(begin).Truncate(q.Window))) < q.Limit
	case FirstHit:
		var first time.Time
		for _, at := range allowed {
			if at.Sub(first) >= q.Window {
				first = at
			}
		}
		return now.Sub(first) >= q.Window || since(first) < q.Limit
	case Sliding:
		return since(now.Add(-q.Window+1)) < q.Limit
	case Bucket:
		// No stretch of time may have more than the burst and its refill.
		for i, from := range allowed {
			if int64(len(allowed)-i+1-q.Burst)*int64(q.Window) > int64(now.Sub(from))*int64(q.Limit) {
				return false
			}
		}
		return true
	default:
		this := begin.Add(now.Sub(begin).Truncate(q.Window))
		count := since(this)
		last := since(this.Add(-q.Window)) - count
		left := this.Add(q.Window).Sub(now)
		return int64(last)*int64(left)+int64(count+1)*int64(q.Window) <= int64(q.Limit)*int64(q.Window)
	}
}

// TestMetersForetell checks that exactly the remaining requests would be allowed, and
// that a refused one would be allowed after retry and not a nanosecond before.
func TestMetersForetell(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := drawQuota(t)
		m := q.newMeter(start, rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)))
		now := start
		for range rapid.IntRange(1, 60).Draw(t, "arrivals") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(q.Window)/2).Draw(t, "gap")))
			v := m.take(now)
			if !v.allowed {
				if v.remaining != 0 || v.retry <= 0 {
					t.Fatalf("%s: refused with %+v", q.Kind, v)
				}
				if copyMeter(m).take(now.Add(v.retry - 1)).allowed {
					t.Fatalf("%s: allowed before the %v are over", q.Kind, v.retry)
				}
				if !copyMeter(m).take(now.Add(v.retry)).allowed {
					t.Fatalf("%s: refused when the %v are over", q.Kind, v.retry)
				}
				continue
			}
			next := copyMeter(m)
			for i := range v.remaining + 1 {
				if got := next.take(now).allowed; got != (i < v.remaining) {
					t.Fatalf("%s: of %d remaining, number %d: allowed %v", q.Kind, v.remaining, i+1, got)
				}
			}
		}
	})
}

func drawQuota(t *rapid.T) Quota {
	q := Quota{
		Kind:         rapid.SampledFrom(kinds).Draw(t, "kind"),
		Limit:        rapid.IntRange(1, 7).Draw(t, "limit"),
		Window:       time.Duration(rapid.Int64Range(10, 10_000).Draw(t, "window")),
		CountRefused: rapid.Bool().Draw(t, "count refused"),
	}
	if q.Kind == Bucket {
		q.Burst = rapid.IntRange(1, 12).Draw(t, "burst")
	}
	return q
}

func copyMeter(m meter) meter {
	switch m := m.(type) {
	case *fixedMeter:
		return new(*m)
	case *slidingMeter:
		c := *m
		c.log = slices.Clone(m.log)
		return &c
	case *bucketMeter:
		return new(*m)
	default:
		return new(*m.(*approxMeter))
	}
}

func TestFixedWindowsBeginAtRandom(t *testing.T) {
	q := Quota{Limit: 1, Window: 10 * time.Second, Kind: Fixed}
	rng := rand.New(rand.NewPCG(1, 1))
	phases := map[time.Duration]bool{}
	for range 20 {
		phase := start.Sub(q.newMeter(start, rng).(*fixedMeter).begin)
		if phase < 0 || phase >= q.Window {
			t.Errorf("the window began %v ago", phase)
		}
		phases[phase] = true
	}
	if len(phases) < 20 {
		t.Errorf("20 meters have %d phases", len(phases))
	}
}

func TestParseQuota(t *testing.T) {
	for _, c := range []struct {
		text string
		want Quota
		ok   bool
	}{
		{"", Quota{}, true},
		{"off", Quota{}, true},
		{"100/10s", Quota{Limit: 100, Window: 10 * time.Second}, true},
		{"1/250ms", Quota{Limit: 1, Window: 250 * time.Millisecond}, true},
		{"100", Quota{}, false},
		{"0/10s", Quota{}, false},
		{"-1/10s", Quota{}, false},
		{"100/0s", Quota{}, false},
		{"100/10", Quota{}, false},
		{"100/10s/2", Quota{}, false},
	} {
		if got, err := ParseQuota(c.text); got != c.want || (err == nil) != c.ok {
			t.Errorf("ParseQuota(%q) is %+v, %v; want %+v, ok %v", c.text, got, err, c.want, c.ok)
		}
	}
}

func TestQuotaDefaults(t *testing.T) {
	for _, c := range []struct {
		name string
		quota,
		want Quota
		ok bool
	}{
		{"zero", Quota{}, Quota{Window: 10 * time.Second, Kind: Fixed, Headers: RetryAfter}, true},
		{"burst", Quota{Limit: 20, Burst: 40}, Quota{Limit: 20, Window: 10 * time.Second, Burst: 40, Kind: Bucket, Headers: RetryAfter}, true},
		{"bucket", Quota{Limit: 20, Kind: Bucket}, Quota{Limit: 20, Window: 10 * time.Second, Burst: 20, Kind: Bucket, Headers: RetryAfter}, true},
		{"burst of a window", Quota{Limit: 20, Burst: 40, Kind: Sliding}, Quota{}, false},
		{"negative", Quota{Limit: -1}, Quota{}, false},
		{"too many", Quota{Limit: maxQuota + 1}, Quota{}, false},
		{"too long", Quota{Limit: 1, Window: maxWindow + 1}, Quota{}, false},
		{"no such kind", Quota{Kind: "tumbling"}, Quota{}, false},
		{"no such headers", Quota{Headers: "some"}, Quota{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.quota.withDefaults()
			if (err == nil) != c.ok || c.ok && got != c.want {
				t.Errorf("got %+v, %v; want %+v, ok %v", got, err, c.want, c.ok)
			}
		})
	}
}
