package server

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"
)

const (
	// maxArrivals is the maximum of bytes of gRPC calls whose headers have arrived and whose
	// requests have not.
	maxArrivals = 512 << 20
	// arrivalShare is the part of them that one address may have: a quarter.
	arrivalShare = 4
	// arrivalBytes is the approximate memory of such a call, without its metadata.
	arrivalBytes = 10 << 10
)

// arrivals bounds the calls by gRPC whose requests have not arrived: in time, and in bytes,
// in all and of one address. gRPC itself lets them wait until their deadlines, or for ever.
// Beyond the bytes, the oldest calls give way; what gives way ends with CANCELLED. Requests
// usually arrive with their headers, so these are hardly ever calls of other callers. Its
// methods are safe for concurrent use.
type arrivals struct {
	timeout time.Duration
	max     int // bytes, in all

	mu      sync.Mutex
	all     arrivalQueue                   // guarded by mu
	from    map[netip.Prefix]*arrivalQueue // by address; guarded by mu
	late    int64                          // calls that ended since they were late; guarded by mu
	gaveWay int64                          // calls that gave way; guarded by mu
}

// arrivalQueue is calls, the oldest first, and their bytes.
type arrivalQueue struct {
	list.List // of *arrival
	bytes     int
}

func newArrivals(timeout time.Duration, most int) *arrivals {
	return &arrivals{timeout: timeout, max: most, from: make(map[netip.Prefix]*arrivalQueue)}
}

// arrival is a call whose request has not arrived, and its context.
type arrival struct {
	context.Context
	cancel  context.CancelFunc
	began   time.Time
	address netip.Prefix
	bytes   int
	all     *arrivals
	// The places in the queues of all calls and of the address, nil once the call has left;
	// guarded by the mutex of all.
	place, own *list.Element
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
func (r *arrivals) begin(ctx context.Context, info *tap.Info) (context.Context, error) {
	a := &arrival{began: time.Now(), bytes: arrivalBytes + metadataBytes(info.Header), all: r}
	if p, ok := peer.FromContext(ctx); ok {
		a.address = addressOf(p.Addr)
	}
	a.Context, a.cancel = context.WithCancel(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	own := r.from[a.address]
	if own == nil {
		own = &arrivalQueue{}
	}
	for a.address.IsValid() && own.Len() > 0 && own.bytes+a.bytes > r.max/arrivalShare {
		r.end(own.Front().Value.(*arrival), &r.gaveWay)
	}
	for r.all.Len() > 0 && r.all.bytes+a.bytes > r.max {
		r.end(r.all.Front().Value.(*arrival), &r.gaveWay)
	}
	r.from[a.address] = own // again, if it was empty
	a.place, a.own = r.all.PushBack(a), own.PushBack(a)
	r.all.bytes += a.bytes
	own.bytes += a.bytes
	return a, nil
}

// metadataBytes returns the size of metadata as HTTP/2 counts it.
func metadataBytes(md metadata.MD) (n int) {
	for name, values := range md {
		for _, value := range values {
			n += len(name) + len(value) + 32
		}
	}
	return n
}

// end ends a call, and counts it unless it has ended already. mu is held.
func (r *arrivals) end(a *arrival, count *int64) {
	if a.Err() == nil {
		*count++
	}
	a.cancel()
	r.leave(a)
}

// leave ends the counting of a call. mu is held.
func (r *arrivals) leave(a *arrival) {
	if a.place == nil {
		return
	}
	own := r.from[a.address]
	r.all.Remove(a.place)
	own.Remove(a.own)
	a.place, a.own = nil, nil
	r.all.bytes -= a.bytes
	own.bytes -= a.bytes
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

// endLate ends the calls whose requests are late.
func (r *arrivals) endLate(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for e := r.all.Front(); e != nil; e = r.all.Front() {
		a := e.Value.(*arrival)
		if now.Sub(a.began) < r.timeout {
			return
		}
		r.end(a, &r.late)
	}
}

// refused returns how many calls were late, and how many gave way.
func (r *arrivals) refused() (late, gaveWay int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.late, r.gaveWay
}
