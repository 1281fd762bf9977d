package webhook

import (
	"context"
	"sync"
	"time"
)

// bodies limits how many bodies are read at once, and with them the memory that
// unsigned requests can take. Clerk sends a body in one go; one that is still being
// read after a second is cut off if another waits for its place. So slow senders don't
// keep Clerk's events out. It is made by newBodies and safe for concurrent use.
type bodies struct {
	places chan struct{} // one element for each body that is being read

	mu      sync.Mutex
	reading []*reading // in the order of their begin; guarded by mu
}

// reading is a body that is being read.
type reading struct {
	began time.Time
	cut   func() // ends it early
}

func newBodies(limit int) *bodies { return &bodies{places: make(chan struct{}, limit)} }

// enter blocks until a body may be read and returns what must be called after that,
// or reports false if ctx ends first. cut may be called at any time until then.
func (b *bodies) enter(ctx context.Context, cut func()) (leave func(), ok bool) {
	for {
		timer := time.NewTimer(b.cutSlow())
		select {
		case b.places <- struct{}{}:
			timer.Stop()
			return b.add(cut), true
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, false
		}
	}
}

func (b *bodies) add(cut func()) (leave func()) {
	r := &reading{time.Now(), cut}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = append(b.reading, r)
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for i, other := range b.reading {
			if other == r {
				b.reading = append(b.reading[:i], b.reading[i+1:]...)
				break
			}
		}
		<-b.places
	}
}

// cutSlow cuts off the oldest body if all places are taken and it has had slowAfter,
// and returns how long to wait before the next try.
func (b *bodies) cutSlow() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.reading) < cap(b.places) {
		return slowAfter
	}
	for _, r := range b.reading {
		if r.cut == nil {
			continue // it is ending
		}
		if rest := slowAfter - time.Since(r.began); rest > 0 {
			return rest
		}
		r.cut()
		r.cut = nil
		break
	}
	return slowAfter
}
