package clerkapi

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"time"
)

// How bodies of answers are read.
const (
	firstRead  = 64 << 10               // bytes reserved before the first byte is read
	largeShare = 8                      // a reader with at least this fraction of the total may have to give way
	patience   = 100 * time.Millisecond // after which a reader gives way to one that needs a quarter of what it has
)

var (
	errTooLarge = errors.New("the answer is larger")
	errGaveWay  = errors.New("the answer is too large beside others that are being read")
)

// intake bounds the total bytes of all answers being read. A reader reserves memory
// before it reads into it, in steps that double. If none is left, it waits for another
// reader to end. A few huge answers must not block the others, so the largest reader then
// gives way: it fails with errGaveWay. An intake is safe for concurrent use.
type intake struct {
	limit int64

	mu      sync.Mutex
	used    int64
	readers map[*reading]struct{}
	changed chan struct{} // closed when memory is released
}

// reading is one answer being read.
type reading struct {
	in      *intake
	held    int64
	waiting bool
	stop    context.CancelCauseFunc // makes its Read return
}

func newIntake(limit int64) *intake {
	return &intake{limit: limit, readers: make(map[*reading]struct{}), changed: make(chan struct{})}
}

// read reads all of body. It fails with errTooLarge beyond limit bytes, with errGaveWay,
// or with the cause of ctx's end. done releases the reserved memory; call it when the
// bytes are not used any more. abort interrupts a blocked read of body.
func (in *intake) read(ctx context.Context, body io.Reader, limit int64, abort func()) (text []byte, done func(), err error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(ctx, abort)()
	r := &reading{in: in, stop: stop}
	in.mu.Lock()
	in.readers[r] = struct{}{}
	in.mu.Unlock()
	text, err = r.readAll(ctx, body, limit)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errGaveWay) {
		err = cause
	}
	if err != nil {
		r.end()
		return text, func() {}, err
	}
	return text, r.end, nil
}

func (r *reading) readAll(ctx context.Context, body io.Reader, limit int64) ([]byte, error) {
	var text []byte
	for size := min(firstRead, limit+1); ; size = min(2*size, limit+1) {
		// During the copy both buffers exist.
		if err := r.reserve(ctx, size+int64(cap(text))); err != nil {
			return text, err
		}
		grown := make([]byte, len(text), size)
		copy(grown, text)
		text = grown
		r.shrink(size)
		for len(text) < cap(text) {
			n, err := body.Read(text[len(text):cap(text)])
			text = text[:len(text)+n]
			if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				if int64(len(text)) > limit {
					return text, errTooLarge
				}
				return text, nil
			}
			if err != nil {
				return text, err
			}
		}
		if int64(len(text)) > limit {
			return text, errTooLarge
		}
	}
}

// reserve blocks until r may hold size bytes.
func (r *reading) reserve(ctx context.Context, size int64) error {
	in := r.in
	in.mu.Lock()
	defer in.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	yields := int64(math.MaxInt64) // a reader with this many bytes gives way
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if more := size - r.held; in.used+more <= in.limit {
			in.used += more
			r.held = size
			return nil
		}
		r.waiting = true
		in.makeWay(yields)
		changed := in.changed
		in.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
			yields = 4 * size
		case <-ctx.Done():
		}
		in.mu.Lock()
		r.waiting = false
	}
}

// shrink reduces r to at most size bytes.
func (r *reading) shrink(size int64) {
	in := r.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if r.held > size {
		in.free(r.held - size)
		r.held = size
	}
}

// free returns n bytes. in.mu must be held.
func (in *intake) free(n int64) {
	in.used -= n
	close(in.changed)
	in.changed = make(chan struct{})
}

// makeWay aborts the largest reader if it is large, has at least yields bytes, or all
// readers wait. in.mu must be held.
func (in *intake) makeWay(yields int64) {
	var largest *reading
	all := true
	for r := range in.readers {
		all = all && (r.waiting || r.held == 0)
		if largest == nil || r.held > largest.held {
			largest = r
		}
	}
	if largest != nil && largest.held > 0 && (all || largest.held >= min(yields, in.limit/largeShare)) {
		largest.stop(errGaveWay)
	}
}

// end releases what r holds.
func (r *reading) end() {
	in := r.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if _, ok := in.readers[r]; !ok {
		return
	}
	delete(in.readers, r)
	in.free(r.held)
}
