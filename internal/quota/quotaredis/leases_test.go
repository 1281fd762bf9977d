package quotaredis

import (
	"context"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"pgregory.net/rapid"

	"github.com/clerkgate/clerkgate/internal/quota"
)

// borrower is a caller that takes leases of a replica. It sends requests with them while
// they last, even if the replica has ended meanwhile, and releases some of them.
type borrower struct {
	*replica
	permits  int // of the next lease
	gathered []quota.Permit
	others   int  // permits that others had since
	granted  int  // leases
	lent     *int // permits of leases that last, of all replicas
	most     *int
}

// borrows makes r take leases from now on.
func (w *world) borrows(r *replica, lent, most *int) *borrower {
	b := &borrower{replica: r, lent: lent, most: most, permits: 1 + w.rnd.IntN(w.cfg.MostLent())}
	r.borrow = b.take
	return b
}

// take takes every second permit.
func (b *borrower) take(p quota.Permit) bool {
	w := b.world
	if b.others++; b.others < 2 || !b.MayLend(w.now, b.permits) {
		for _, p := range b.gathered {
			if b.others >= 2 { // it may not any more
				b.GiveBack(p, w.now)
			}
		}
		if b.others >= 2 {
			b.gathered = nil
		}
		return false
	}
	b.others = 0
	if b.gathered = append(b.gathered, p); len(b.gathered) < b.permits {
		return true
	}
	ttl := time.Duration(500+w.rnd.IntN(4000)) * time.Millisecond
	n, end := b.permits, w.now.Add(ttl)
	loan := b.Lend(b.gathered, end, w.now)
	b.gathered = nil
	b.permits = 1 + w.rnd.IntN(w.cfg.MostLent())
	b.handOver(loan, b.Mark(), n, end)
	return true
}

// handOver waits until the state knows of the loan.
func (b *borrower) handOver(loan quota.Loan, mark int64, n int, end time.Time) {
	w := b.world
	switch {
	case b.dead || w.now.After(end):
		return
	case !b.Recorded(mark):
		w.after(time.Millisecond, func() { b.handOver(loan, mark, n, end) })
		return
	}
	b.granted++
	*b.lent += n
	*b.most = max(*b.most, *b.lent)
	over := func() { *b.lent -= n }
	left := end.Sub(w.now)
	if w.rnd.IntN(2) == 0 { // it is forgotten; requests arrive up to the end, and longer
		for range n {
			at := time.Duration(w.rnd.Int64N(int64(left) + int64(w.cfg.LostHold)))
			w.after(at, func() { w.arrivals = append(w.arrivals, w.now) })
		}
		w.after(left, over)
		return
	}
	used := w.rnd.IntN(n + 1)
	released := time.Duration(1 + w.rnd.Int64N(int64(left)))
	for range used {
		w.after(time.Duration(w.rnd.Int64N(int64(released))), func() { w.arrivals = append(w.arrivals, w.now) })
	}
	w.after(released, func() {
		over()
		if !b.dead {
			b.Recall(loan, quota.Use{Sent: used, Unanswered: w.rnd.IntN(used + 1)}, w.now)
		}
	})
}

