package clerkapi

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	unix := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).Unix(), 10) }
	tests := []struct {
		name, value, date string
		want              time.Duration
	}{
		{"missing", "", "", 0},
		{"seconds", "7", "", 7 * time.Second},
		{"spaces", " 7 ", "", 7 * time.Second},
		{"fraction", "0.5", "", 500 * time.Millisecond},
		{"zero", "0", "", 0},
		{"negative", "-7", "", 0},
		{"huge", "99999999999999999999999", "", 24 * time.Hour},
		{"a day and more", "86401", "", 24 * time.Hour},
		{"longer than a number may be", strings.Repeat("9", 100), "", 0},
		{"rubbish", "soon", "", 0},
		{"Unix seconds", unix(2 * time.Second), "", 2 * time.Second},
		{"Unix seconds with a fraction", unix(2*time.Second) + ".5", "", 2500 * time.Millisecond},
		{"Unix seconds, past", unix(-9 * time.Second), "", 0},
		{"Unix seconds, an hour ago", unix(-time.Hour), "", 0},
		{"Unix seconds, a day ahead", unix(24 * time.Hour), "", 24 * time.Hour},
		{"Unix seconds, long past", unix(-time.Hour - time.Second), "", 24 * time.Hour},
		{"Unix seconds, far ahead", unix(24*time.Hour + time.Second), "", 24 * time.Hour},
		{"Unix seconds by a clock that is ahead", unix(time.Hour + 9*time.Second), date(time.Hour), 9 * time.Second},
		{"hexadecimal", "0x10", "", 0},
		{"exponent", "1e3", "", 0},
		{"infinite", "Inf", "", 0},
		{"date", date(9 * time.Second), "", 9 * time.Second},
		{"date in the past", date(-9 * time.Second), "", 0},
		{"date in a year", date(365 * 24 * time.Hour), "", 24 * time.Hour},
		{"date by a clock that is ahead", date(time.Hour + 9*time.Second), date(time.Hour), 9 * time.Second},
		{"date by a clock that is behind", date(-time.Hour + 9*time.Second), date(-time.Hour), 9 * time.Second},
		{"date beside an unreadable one", date(9 * time.Second), "today", 9 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{"Retry-After": {test.value}, "Date": {test.date}}
			if got := retryAfter(h, now); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestReadMeta(t *testing.T) {
	tests := []struct {
		name                    string
		trace                   string
		limit, remaining, reset string
		want                    Meta
	}{
		{"nothing", "", "", "", "", Meta{}},
		{"all", "3f1c-a_9", "100", "99", "7", Meta{TraceID: "3f1c-a_9", RateLimit: RateLimit{true, 100, 99, 7 * time.Second}}},
		{"spent", "", "100", "0", "0", Meta{RateLimit: RateLimit{true, 100, 0, 0}}},
		{"no reset", "", "100", "99", "", Meta{}},
		{"no remaining", "", "100", "", "7", Meta{}},
		{"no limit", "", "", "99", "7", Meta{}},
		{"limit of nothing", "", "0", "0", "7", Meta{}},
		{"negative", "", "100", "-1", "7", Meta{}},
		{"too large", "", "100", "99999999999", "7", Meta{}},
		{"reset as a date", "", "100", "99", "1795515600", Meta{}},
		{"trace with a line break", "a\nb", "", "", "", Meta{}},
		{"trace that is a key", "sk_live_abc", "", "", "", Meta{}},
		{"long trace", strings.Repeat("a", 129), "", "", "", Meta{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{}
			h.Set("Clerk-Trace-Id", test.trace)
			h.Set("X-RateLimit-Limit", test.limit)
			h.Set("X-RateLimit-Remaining", test.remaining)
			h.Set("X-RateLimit-Reset", test.reset)
			if got := readMeta(h); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"7", "-1", "1.5", "Tue, 24 Nov 2026 10:00:09 GMT", "99999999999999999999", "x", ""} {
		f.Add(s, "Tue, 24 Nov 2026 10:00:00 GMT", s)
	}
	now := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value, date, limit string) {
		h := http.Header{
			"Retry-After": {value}, "Date": {date}, "Clerk-Trace-Id": {value},
			"X-Ratelimit-Limit": {limit}, "X-Ratelimit-Remaining": {limit}, "X-Ratelimit-Reset": {value},
		}
		if wait := retryAfter(h, now); wait < 0 || wait > maxWait {
			t.Errorf("Retry-After %v", wait)
		}
		r := readMeta(h).RateLimit
		if r.Limit < 0 || r.Remaining < 0 || r.Reset < 0 || r.Reset > maxWait || r.Present != (r != RateLimit{}) {
			t.Errorf("rate limit %+v", r)
		}
	})
}
