package webhook

import (
	"context"
	"slices"
	"sync"
	"time"
)

// bodies limits how many bodies are read at once, and with them the memory that
// unsigned requests can take. Clerk sends a body in one go; one that is still being
// read after slowAfter is cut off if another waits for its place. Of those that wait,
// the newest is next: under a flood the older ones are about to be given up anyway.
// So slow senders don't keep Clerk's events out. Its methods are safe for concurrent
// use.
type bodies struct {
	limit int // at least 1

	mu      sync.Mutex
	reading []*body     // the oldest first; guarded by mu
	waiting []*body     // the newest last; guarded by mu
	timer   *time.Timer // of the next look at reading, or nil; guarded by mu
}

// body is one that is read or waits to be.
type body struct {
	cut   func() // ends the reading early; nil once it has been called
	began time.Time
	ready chan struct{} // closed when the reading may begin
}

// enter blocks until a body may be read and returns the function to be called after
// that, or reports false if ctx ends first. cut may be called at any time in between.
func (b *bodies) enter(ctx context.Context, cut func()) (leave func(), ok bool) {
	own := &body{cut: cut, ready: make(chan struct{})}
	b.mu.Lock()
	if len(b.reading) < b.limit {
		b.beginLocked(own)
	} else {
		b.waiting = append(b.waiting, own)
		b.cutSlowLocked()
	}
	b.mu.Unlock()
	select {
	case <-own.ready:
		return func() { b.leave(own) }, true
	case <-ctx.Done():
		b.leave(own)
		return nil, false
	}
}

// beginLocked lets the reading of a body begin.
func (b *bodies) beginLocked(own *body) {
	own.began = time.Now()
	b.reading = append(b.reading, own)
	close(own.ready)
}

// leave takes a body out, and gives its place to the newest that waits.
func (b *bodies) leave(own *body) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.waiting, own); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
		return
	}
	i := slices.Index(b.reading, own)
	b.reading = slices.Delete(b.reading, i, i+1)
	if last := len(b.waiting) - 1; last >= 0 {
		next := b.waiting[last]
		b.waiting = slices.Delete(b.waiting, last, last+1)
		b.beginLocked(next)
	}
	b.cutSlowLocked()
}

// cutSlowLocked cuts off as many slow bodies as others wait, the oldest first, and
// sees to it that those that become slow are cut off then.
func (b *bodies) cutSlowLocked() {
	wanted := len(b.waiting)
	for _, r := range b.reading {
		if wanted == 0 {
			return
		}
		if r.cut != nil {
			if rest := slowAfter - time.Since(r.began); rest > 0 {
				if b.timer == nil {
					b.timer = time.AfterFunc(rest, b.lookAgain)
				}
				return
			}
			r.cut()
			r.cut = nil
		}
		wanted--
	}
}

func (b *bodies) lookAgain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.timer = nil
	b.cutSlowLocked()
}
