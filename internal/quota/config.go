package quota

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Pace is how requests are spread over a window.
type Pace int

// The paces.
const (
	// PaceAuto sends bursts while over half of the window is free, and more and more
	// evenly as it empties.
	PaceAuto Pace = iota
	// PaceAlways sends evenly from the first request on.
	PaceAlways
)

// FirstWindow is what a Limiter that knows of no earlier use of the key may send in its
// first window.
type FirstWindow int

// The first windows.
const (
	// FullWindow sends as if nothing had been sent before.
	FullWindow FirstWindow = iota
	// SlowWindow sends a tenth at once and spreads the rest over the window. That lowers
	// the risk of spending the same window twice, but does not remove it.
	SlowWindow
	// WaitWindow sends nothing for a window.
	WaitWindow
)

// Config describes a quota. The zero value is Clerk's for a development instance.
type Config struct {
	Limit  int           // N: requests per Window; default 100
	Window time.Duration // W; default 10 s
	// Burst makes the quota a token bucket of this size, refilled at Limit per
	// Window. 0: a strict window.
	Burst int
	// Reserve is the fraction of the quota, from 0 to less than 1, that is left to other
	// users of the key. At least one permit is kept in any case.
	Reserve float64
	// MaxLeased is the fraction of the permits, from 0 to 1, that may be lent at once, by
	// Lend. Lent permits count until they have come free. At least one may be lent.
	// Default 0.5.
	MaxLeased   float64
	Pace        Pace
	FirstWindow FirstWindow
	// LostHold is how long a permit stays held after its request was given up without an
	// answer, since the request may still arrive. The window is added to it. Default 20 s:
	// twice the default timeout of a request.
	LostHold time.Duration
}

// DefaultConfig returns the defaults of a Config.
func DefaultConfig() Config { return Config{}.withDefaults() }

func (c Config) withDefaults() Config {
	if c.Limit <= 0 {
		c.Limit = 100
	}
	if c.Window <= 0 {
		c.Window = 10 * time.Second
	}
	if c.LostHold <= 0 {
		c.LostHold = 20 * time.Second
	}
	if c.MaxLeased <= 0 {
		c.MaxLeased = 0.5
	}
	return c
}

// lessReserve returns how many of n permits the reserve leaves, at least one.
func (c Config) lessReserve(n int) int {
	return max(1, int(float64(n)*(1-c.Reserve)+1e-9))
}

// presets are the quotas that Clerk documents (development, production) and those of its
// plans (free, pro).
var presets = map[string]Config{
	"development": {Limit: 100, Window: 10 * time.Second},
	"production":  {Limit: 1000, Window: 10 * time.Second},
	"free":        {Limit: 20, Window: 10 * time.Second, Burst: 40},
	"pro":         {Limit: 100, Window: 10 * time.Second, Burst: 200},
}

var ratePattern = regexp.MustCompile(`^([0-9]{1,7})/([0-9.]+[a-z]+)$`)

// ErrSyntax means that a text names no quota.
var ErrSyntax = errors.New("want development, production, free, pro, or requests per window such as 250/10s (1 to 1000000 requests, 100ms to 24h)")

// Parse reads a quota: the name of a preset, or N/W such as "250/10s". Its errors are
// ErrSyntax.
func Parse(s string) (Config, error) {
	if c, ok := presets[s]; ok {
		return c, nil
	}
	m := ratePattern.FindStringSubmatch(s)
	if m == nil {
		return Config{}, fmt.Errorf("%q: %w", s, ErrSyntax)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil || n < 1 || n > 1_000_000 {
		return Config{}, fmt.Errorf("%q: %w", s, ErrSyntax)
	}
	w, err := time.ParseDuration(m[2])
	if err != nil || w < 100*time.Millisecond || w > 24*time.Hour {
		return Config{}, fmt.Errorf("%q: %w", s, ErrSyntax)
	}
	return Config{Limit: n, Window: w}, nil
}
