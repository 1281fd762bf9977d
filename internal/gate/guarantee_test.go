package gate

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// TestAGuaranteeHoldsInAFlood: a caller with a fifth of the quota, whose calls are lists or
// batches of lookups at either priority, has at least that while a thousand other callers
// with a hundred times its weight flood the queue, and no call that was accepted misses its
// deadline.
func TestAGuaranteeHoldsInAFlood(t *testing.T) {
	list := func(ctx context.Context, g *Gate, o Options, _ string) error {
		_, err := g.List(ctx, clerkapi.ListParams{}, o)
		return err
	}
	lookups := func(ctx context.Context, g *Gate, o Options, id string) error {
		var ids []string
		for i := range 100 {
			ids = append(ids, fmt.Sprintf("user_%s%d", id, i))
		}
		return g.Lookup(ctx, ids, o)[99].Err
	}
	for name, call := range map[string]func(context.Context, *Gate, Options, string) error{"lists": list, "lookups": lookups} {
		for _, p := range priorities {
			t.Run(fmt.Sprint(name, p), func(t *testing.T) {
				clerk := &fakeClerk{latency: 50 * time.Millisecond}
				inBubble(t, clerk, Config{Quota: quota.Config{Limit: 100}}, func(t *testing.T, g *Gate) {
					shares := map[string]Share{"guaranteed": {Guaranteed: 20}}
					ctx, stop := context.WithCancel(t.Context())
					defer stop()
					for i := range 1000 {
						who := fmt.Sprint("other", i)
						shares[who] = Share{Weight: 100}
						go func() {
							for ctx.Err() == nil {
								_ = list(ctx, g, Options{Caller: who, Party: Party{Peer: who}}, "")
							}
						}()
					}
					g.SetShares(shares)
					time.Sleep(30 * time.Second) // until the quota that was free is spent
					var done, refused, late int
					for c := range 10 {
						go func() {
							for i := 0; ctx.Err() == nil; i++ {
								timeout, cancel := context.WithTimeout(ctx, 10*time.Second)
								err := call(timeout, g, Options{Caller: "guaranteed", Party: Party{Peer: "guaranteed"}, Priority: p}, fmt.Sprintf("%dx%dx", c, i))
								clerk.change(func() {
									switch {
									case err == nil:
										done++
									case timeout.Err() == nil:
										refused++
									case ctx.Err() == nil:
										late++
									}
								})
								cancel()
							}
						}()
					}
					time.Sleep(100 * time.Second)
					clerk.change(func() {
						t.Logf("%d done, %d refused, %d late", done, refused, late)
						if done < 190 || refused+late > 0 {
							t.Errorf("%d calls are done in ten windows, %d are refused and %d late, want 20 per window", done, refused, late)
						}
					})
				})
			})
		}
	}
}

// TestAGuaranteeHoldsInAFullQueue: others that keep the queue full do not keep a caller with
// a guarantee out, as long as few of its calls wait at once.
func TestAGuaranteeHoldsInAFullQueue(t *testing.T) {
	clerk := &fakeClerk{latency: 50 * time.Millisecond}
	inBubble(t, clerk, Config{Quota: quota.Config{Limit: 100}, QueueLimit: 10_000}, func(t *testing.T, g *Gate) {
		shares := map[string]Share{"guaranteed": {Guaranteed: 20}}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var done, refused, turnedAway int
		for i := range 200 {
			who := fmt.Sprint("other", i%20)
			shares[who] = Share{Weight: 100}
			go func() {
				for n := 0; ctx.Err() == nil; n++ {
					ids := make([]string, 100)
					for k := range ids {
						ids[k] = fmt.Sprintf("user_%dx%dx%d", i, n, k)
					}
					for _, r := range g.Lookup(ctx, ids, Options{Caller: who, Party: Party{Peer: who}}) {
						if errors.Is(r.Err, ErrQueueFull) {
							clerk.change(func() { turnedAway++ })
						}
					}
					time.Sleep(3 * time.Second)
				}
			}()
		}
		g.SetShares(shares)
		time.Sleep(30 * time.Second) // until the quota that was free is spent
		for range 5 {
			go func() {
				for ctx.Err() == nil {
					timeout, cancel := context.WithTimeout(ctx, 10*time.Second)
					_, err := g.List(timeout, clerkapi.ListParams{}, Options{Caller: "guaranteed", Party: Party{Peer: "guaranteed"}})
					cancel()
					clerk.change(func() {
						if err == nil {
							done++
						} else if ctx.Err() == nil {
							refused++
						}
					})
					time.Sleep(time.Millisecond)
				}
			}()
		}
		time.Sleep(50 * time.Second)
		clerk.change(func() {
			t.Logf("%d done, %d refused; of the others %d ids were turned away", done, refused, turnedAway)
			if done < 95 || refused > 0 {
				t.Errorf("%d calls are done in five windows and %d refused, want 20 per window and none", done, refused)
			}
			if turnedAway == 0 {
				t.Error("the queue was never full")
			}
		})
	})
}
