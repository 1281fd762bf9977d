package quota

import (
	"slices"
	"time"
)

// times is a sorted queue of instants. Adding at the end and dropping from the front cost
// O(1), and are nearly all that happens.
type times struct {
	buf  []time.Time
	head int
}

func (q *times) len() int           { return len(q.buf) - q.head }
func (q *times) at(i int) time.Time { return q.buf[q.head+i] }
func (q *times) all() []time.Time   { return slices.Clone(q.buf[q.head:]) }

// search returns how many instants are up to and including t.
func (q *times) search(t time.Time) int {
	i, _ := slices.BinarySearchFunc(q.buf[q.head:], t, func(a, b time.Time) int {
		if a.After(b) {
			return 1
		}
		return -1
	})
	return i
}

func (q *times) add(t time.Time) {
	if q.len() == 0 || !t.Before(q.buf[len(q.buf)-1]) {
		q.buf = append(q.buf, t)
		return
	}
	q.buf = slices.Insert(q.buf, q.head+q.search(t), t)
}

// drop drops one instant t, and reports whether there was one.
func (q *times) drop(t time.Time) bool {
	i := q.head + q.search(t) - 1
	if i < q.head || !q.buf[i].Equal(t) {
		return false
	}
	q.buf = slices.Delete(q.buf, i, i+1)
	return true
}

// dropUntil drops all instants up to and including t, and returns how many these were.
func (q *times) dropUntil(t time.Time) int {
	n := q.search(t)
	q.head += n
	if q.head > 64 && q.head > len(q.buf)/2 {
		q.buf = append(q.buf[:0], q.buf[q.head:]...)
		q.head = 0
	}
	return n
}
