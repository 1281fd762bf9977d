package webhook

import (
	"context"
	"slices"
	"sync"
	"time"
)

// bodies limits how many request bodies are read at the same time, and so the memory of
// unsigned requests. Clerk sends a body at once; a body that is still being read after
// slowAfter is cut off if another waits for its place. The newest waiting body is next,
// since under a flood the older ones are about to time out. So slow senders can't block
// Clerk's events. It is safe for concurrent use.
type bodies struct {
	limit int // at least 1

	mu      sync.Mutex
	reading []*body     // oldest first; guarded by mu
	waiting []*body     // newest last; guarded by mu
	timer   *time.Timer // runs the next cutSlowLocked, or nil; guarded by mu
}

// body is a body that is being read or waits for its turn.
type body struct {
	cut   func() // aborts the read; nil after the call
	began time.Time
	ready chan struct{} // closed when the read may begin
}

// enter blocks until a body may be read, and returns the function to call after the read.
// It returns false if ctx ends first. It may call cut at any time in between.
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

// beginLocked starts the read of a body. b.mu must be held.
func (b *bodies) beginLocked(own *body) {
	own.began = time.Now()
	b.reading = append(b.reading, own)
	close(own.ready)
}

// leave removes a body and gives its place to the newest that waits.
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

// cutSlowLocked cuts off as many slow bodies as others wait, oldest first, and schedules
// itself for those that become slow later. b.mu must be held.
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
