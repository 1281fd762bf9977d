package server

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// Intervals of a watch: the default and the minimum.
const (
	defaultWatchInterval = time.Second
	leastWatchInterval   = 100 * time.Millisecond
)

func (s *quotaService) WatchQuota(req *clerkgatev1.WatchQuotaRequest, stream grpc.ServerStreamingServer[clerkgatev1.WatchQuotaResponse]) error {
	interval, err := watchInterval(req.GetMinInterval())
	if err != nil {
		return err
	}
	s.feed.join()
	defer s.feed.leave()
	ctx := stream.Context()
	for {
		seen := s.feed.latest()
		if err := stream.SendMsg(seen.message); err != nil {
			return sendError(ctx, err)
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-seen.outdated:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watchInterval returns the interval for the requested one.
func watchInterval(asked *durationpb.Duration) (time.Duration, error) {
	if asked == nil {
		return defaultWatchInterval, nil
	}
	if err := checkDuration("min_interval", asked); err != nil {
		return 0, err
	}
	return max(asked.AsDuration(), leastWatchInterval), nil
}

// quotaFeed reads the state of the quota once for all watchers. It is safe for concurrent
// use.
type quotaFeed struct {
	read func() *clerkgatev1.Quota

	mu       sync.Mutex
	watchers int       // guarded by mu
	last     *snapshot // nil before the first watcher; guarded by mu
}

// snapshot is one state of the quota.
type snapshot struct {
	quota    *clerkgatev1.Quota // shared; must not be modified
	message  once               // its encoded message
	outdated chan struct{}      // closed when there is a later one
}

// join adds a watcher. For the first one it reads the state again.
func (f *quotaFeed) join() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watchers++; f.watchers == 1 {
		f.look()
	}
}

// leave removes a watcher.
func (f *quotaFeed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watchers--
}

// latest returns the last state. Call it between join and leave only.
func (f *quotaFeed) latest() *snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// refresh reads the state of the quota if there are watchers.
func (f *quotaFeed) refresh() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watchers > 0 {
		f.look()
	}
}

// look replaces last if the state has changed. f.mu must be held.
func (f *quotaFeed) look() {
	q := f.read()
	if f.last != nil {
		if sameQuota(q, f.last.quota) {
			return
		}
		close(f.last.outdated)
	}
	f.last = &snapshot{quota: q, message: watchMessage(q), outdated: make(chan struct{})}
}

// watchMessage encodes the message of a state.
func watchMessage(q *clerkgatev1.Quota) once {
	b, err := proto.Marshal(&clerkgatev1.WatchQuotaResponse{Quota: q})
	if err != nil {
		panic(fmt.Sprintf("a quota that can't be encoded: %v", err)) // a name has invalid UTF-8
	}
	return b
}

// sameQuota reports whether a and b are the same state, ignoring the counters of
// exchanges with Redis. a and b are unchanged when it returns.
func sameQuota(a, b *clerkgatev1.Quota) bool {
	if a.GetShared() != nil {
		at := a.Shared.LastReplyTime
		defer func() { a.Shared.LastReplyTime = at }()
		a.Shared.LastReplyTime = b.GetShared().GetLastReplyTime()
	}
	return proto.Equal(a, b)
}
