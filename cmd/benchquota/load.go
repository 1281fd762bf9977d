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
	// callTimeout is the deadline of calls: longer than any wait that is due.
	callTimeout = time.Minute
	// afterFailure keeps a loop of calls that fail at once from spinning.
	afterFailure = 100 * time.Millisecond
)

// wait waits for d; its error is that of ctx, if that ended first.
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

// as returns a context for calls in the name of a caller.
func as(ctx context.Context, caller string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "clerkgate-caller", caller)
}

// tally counts calls. Its fields may be used at once.
type tally struct {
	ok, failed atomic.Int64
	once       sync.Once
	first      error // of the failures, to be read when all calls have ended
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

// call is the i-th of many calls.
type call func(ctx context.Context, i int) error

// asOneOf makes calls in the names of n callers, which begin with name.
func asOneOf(n int, name string, do call) call {
	return func(ctx context.Context, i int) error { return do(as(ctx, fmt.Sprintf("%s%d", name, i%n)), i) }
}

// times are how long calls took that did not fail.
type times struct {
	mu   sync.Mutex
	took []time.Duration
}

// of makes calls that are timed.
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

// taken returns the times since it was last asked.
func (t *times) taken() []time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	took := t.took
	t.took = nil
	return took
}

// keep keeps n calls in flight, which it numbers from 0 on, until ctx ends or stop
// is called. stop returns when all have ended, with an error if any has failed.
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
					_ = wait(ctx, afterFailure) // the loop asks ctx
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

// tick calls do at the times that gap spaces, each in a goroutine of its own,
// until ctx ends, and returns when all have ended.
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

// evenly spaces calls evenly.
func evenly(gap time.Duration) func() time.Duration {
	return func() time.Duration { return gap }
}

// atRandom spaces calls as those of many independent people are: a Poisson process.
func atRandom(mean time.Duration) func() time.Duration {
	return func() time.Duration { return time.Duration(rand.ExpFloat64() * float64(mean)) }
}

// direct asks Clerk itself for a user and tells the status of the answer, 0 if
// there is none.
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
