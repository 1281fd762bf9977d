package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/metadata"
)

const (
	// callTimeout is the deadline of calls: longer than any expected wait.
	callTimeout = time.Minute
	// afterFailure is the delay after a failed call, so that a loop does not spin.
	afterFailure = 100 * time.Millisecond
)

// wait waits for d. It returns ctx's error if ctx ends first.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// as returns a context for calls as a caller.
func as(ctx context.Context, caller string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "clerkgate-caller", caller)
}

// tally counts calls. It is safe for concurrent use.
type tally struct {
	ok, failed atomic.Int64
	once       sync.Once
	first      error // the first failure; read it when all calls have ended
}

// add counts a call, unless it failed because ctx has ended.
func (t *tally) add(ctx context.Context, err error) {
	switch {
	case err == nil:
		t.ok.Add(1)
	case ctx.Err() == nil:
		t.failed.Add(1)
		t.once.Do(func() { t.first = err })
	}
}

// err returns an error if calls have failed.
func (t *tally) err() error {
	if n := t.failed.Load(); n > 0 {
		return fmt.Errorf("%d calls failed, the first: %w", n, t.first)
	}
	return nil
}

// call makes the i-th of many calls.
type call func(ctx context.Context, i int) error

// asOneOf makes calls as n callers, whose names begin with name.
func asOneOf(n int, name string, do call) call {
	return func(ctx context.Context, i int) error { return do(as(ctx, fmt.Sprintf("%s%d", name, i%n)), i) }
}

// times records the durations of successful calls.
type times struct {
	mu   sync.Mutex
	took []time.Duration
}

// of returns a call that is timed.
func (t *times) of(do call) call {
	return func(ctx context.Context, i int) error {
		start := time.Now()
		err := do(ctx, i)
		if err == nil {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.took = append(t.took, time.Since(start))
		}
		return err
	}
}

// taken returns the times since its last call.
func (t *times) taken() []time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	took := t.took
	t.took = nil
	return took
}

// keep keeps n calls in flight, numbered from 0, until ctx ends or stop is called. stop
// returns when all have ended, with an error if any has failed.
func keep(ctx context.Context, n int, do call) (stop func() error) {
	ctx, end := context.WithCancel(ctx)
	var t tally
	var next atomic.Int64
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				one, cancel := context.WithTimeout(ctx, callTimeout)
				err := do(one, int(next.Add(1)-1))
				cancel()
				t.add(ctx, err)
				if err != nil {
					_ = wait(ctx, afterFailure) // the loop checks ctx
				}
			}
		})
	}
	return func() error {
		end()
		wg.Wait()
		return t.err()
	}
}

// tick calls do at the intervals that gap returns, each in a goroutine, until ctx ends,
// and returns when all have ended.
func tick(ctx context.Context, gap func() time.Duration, do func(i int)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	next := time.Now()
	for i := 0; ; i++ {
		next = next.Add(gap())
		if wait(ctx, time.Until(next)) != nil {
			return
		}
		wg.Go(func() { do(i) })
	}
}

// evenly returns equal intervals.
func evenly(gap time.Duration) func() time.Duration {
	return func() time.Duration { return gap }
}

// atRandom returns the intervals of a Poisson process, like those of many independent
// users.
func atRandom(mean time.Duration) func() time.Duration {
	return func() time.Duration { return time.Duration(rand.ExpFloat64() * float64(mean)) }
}

// direct requests a user from Clerk and returns the status, or 0 without an answer.
func (c *clerk) direct(ctx context.Context, path string) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.address+"/v1/users"+path, nil)
	if err != nil {
		return 0
	}
	req.Header.Set("Authorization", "Bearer "+secretKey)
	resp, err := c.http.Do(req)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}
