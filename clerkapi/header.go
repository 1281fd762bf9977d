package clerkapi

import (
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// maxWait bounds the times that headers give: beyond it they make no sense.
const maxWait = 24 * time.Hour

// readMeta reads what the headers of an answer say.
func readMeta(h http.Header) Meta {
	return Meta{TraceID: traceID(h.Get("Clerk-Trace-Id")), RateLimit: rateLimit(h)}
}

var traceIDs = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,128}$`)

// traceID gives s if it looks like a trace id, else "".
func traceID(s string) string {
	if !traceIDs.MatchString(s) || Redact(s) != s {
		return ""
	}
	return s
}

// rateLimit reads the X-RateLimit headers; one that is missing or makes no
// sense makes all of them absent.
func rateLimit(h http.Header) RateLimit {
	limit, err := strconv.ParseUint(h.Get("X-RateLimit-Limit"), 10, 31)
	if err != nil || limit == 0 {
		return RateLimit{}
	}
	remaining, err := strconv.ParseUint(h.Get("X-RateLimit-Remaining"), 10, 31)
	if err != nil {
		return RateLimit{}
	}
	reset, ok := parseSeconds(h.Get("X-RateLimit-Reset"))
	if !ok || reset > maxWait {
		return RateLimit{}
	}
	return RateLimit{Present: true, Limit: int(limit), Remaining: int(remaining), Reset: reset}
}

// retryAfter reads Retry-After: seconds, an HTTP date, or Unix seconds. The last
// two are instants, which count from the answer's own Date, or from now if it has
// none, so that Clerk's clock and ours may differ. A number is Unix seconds if that
// instant lies between an hour ago and a day ahead. It returns 0 if the header is
// missing, unreadable or in the past, and at most 24 hours.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	value := strings.TrimSpace(h.Get("Retry-After"))
	until, err := http.ParseTime(value)
	if wait, ok := parseSeconds(value); ok {
		until = time.Unix(0, 0).Add(wait)
		if until.Before(now.Add(-time.Hour)) || until.After(now.Add(maxWait)) {
			return min(wait, maxWait)
		}
	} else if err != nil {
		return 0
	}
	return min(max(until.Sub(now), 0), maxWait)
}

var seconds = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)

// parseSeconds reads a number of seconds, fractions allowed. Large ones become
// the longest Duration.
func parseSeconds(s string) (time.Duration, bool) {
	if len(s) > 64 || !seconds.MatchString(s) {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, false
	}
	if f >= math.MaxInt64/float64(time.Second) {
		return math.MaxInt64, true
	}
	return time.Duration(f * float64(time.Second)), true
}
