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
	// maxViewers is how many watch at once. One costs about 30 kB a second to send
	// while a hundred callers are shown.
	maxViewers = 64
	// viewerTimeout is how long a viewer may leave untaken what is sent to it.
	viewerTimeout = 5 * time.Second
	// maxWatch is how long one watches until it must come back and show who it is.
	maxWatch = 30 * time.Minute
)

var errManyViewers = errors.New("too many watch the page already")

// shown is what viewers get of a second. Each message is encoded once, when the first
// viewer wants it.
type shown struct {
	view     *View
	tick     func() []byte
	state    map[bool]func() []byte // by whether it has the callers
	outdated chan struct{}          // closed when there is a later one
}

// show has viewers get v; p.mu is held.
func (p *Page) show(v *View) {
	if p.shown != nil {
		close(p.shown.outdated)
	}
	newest, events := p.history.samples[p.history.index(0)], p.history.newest()
	state := func(names bool) func() []byte {
		return sync.OnceValue(func() []byte { return encode(p.stateOf(v, events, names)) })
	}
	p.shown = &shown{
		view:  v,
		tick:  sync.OnceValue(func() []byte { return encode(tickOf(v, newest)) }),
		state: map[bool]func() []byte{true: state(true), false: state(false)}, outdated: make(chan struct{}),
	}
}

// latest returns what was seen last, nil before the first sample.
func (p *Page) latest() *shown {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shown
}

// encode returns v as JSON. What is shown has nothing that can't be encoded.
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

// watch sends what is shown until ctx ends: hello once, tick every second, and state
// whenever it has changed.
func (p *Page) watch(ctx context.Context, w http.ResponseWriter, names bool) {
	ctx, cancel := context.WithTimeout(ctx, maxWatch)
	defer cancel()
	to := &viewer{w, http.NewResponseController(w)}
	_ = to.control.SetReadDeadline(time.Time{}) // that of the request, which would end ctx
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // has nginx pass on what is sent at once
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
func waitFor(ctx context.Context, s *shown) bool {
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

// viewer is somebody who watches.
type viewer struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// send writes a message, and reports whether the viewer still takes what is sent. Data
// has no line breaks.
func (v *viewer) send(event string, data []byte) bool {
	_ = v.control.SetWriteDeadline(time.Now().Add(viewerTimeout))
	_, err := fmt.Fprintf(v.w, "event: %s\ndata: %s\n\n", event, data)
	return err == nil
}

func (v *viewer) flush() bool { return v.control.Flush() == nil }
