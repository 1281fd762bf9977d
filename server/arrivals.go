package server

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"
)

const (
	// maxArrivals is how many calls by gRPC may wait at once for their requests, whose
	// headers have arrived already. One takes about 10 KB beside its metadata.
	maxArrivals = 1 << 16
	// arrivalShare is the part of them that one address may have: a quarter.
	arrivalShare = 4
)

// arrivals bounds the calls by gRPC whose requests have not arrived: in time, and in number,
// in all and of one address. gRPC itself lets them wait until their deadlines, or for ever.
// Beyond the number, the oldest call of the same address gives way; what gives way ends with
// CANCELLED. Its methods are safe for concurrent use.
type arrivals struct {
	timeout time.Duration
	max     int // in all

	mu   sync.Mutex
	all  int                         // guarded by mu
	from map[netip.Prefix]*list.List // of *arrival, the oldest first; guarded by mu
}

func newArrivals(timeout time.Duration, most int) *arrivals {
	return &arrivals{timeout: timeout, max: most, from: make(map[netip.Prefix]*list.List)}
}

// arrival is a call whose request has not arrived, and its context.
type arrival struct {
	context.Context
	cancel  context.CancelFunc
	began   time.Time
	address netip.Prefix
	all     *arrivals
	place   *list.Element // nil once the call has left; guarded by the mutex of all
}

// arrivalKey is the context key of a call's *arrival.
type arrivalKey struct{}

func (a *arrival) Value(key any) any {
	if key == (arrivalKey{}) {
		return a
	}
	return a.Context.Value(key)
}

// begin is called with the context of each call when its headers have arrived. It is a
// tap.ServerInHandle.
func (r *arrivals) begin(ctx context.Context, _ *tap.Info) (context.Context, error) {
	a := &arrival{began: time.Now(), all: r}
	if p, ok := peer.FromContext(ctx); ok {
		a.address = addressOf(p.Addr)
	}
	a.Context, a.cancel = context.WithCancel(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	own := r.from[a.address]
	if own == nil {
		own = list.New()
	}
	if own.Len() > 0 && (r.all >= r.max || a.address.IsValid() && own.Len() >= max(r.max/arrivalShare, 1)) {
		r.end(own.Front().Value.(*arrival))
	}
	r.all++
	a.place = own.PushBack(a)
	r.from[a.address] = own // again, if it was empty
	return a, nil
}

// end ends a call. mu is held.
func (r *arrivals) end(a *arrival) {
	a.cancel()
	r.leave(a)
}

// leave ends the counting of a call. mu is held.
func (r *arrivals) leave(a *arrival) {
	if a.place == nil {
		return
	}
	own := r.from[a.address]
	own.Remove(a.place)
	a.place = nil
	r.all--
	if own.Len() == 0 {
		delete(r.from, a.address)
	}
}

// arrived ends the waiting of a context's call, if it has one: its request has arrived.
func arrived(ctx context.Context) {
	if a, ok := ctx.Value(arrivalKey{}).(*arrival); ok {
		a.all.mu.Lock()
		defer a.all.mu.Unlock()
		a.all.leave(a)
	}
}

// endLate ends the calls whose requests are late, and forgets those that have ended.
func (r *arrivals) endLate(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, own := range r.from {
		for e := own.Front(); e != nil; e = own.Front() {
			a := e.Value.(*arrival)
			if now.Sub(a.began) < r.timeout && a.Err() == nil {
				break
			}
			r.end(a)
		}
	}
}