// TestLeasesKeepToTheQuota: callers of one replica and of three take leases, release and
// forget them beside requests, while replicas crash, stop and start. No window holds
// more than the quota, at most half is lent, requests go on, and nothing is held for
// ever.
func TestLeasesKeepToTheQuota(t *testing.T) {
	for name, n := range map[string]int{"one": 1, "three": 3} {
		t.Run(name, func(t *testing.T) {
			store, granted := newStore(t), 0
			rapid.Check(t, func(t *rapid.T) {
				w := newWorld(t, store, quota.New(quota.Config{
					Limit: rapid.SampledFrom([]int{10, 40}).Draw(t, "limit"), Window: 2 * time.Second, LostHold: time.Second, FirstWindow: quota.WaitWindow,
				}, epoch).Config())
				lent, most := 0, 0
				var borrowers []*borrower
				for range n {
					borrowers = append(borrowers, w.borrows(w.add([2]int{30, 0}), &lent, &most))
				}
				w.run(w.now.Add(5 * time.Second))
				for range rapid.IntRange(1, 3).Draw(t, "events") {
					b := borrowers[rapid.IntRange(0, len(borrowers)-1).Draw(t, "who")]
					switch rapid.SampledFrom([]string{"crash", "bye", "nothing"}).Draw(t, "what") {
					case "crash":
						b.dead = true
					case "bye":
						b.borrow, b.wants = nil, [2]int{}
						for _, p := range b.gathered {
							b.GiveBack(p, w.now)
						}
						b.gathered, b.bye = nil, true
					}
					w.run(w.now.Add(time.Duration(rapid.IntRange(1, 4000).Draw(t, "quiet ms")) * time.Millisecond))
					if b.dead || b.bye {
						borrowers = append(borrowers, w.borrows(w.add([2]int{30, 0}), &lent, &most))
					}
					w.check()
				}
				w.run(w.now.Add(6 * time.Second))
				w.check()
				if most > w.cfg.MostLent() {
					t.Fatalf("%d permits were lent at once of %d", most, w.cfg.Limit)
				}
				for _, b := range borrowers {
					granted += b.granted
					b.borrow, b.wants = nil, [2]int{}
					if !b.dead {
						for _, p := range b.gathered {
							b.GiveBack(p, w.now)
						}
					}
				}
				if len(w.arrivals) == 0 {
					t.Fatal("nothing was ever sent")
				}
				w.run(w.now.Add(22 * time.Second)) // replicas that crashed are forgotten by then
				for _, r := range w.replicas {
					if s := r.State(w.now); !r.dead && (s.Held != 0 || s.Available != w.cfg.Limit) {
						t.Fatalf("in the end %+v", s)
					}
				}
			})
			if granted == 0 {
				t.Error("no lease was ever granted")
			}
		})
	}
}

// livesFor reports whether a key will live for at least d, according to Redis.
func livesFor(pttl rueidis.RedisResult, d time.Duration) bool {
	ms, err := pttl.AsInt64()
	return err == nil && time.Duration(ms)*time.Millisecond >= d
}

// TestALoanOutlivesItsReplica: whether the replica sends a goodbye or crashes, and
// whichever replica comes after it.
func TestALoanOutlivesItsReplica(t *testing.T) {
	store := newStore(t)
	for _, crash := range []bool{false, true} {
		calm(t, store, quota.Config{Window: 3 * time.Second}, func(w *world) {
			r := w.addAt("here", [2]int{})
			w.run(epoch.Add(time.Second))
			r.MayLend(w.now, 50)
			w.run(w.now.Add(time.Second))
			r.wants[0] = 50
			start := w.now
			r.send()
			var got []quota.Permit
			r.borrow = func(p quota.Permit) bool {
				if !r.MayLend(w.now, 50) || len(got) == 50 {
					return false
				}
				if got = append(got, p); len(got) == 50 {
					r.Lend(got, start.Add(time.Minute), w.now)
					r.wants = [2]int{}
				}
				return true
			}
			w.run(start.Add(time.Second))
			if len(got) != 50 {
				t.Fatalf("%d permits gathered", len(got))
			}
			if left := store.client.Do(context.Background(), store.client.B().Pttl().Key(store.key).Build()); !livesFor(left, 82*time.Second) {
				t.Error("Redis forgets the state before the lease is over")
			}
			if r.dead = crash; !crash {
				r.bye = true
			}
			w.run(w.now.Add(15 * time.Second))
			next := w.addAt("here", [2]int{})
			w.run(w.now.Add(time.Second))
			if s := next.State(w.now); s.Held != 50 || s.Available != 50 {
				t.Errorf("crash %v: after 15 s %+v, want 50 held", crash, s)
			}
			w.run(start.Add(80 * time.Second)) // the lease's end and twice the time-out, but no window
			if s := next.State(w.now); s.Held != 50 {
				t.Errorf("crash %v: at the end of the lease %+v, want 50 held", crash, s)
			}
			w.run(w.now.Add(15 * time.Second))
			if s := next.State(w.now); s.Held != 0 {
				t.Errorf("crash %v: in the end %+v, want nothing held", crash, s)
			}
		})
	}
}

