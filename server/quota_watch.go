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

// The least time between two messages of a watch: where none is asked for, and
// the shortest that there is.
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

// watchInterval gives the least time between two messages that is meant.
func watchInterval(asked *durationpb.Duration) (time.Duration, error) {
	if asked == nil {
		return defaultWatchInterval, nil
	}
	if err := checkDuration("min_interval", asked); err != nil {
		return 0, err
	}
	return max(asked.AsDuration(), leastWatchInterval), nil
}

// quotaFeed reads how the quota stands, once for all who watch. Its methods may be
// called at once.
type quotaFeed struct {
	read func() *clerkgatev1.Quota

	mu       sync.Mutex
	watchers int       // guarded by mu
	last     *snapshot // nil before the first watcher; guarded by mu
}

// snapshot is how the quota stood until it was found to stand otherwise.
type snapshot struct {
	quota    *clerkgatev1.Quota // shared: never to be changed
	message  once               // the message that tells it
	outdated chan struct{}      // closed when there is a later one
}

// join begins a watch: latest is of this moment, if it is the first.
func (f *quotaFeed) join() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watchers++; f.watchers == 1 {
		f.look()
	}
}

// leave ends a watch.
func (f *quotaFeed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watchers--
}

// latest gives what was seen last. It is for those who have joined.
func (f *quotaFeed) latest() *snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// refresh looks how the quota stands, if anybody watches.
func (f *quotaFeed) refresh() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watchers > 0 {
		f.look()
	}
}

// look replaces last if the quota stands otherwise; f.mu is held.
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

// watchMessage encodes the message that tells q.
func watchMessage(q *clerkgatev1.Quota) once {
	b, err := proto.Marshal(&clerkgatev1.WatchQuotaResponse{Quota: q})
	if err != nil {
		panic(fmt.Sprintf("a quota that can't be encoded: %v", err)) // it has names with bad UTF-8
	}
	return b
}

// sameQuota says whether b stands as a does. That Redis has answered once more is no
// difference. It changes neither in the end.
func sameQuota(a, b *clerkgatev1.Quota) bool {
	if a.GetShared() != nil {
		at := a.Shared.LastReplyTime
		defer func() { a.Shared.LastReplyTime = at }()
		a.Shared.LastReplyTime = b.GetShared().GetLastReplyTime()
	}
	return proto.Equal(a, b)
}
