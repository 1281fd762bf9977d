package usercache

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/usage"
)

// TestMarksAreKeptForTheirTime: a mark applies for its time, however many others are set;
// dropping one early makes more copies old, never fewer.
func TestMarksAreKeptForTheirTime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const keep, most = 10 * time.Second, 5
		m := newMarks(keep, most)
		type known struct {
			mark
			set time.Duration
		}
		all := make(map[string]known)
		now := time.Hour
		for i := range rapid.IntRange(1, 200).Draw(rt, "sets") {
			now += time.Duration(rapid.IntRange(0, 3000).Draw(rt, "later")) * time.Millisecond
			id := fmt.Sprint(rapid.IntRange(0, 9).Draw(rt, "id"))
			k := m.get(id, now)
			k.seq, k.newest.updatedAt, k.newest.seq = max(k.seq, uint64(i+1)), max(k.newest.updatedAt, rapid.Int64Range(0, 5).Draw(rt, "told")), uint64(i)
			m.set(id, k, now)
			all[id] = known{k, now}
			if len(m.index) > most {
				rt.Fatalf("%d marks", len(m.index))
			}
			for id, want := range all {
				got := m.get(id, now)
				if now-want.set >= keep {
					continue
				}
				if got.seq < want.seq || got.newest.updatedAt < want.newest.updatedAt || got.newest.seq < want.newest.seq {
					rt.Fatalf("the mark of %s is %+v, want no less than %+v", id, got, want.mark)
				}
			}
		}
		if got := m.get("0", now+keep); got != (mark{}) {
			rt.Errorf("a mark counts after its time: %+v", got)
		}
	})
}

// TestMarksShrink: expired marks are dropped a few at a time, and their slots are reused.
func TestMarksShrink(t *testing.T) {
	const n = 10_000
	m := newMarks(time.Minute, 2*n)
	for i := range n {
		m.set(fmt.Sprint(i), mark{seq: 1}, time.Hour)
	}
	for i := range n {
		m.set(fmt.Sprint("later ", i), mark{seq: 2}, time.Hour+2*time.Minute)
		if before := n - dropsPerSet*(i+1) + i + 1; len(m.index) < min(before, n) {
			t.Fatalf("%d marks after %d more: dropped all at once", len(m.index), i+1)
		}
	}
	if len(m.index) != n || len(m.slots) > n+1 {
		t.Errorf("%d marks in %d slots, want %d", len(m.index), len(m.slots), n)
	}
}

// BenchmarkMarks measures invalidations and lookups with 1,000,000 marks, while marks
// expire as fast as they are set, and the longest call.
func BenchmarkMarks(b *testing.B) {
	const n = 1_000_000
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("user_%027d", i)
	}
	fill := func(b *testing.B, ago time.Duration) *Store {
		s, err := NewStore(Config{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { s.memory.StopAllGoroutines() })
		for _, id := range ids {
			s.order.invalidate(id, 1, false, time.Now().Add(-ago))
		}
		return s
	}
	for name, ago := range map[string]time.Duration{"kept": 0, "all run out": longestFetch + time.Second} {
		b.Run("invalidate, "+name, func(b *testing.B) {
			s := fill(b, ago)
			var longest time.Duration
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				began := time.Now()
				if err := s.Invalidate(b.Context(), ids[i%n:i%n+1]); err != nil {
					b.Fatal(err)
				}
				longest = max(longest, time.Since(began))
				i++
			}
			b.ReportMetric(float64(longest.Microseconds())/1000, "longest-ms")
		})
		b.Run("lookup, "+name, func(b *testing.B) {
			s := fill(b, ago)
			id := "user_1"
			s.Keep(id, gate.Result{User: userOf(id, 1), FetchTime: time.Now(), Stamp: 2})
			c := New(s, gate.New(gate.Config{}), usage.New())
			b.ReportAllocs()
			for b.Loop() {
				if r := c.Lookup(b.Context(), []string{id}, Options{})[0]; r.Err != nil {
					b.Fatal(r.Err)
				}
				_ = s.order.require(id, time.Now())
			}
		})
	}
}
