package gate

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
)

// twoReplicas runs two gates that share a state.
func twoReplicas(t *testing.T, f func(t *testing.T, state *fakeState, a, b *Gate, crash func())) {
	state := newState()
	inBubble(t, &fakeClerk{}, Config{Shared: state, Quota: quota.Config{LostHold: 20 * time.Second}}, func(t *testing.T, a *Gate) {
		b := New(Config{Upstream: &fakeClerk{}, Shared: state})
		ctx, crash := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { _ = b.Run(ctx); close(done) }()
		time.Sleep(time.Second)
		f(t, state, a, b, crash)
		crash()
		<-done
	})
}

// TestARequestIDIsOneLeaseAtAllReplicas: once it is granted, and after its release.
func TestARequestIDIsOneLeaseAtAllReplicas(t *testing.T) {
	twoReplicas(t, func(t *testing.T, _ *fakeState, a, b *Gate, _ func()) {
		ask := LeaseRequest{Permits: 3, TTL: time.Minute, ID: "one"}
		o := Options{Caller: "writes"}
		first, err := b.Acquire(t.Context(), ask, o)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		again, err := a.Acquire(t.Context(), ask, o)
		if err != nil || again.ID != first.ID || again.Expires.Sub(first.Expires).Abs() > time.Second {
			t.Errorf("at another replica: %v, %v, want %v", again, err, first)
		}
		here, err := b.Acquire(t.Context(), ask, o)
		if err != nil || here.ID != first.ID {
			t.Errorf("at the same replica: %v, %v, want %v", here, err, first)
		}
		if first.Repeated || !again.Repeated || !here.Repeated {
			t.Errorf("repeated: %v, then %v and %v", first.Repeated, again.Repeated, here.Repeated)
		}
		if n := a.Status().Leased; n != 0 {
			t.Errorf("the other replica has lent %d permits", n)
		}
		other := ask
		other.Permits = 2
		if _, err := a.Acquire(t.Context(), other, o); !errors.Is(err, ErrRequestID) {
			t.Errorf("for another number of permits: %v", err)
		}
		if le, err := a.Acquire(t.Context(), ask, Options{Caller: "another"}); err != nil || le.ID == first.ID {
			t.Errorf("another caller's: %v, %v", le, err)
		}
		if err := b.Release(t.Context(), first.ID, LeaseUse{Used: 3}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if _, err := a.Acquire(t.Context(), ask, o); !errors.Is(err, ErrNoLease) {
			t.Errorf("after the release: %v", err)
		}
		time.Sleep(time.Minute)
		if le, err := a.Acquire(t.Context(), ask, o); err != nil || le.ID == first.ID {
			t.Errorf("after its end: %v, %v", le, err)
		}
	})
}

// TestARequestThatWaitsElsewhere: a retry at another replica gets the lease that is
// granted where the request waits. If the request leaves or is refused there, or that
// replica ends, the retry waits itself.
func TestARequestThatWaitsElsewhere(t *testing.T) {
	for _, tt := range []struct {
		name   string
		leaves time.Duration // the first call; 0: it stays
		crash  bool
		same   bool
	}{{"granted", 0, false, true}, {"left", 2 * time.Second, false, false}, {"ended", 0, true, false}} {
		t.Run(tt.name, func(t *testing.T) {
			twoReplicas(t, func(t *testing.T, state *fakeState, a, b *Gate, crash func()) {
				state.change(func() { state.grants = 0 })
				ask := LeaseRequest{Permits: 3, TTL: time.Minute, ID: "one"}
				var first, second Lease
				var firstErr, secondErr error
				var calls sync.WaitGroup
				calls.Go(func() {
					ctx := t.Context()
					if tt.leaves > 0 {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, tt.leaves)
						defer cancel()
					}
					first, firstErr = b.Acquire(ctx, ask, Options{})
				})
				time.Sleep(time.Second)
				calls.Go(func() { second, secondErr = a.Acquire(t.Context(), ask, Options{}) })
				time.Sleep(10 * time.Second)
				if tt.crash {
					crash()
				}
				state.change(func() { state.grants = -1 })
				calls.Wait()
				if secondErr != nil || second.ID == "" || tt.same != (firstErr == nil && first.ID == second.ID) {
					t.Errorf("first %v, %v, second %v, %v", first, firstErr, second, secondErr)
				}
				if n := a.Status().Leased + b.Status().Leased; n != 3 {
					t.Errorf("%d permits are lent", n)
				}
			})
		})
	}
}

// TestRequestIDsWithoutTheState: leases are granted, and the replica that has granted
// them knows their request ids.
func TestRequestIDsWithoutTheState(t *testing.T) {
	twoReplicas(t, func(t *testing.T, state *fakeState, a, b *Gate, _ func()) {
		state.change(func() { state.hangs = true })
		time.Sleep(20 * time.Second)
		ask := LeaseRequest{Permits: 3, TTL: time.Minute, ID: "one"}
		first, err := a.Acquire(t.Context(), ask, Options{})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if again, err := a.Acquire(t.Context(), ask, Options{}); err != nil || again.ID != first.ID || time.Since(start) > time.Second {
			t.Errorf("again: %v, %v after %v", again, err, time.Since(start))
		}
		if other, err := b.Acquire(t.Context(), ask, Options{}); err != nil || other.ID == first.ID {
			t.Errorf("at another replica: %v, %v", other, err)
		}
	})
}
