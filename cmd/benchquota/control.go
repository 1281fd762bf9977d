package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
)

const (
	controlGap = 20 * time.Millisecond // between two requests of the control
	// controlUsers is the number of users for which a page takes a millisecond or two.
	controlUsers = 500
	// controlSpan is the minimum time in which delays are looked for.
	controlSpan = time.Second
)

// control measures how busy the machine is: it constantly requests the same page of users
// from an otherwise idle simulator. Any server may be late by the difference between
// these times and their minimum; further delays are the server's own.
type control struct {
	clerk *clerk

	mu       sync.Mutex
	samples  []sample      // guarded by mu
	quickest time.Duration // guarded by mu
}

// sample is one request of the control.
type sample struct{ from, to time.Time }

func (s sample) took() time.Duration { return s.to.Sub(s.from) }

// startControl measures until ctx ends.
func (l *lab) startControl(ctx context.Context) (*control, error) {
	endless := clerksim.Quota{Limit: 1_000_000, Window: time.Second, Kind: clerksim.Fixed, Headers: clerksim.RetryAfter}
	clerk, err := l.startClerk(ctx, endless, 0, controlUsers)
	if err != nil {
		return nil, err
	}
	c := &control{clerk: clerk}
	go func() {
		for ctx.Err() == nil {
			if from := time.Now(); clerk.page(ctx) == nil {
				c.note(from, time.Now())
			}
			_ = wait(ctx, controlGap) // the loop checks ctx
		}
	}()
	return c, nil
}

// page reads all users and discards them.
func (c *clerk) page(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.address+"/v1/users?limit=500", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+secretKey)
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func (c *control) note(from, to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := sample{from, to}
	if len(c.samples) == 0 || s.took() < c.quickest {
		c.quickest = s.took()
	}
	c.samples = append(c.samples, s)
}

// delay returns how long the machine may have delayed a call between two times: twice the
// difference between the control's slowest and fastest request, since a call needs the
// CPU at its start and at its end. The last second before the later time is always
// included.
func (c *control) delay(from, to time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if least := to.Add(-controlSpan); from.After(least) {
		from = least
	}
	var worst time.Duration
	for _, s := range c.samples {
		if s.to.After(from) && s.from.Before(to) {
			worst = max(worst, s.took()-c.quickest)
		}
	}
	return 2 * worst
}

// busyFrom is the difference from the minimum that one in a hundred of the control's
// requests exceeds on a machine that is too busy to judge single calls.
const busyFrom = 10 * time.Millisecond

// busy reports whether the machine was too busy to judge single calls.
func (c *control) busy() bool {
	var all []time.Duration
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.samples {
		all = append(all, s.took()-c.quickest)
	}
	return percentile(all, 99) > busyFrom
}

// said returns a description of the measurements.
func (c *control) said() string {
	var all []time.Duration
	c.mu.Lock()
	for _, s := range c.samples {
		all = append(all, s.took())
	}
	c.mu.Unlock()
	return fmt.Sprintf("the control's requests took %s at best, %s on average, %s at p99 and %s at most",
		millis(percentile(all, 0)), millis(percentile(all, 50)), millis(percentile(all, 99)), millis(percentile(all, 100)))
}
