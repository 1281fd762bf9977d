package page

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// maxViewers is the largest number of viewers at once. Each is sent about 30 kB a
	// second while a hundred callers are shown.
	maxViewers = 64
	// viewerTimeout is how long a write to a viewer may take.
	viewerTimeout = 5 * time.Second
	// maxWatch is how long a stream lasts. The browser then connects again and shows its
	// credentials.
	maxWatch = 30 * time.Minute
)

var errManyViewers = errors.New("too many viewers watch the page: close another one, or try again later")

// shownMessages holds the messages of one second. Each is encoded once, for the first
// viewer that needs it.
type shownMessages struct {
	view     *View
	tick     func() []byte
	state    map[bool]func() []byte // by whether it has the callers
	outdated chan struct{}          // closed when there is a later one
}

// show sends v to the viewers. The caller holds p.mu.
func (p *Page) show(v *View) {
	if p.shown != nil {
		close(p.shown.outdated)
	}
	newest, events := p.history.samples[p.history.index(0)], p.history.newest()
	state := func(names bool) func() []byte {
		return sync.OnceValue(func() []byte { return encode(p.stateOf(v, events, names)) })
	}
	p.shown = &shownMessages{
		view:  v,
		tick:  sync.OnceValue(func() []byte { return encode(tickOf(v, newest)) }),
		state: map[bool]func() []byte{true: state(true), false: state(false)}, outdated: make(chan struct{}),
	}
}

// latest returns the newest second, nil before the first sample.
func (p *Page) latest() *shownMessages {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shown
}

// encode returns v as JSON. It panics if v can't be encoded; every report can.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("page: %v", err))
	}
	return b
}

// join counts a viewer until leave is called.
func (p *Page) join() (leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.viewers >= maxViewers {
		return nil, errManyViewers
	}
	p.viewers++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.viewers--
	}, nil
}

// watch sends events until ctx ends: hello once, tick every second, and state whenever it
// has changed.
func (p *Page) watch(ctx context.Context, w http.ResponseWriter, names bool) {
	ctx, cancel := context.WithTimeout(ctx, maxWatch)
	defer cancel()
	to := &viewer{w, http.NewResponseController(w)}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // makes nginx forward each message at once
	if !to.send("hello", encode(p.helloOf(names))) {
		return
	}
	var sent []byte
	for {
		now := p.latest()
		if now != nil {
			state := now.state[names]()
			if !bytes.Equal(state, sent) && !to.send("state", state) || !to.send("tick", now.tick()) || !to.flush() {
				return
			}
			sent = state
		}
		if !waitFor(ctx, now) {
			return
		}
	}
}

// waitFor waits until s is outdated, or for a moment if it is nil. It returns false when
// ctx ends.
func waitFor(ctx context.Context, s *shownMessages) bool {
	if s == nil {
		timer := time.NewTimer(every / 10)
		defer timer.Stop()
		select {
		case <-timer.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
	select {
	case <-s.outdated:
		return true
	case <-ctx.Done():
		return false
	}
}

// viewer is the receiver of a stream.
type viewer struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// send writes a message and reports whether that succeeded. Data has no line breaks.
func (v *viewer) send(event string, data []byte) bool {
	_ = v.control.SetWriteDeadline(time.Now().Add(viewerTimeout))
	_, err := fmt.Fprintf(v.w, "event: %s\ndata: %s\n\n", event, data)
	return err == nil
}

func (v *viewer) flush() bool { return v.control.Flush() == nil }
