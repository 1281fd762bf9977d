// Package words writes numbers and durations for people: for the page, the log, messages and the
// output of commands.
package words

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Count returns n with its noun: one if n is 1, else many.
func Count[N int | int32 | int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

const day = 24 * time.Hour

// Duration returns an exact duration, such as "10 s", "1 min 30 s" or "1 day": that of a window or
// of a limit.
func Duration(d time.Duration) string {
	if d < time.Second && d != 0 {
		return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', -1, 64) + " ms"
	}
	var parts []string
	if days := d / day; days > 0 {
		parts = append(parts, Count(int64(days), "day", "days"))
	}
	if h := d % day / time.Hour; h > 0 {
		parts = append(parts, fmt.Sprintf("%d h", h))
	}
	if m := d % time.Hour / time.Minute; m > 0 {
		parts = append(parts, fmt.Sprintf("%d min", m))
	}
	if s := d % time.Minute; s > 0 || d == 0 {
		parts = append(parts, strconv.FormatFloat(s.Seconds(), 'f', -1, 64)+" s")
	}
	return strings.Join(parts, " ")
}

// Per returns a duration as it follows the word "per": as Duration does, and without the number if
// that is one of a single unit, as in "per day".
func Per(d time.Duration) string {
	switch d {
	case time.Second:
		return "second"
	case time.Minute:
		return "minute"
	case time.Hour:
		return "hour"
	case day:
		return "day"
	}
	return Duration(d)
}

// Rounded returns a measured duration to about two digits, such as "1.5 s", "3 min 2 s" or
// "6 days 23 h". A negative one counts as 0.
func Rounded(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", max(0, d.Seconds()))
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case d < 2*day:
		d = d.Round(time.Minute)
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	d = d.Round(time.Hour)
	return fmt.Sprintf("%d days %d h", d/day, d%day/time.Hour)
}

// Setting returns a duration as flags and files take it, without parts that are zero: 24h, not
// 24h0m0s.
func Setting(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
