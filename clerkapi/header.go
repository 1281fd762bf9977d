package clerkapi

import (
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// maxWait is the longest time in a header that is plausible. Package quota has its own,
// shorter limit of a pause.
const maxWait = 24 * time.Hour

// readMeta reads the headers of an answer.
func readMeta(h http.Header) Meta {
	return Meta{TraceID: traceID(h.Get("Clerk-Trace-Id")), RateLimit: rateLimit(h)}
}

var traceIDs = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,128}$`)

// traceID returns s if it looks like a trace id, otherwise "".
func traceID(s string) string {
	if !traceIDs.MatchString(s) || Redact(s) != s {
		return ""
	}
	return s
}

// rateLimit reads the X-RateLimit headers. If one is missing or invalid, it returns the
// zero value.
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

// retryAfter reads Retry-After: seconds, an HTTP date, or Unix seconds. Dates and Unix
// seconds are relative to the answer's own Date, or to now without one, so clock skew
// does not matter. A number counts as Unix seconds if that instant lies between an hour
// ago and a day ahead. The result is 0 if the header is missing, invalid or in the past,
// and at most maxWait.
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

// parseSeconds parses a number of seconds with an optional fraction. Numbers that are too
// large become the longest Duration.
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