// TestLendAfter: a replica learns when more may be lent, whichever replicas have lent.
func TestLendAfter(t *testing.T) {
	calm(t, newStore(t), quota.Config{LostHold: 20 * time.Second}, func(w *world) {
		a, b := w.add([2]int{}), w.add([2]int{})
		w.run(epoch.Add(time.Second))
		lend := func(r *replica, n int, ttl time.Duration) (got quota.Loan) {
			t.Helper()
			r.MayLend(w.now, n)
			w.run(w.now.Add(time.Second))
			var permits []quota.Permit
			r.wants[0] = n
			r.borrow = func(p quota.Permit) bool {
				if permits = append(permits, p); len(permits) == n {
					got = r.Lend(permits, w.now.Add(ttl), w.now)
					r.wants, r.borrow = [2]int{}, nil
				}
				return true
			}
			w.run(w.now.Add(5 * time.Second))
			if got.Permits != n {
				t.Fatalf("%d of %d permits gathered", len(permits), n)
			}
			return got
		}
		first := lend(a, 20, time.Minute)
		lend(a, 10, 2*time.Minute)
		lent := w.now
		lend(b, 15, 4*time.Minute)
		for _, tt := range []struct {
			permits int
			from    time.Time // of the known end to the earliest
		}{
			{5, time.Time{}}, {6, first.Save().Gone}, {25, first.Save().Gone}, {26, lent.Add(110 * time.Second)},
		} {
			b.MayLend(w.now, tt.permits)
			w.run(w.now.Add(time.Second))
			wait := b.LendAfter(w.now, tt.permits)
			if got := w.now.Add(wait); tt.from.IsZero() && wait != 0 || !tt.from.IsZero() && (got.Before(tt.from) || got.After(tt.from.Add(45*time.Second))) {
				t.Errorf("%d permits: in %v", tt.permits, wait)
			}
		}
		b.MayLend(w.now, 10)
		w.run(w.now.Add(time.Second))
		a.Recall(first, quota.Use{}, w.now)
		w.run(w.now.Add(time.Second))
		if wait := b.LendAfter(w.now, 10); wait != 0 || !b.MayLend(w.now, 10) {
			t.Errorf("after a release: in %v", wait)
		}
	})
}

// TestMail: a message reaches its receiver if that is present, and comes back otherwise.
func TestMail(t *testing.T) {
	store := newStore(t)
	calm(t, store, quota.Config{}, func(w *world) {
		a, b := w.add([2]int{}), w.add([2]int{})
		w.run(epoch.Add(time.Second))
		exchange := func(r *replica) quota.Reply {
			report := r.Report(w.now, [2]int{})
			store.setTime(w.now)
			reply, err := store.Exchange(context.Background(), report)
			if err != nil {
				t.Fatal(err)
			}
			r.Reply(report, w.now, w.now, reply, nil)
			return reply
		}
		for range 2 { // what was sent twice is there once
			if !a.Post(quota.Message{Token: "t", To: b.Tag(), Lease: "l", Used: -1, Unanswered: 2, Limited: true}) {
				t.Fatal("not posted")
			}
		}
		a.Post(quota.Message{Token: "gone", To: "nobody"})
		if reply := exchange(a); reply.Bounced != "gone" {
			t.Errorf("bounced: %q", reply.Bounced)
		}
		want := quota.Message{Token: "t", To: b.Tag(), From: a.Tag(), Lease: "l", Used: -1, Unanswered: 2, Limited: true}
		if reply := exchange(b); len(reply.Mail) != 1 || reply.Mail[0] != want {
			t.Errorf("got %+v", reply.Mail)
		}
		if reply := exchange(b); len(reply.Mail) != 0 {
			t.Errorf("got again %+v", reply.Mail)
		}
		b.dead = true
		w.run(w.now.Add(time.Second))
		a.Post(quota.Message{Token: "silent", To: b.Tag()})
		if reply := exchange(a); reply.Bounced != "silent" {
			t.Errorf("to one that is silent: bounced %q", reply.Bounced)
		}
		// After this time, all leases that a lost state may have known have ended, and
		// those of b.
		w.run(epoch.Add(quota.MaxLoan + 2*time.Second))
		a.Post(quota.Message{Token: "nobody", To: "nobody"})
		a.Post(quota.Message{Token: "forgotten", To: b.Tag()})
		if reply := exchange(a); reply.Bounced != "forgotten" || reply.Unknown != "nobody" {
			t.Errorf("after the longest lease: bounced %q, unknown %q", reply.Bounced, reply.Unknown)
		}
		w.run(w.now.Add(quota.MaxLoan))
		a.Post(quota.Message{Token: "over", To: b.Tag()})
		if reply := exchange(a); reply.Bounced != "" || reply.Unknown != "over" {
			t.Errorf("once its leases are over: bounced %q, unknown %q", reply.Bounced, reply.Unknown)
		}
	})
}
