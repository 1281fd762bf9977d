package clerkapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// endless is a body without an end, which arrives as fast as it is read or, with a pause,
// a kilobyte at a time. It ends when stop is closed.
type endless struct {
	pause time.Duration
	stop  chan struct{}
	read  *atomic.Int64
}

func (e *endless) Read(p []byte) (int, error) {
	if e.pause > 0 {
		p = p[:min(len(p), 1<<10)]
		time.Sleep(e.pause)
	}
	select {
	case <-e.stop:
		return 0, errors.New("stopped")
	default:
	}
	if e.read != nil {
		e.read.Add(int64(len(p)))
	}
	return len(p), nil
}

// TestIntake reads many huge answers at once, some fast and some slow, beside small ones:
// the reserved memory stays within the limit, and no small one fails or waits long.
func TestIntake(t *testing.T) {
	const limit, each = 128 << 20, 32 << 20
	synctest.Test(t, func(t *testing.T) {
		in := newIntake(limit)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var readers sync.WaitGroup
		var huge, gaveWay atomic.Int64
		for i := range 64 {
			stop := make(chan struct{})
			body := &endless{stop: stop, pause: time.Duration(i%2) * time.Millisecond}
			readers.Go(func() {
				var once sync.Once
				_, done, err := in.read(ctx, body, each, func() { once.Do(func() { close(stop) }) })
				done()
				switch {
				case errors.Is(err, errTooLarge):
					huge.Add(1)
				case errors.Is(err, errGaveWay):
					gaveWay.Add(1)
				case !errors.Is(err, context.DeadlineExceeded) && err.Error() != "stopped":
					t.Errorf("got %v", err)
				}
			})
		}
		for range 100 {
			readers.Go(func() {
				text := bytes.Repeat([]byte("x"), 1<<20)
				start := time.Now()
				got, done, err := in.read(ctx, bytes.NewReader(text), each, func() {})
				if err != nil || !bytes.Equal(got, text) {
					t.Errorf("a small answer: %d bytes, %v", len(got), err)
				}
				in.mu.Lock()
				if in.used > limit {
					t.Errorf("%d bytes are reserved, want at most %d", in.used, limit)
				}
				in.mu.Unlock()
				done()
				if took := time.Since(start); took > time.Second {
					t.Errorf("a small answer took %v", took)
				}
			})
			time.Sleep(10 * time.Millisecond)
		}
		readers.Wait()
		if in.used != 0 || len(in.readers) != 0 {
			t.Errorf("%d bytes and %d readers are left", in.used, len(in.readers))
		}
		if huge.Load()+gaveWay.Load() == 0 {
			t.Error("no huge answer was too large")
		}
	})
}

// TestIntakeOfMany: answers of a usual size that don't fit at the same time wait for each
// other.
func TestIntakeOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newIntake(8 << 20)
		var readers sync.WaitGroup
		var failed atomic.Int64
		for range 64 {
			readers.Go(func() {
				_, done, err := in.read(t.Context(), bytes.NewReader(make([]byte, 500<<10)), 1<<20, func() {})
				if err != nil {
					failed.Add(1)
				}
				time.Sleep(time.Millisecond) // decoding
				done()
			})
		}
		readers.Wait()
		if n := failed.Load(); n > 0 {
			t.Errorf("%d of 64 answers failed", n)
		}
	})
}

// TestHugeAnswersAtOnce sends many endless answers to a client: what it reads stays
// within its limit, each is an ErrTooLarge, and the next call works.
func TestHugeAnswersAtOnce(t *testing.T) {
	var ends atomic.Bool
	client := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		if ends.Load() {
			_, _ = io.WriteString(w, countAnswer)
			return
		}
		filler := bytes.Repeat([]byte(" "), 64<<10)
		for {
			if _, err := w.Write(filler); err != nil {
				return
			}
		}
	})
	client.maxBody, client.intake = 1<<20, newIntake(4<<20)
	var calls sync.WaitGroup
	for range 32 {
		calls.Go(func() {
			_, err := client.CountUsers(t.Context(), nil)
			wantError(t, err, ErrTooLarge, false)
		})
	}
	calls.Wait()
	ends.Store(true)
	if _, err := client.CountUsers(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
