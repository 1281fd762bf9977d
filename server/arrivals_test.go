package server

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// TestRequestsThatDoNotArrive begins calls and never sends their requests. They end, while
// their connection, a call that takes longer and an open stream go on.
func TestRequestsThatDoNotArrive(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	up := &fakeUpstream{users: usersAt(1)}
	up.onCall = func(context.Context, call) error {
		close(entered)
		<-release
		return nil
	}
	r := start(t, Config{Users: up, Quota: up, Limits: Limits{ReadTimeout: time.Millisecond}})
	goOn := sync.OnceFunc(func() { close(release) })
	t.Cleanup(goOn)
	watch, err := r.quota.WatchQuota(t.Context(), &clerkgatev1.WatchQuotaRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	slow := make(chan error, 1)
	go func() {
		_, err := r.users.CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{})
		slow <- err
	}()
	<-entered

	raw := dialRaw(t, r.conn.Target())
	raw.call(t, clerkgatev1.UserService_GetUser_FullMethodName, &clerkgatev1.GetUserRequest{UserId: "user_a"}, false)
	raw.call(t, clerkgatev1.UserService_StreamUsers_FullMethodName, &clerkgatev1.StreamUsersRequest{OrderBy: "created_at"}, false)
	awaitEnd(t, raw, 2)
	raw.call(t, clerkgatev1.UserService_GetUser_FullMethodName, &clerkgatev1.GetUserRequest{UserId: "x"}, true)
	awaitEnd(t, raw, 1)
	goOn()
	if err := <-slow; err != nil {
		t.Errorf("a call that takes longer: %v", err)
	}
	up.change(func() { up.status.Available = 7 })
	if _, err := watch.Recv(); err != nil {
		t.Errorf("a stream that was open: %v", err)
	}
}

// awaitEnd waits until so many streams have ended.
func awaitEnd(t *testing.T, raw *rawClient, streams int) {
	t.Helper()
	_ = raw.SetReadDeadline(time.Now().Add(30 * time.Second))
	ended := map[uint32]bool{}
	for len(ended) < streams {
		frame, err := raw.framer.ReadFrame()
		if err != nil {
			t.Fatalf("%v after the end of %d streams, want %d", err, len(ended), streams)
		}
		switch f := frame.(type) {
		case *http2.HeadersFrame:
			if f.StreamEnded() {
				ended[f.StreamID] = true
			}
		case *http2.RSTStreamFrame:
			ended[f.StreamID] = true
		}
	}
}

// TestArrivalsAreBounded: beyond the bytes of an address its oldest call gives way, and a
// call that has arrived does not count.
func TestArrivalsAreBounded(t *testing.T) {
	r := newArrivals(time.Minute, 8*arrivalBytes)
	begin := func(ip byte, md metadata.MD) context.Context {
		ctx, _ := r.begin(peer.NewContext(t.Context(), &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, ip)}}), &tap.Info{Header: md})
		return ctx
	}
	first, second := begin(1, nil), begin(1, nil)
	other := begin(2, nil)
	if third := begin(1, nil); first.Err() == nil || second.Err() != nil || third.Err() != nil || other.Err() != nil {
		t.Errorf("a third call of one address: %v, %v, %v; another's: %v", first.Err(), second.Err(), third.Err(), other.Err())
	}
	arrived(second)
	arrived(second)
	if begin(1, nil); second.Err() != nil {
		t.Error("a call ends though its request has arrived")
	}
	small := begin(3, nil)
	if begin(3, metadata.Pairs("x", strings.Repeat("x", arrivalBytes-33))); small.Err() == nil {
		t.Error("metadata does not count")
	}
	gone, cancel := context.WithCancel(t.Context())
	_, _ = r.begin(gone, &tap.Info{})
	cancel()
	r.endLate(time.Now().Add(time.Hour))
	if r.all.Len() != 0 || r.all.bytes != 0 || len(r.from) != 0 || other.Err() == nil {
		t.Errorf("%d calls with %d bytes of %d addresses after the timeout", r.all.Len(), r.all.bytes, len(r.from))
	}
	if late, gaveWay := r.refused(); late != 4 || gaveWay != 2 {
		t.Errorf("%d calls were late and %d gave way, want 4 and 2", late, gaveWay)
	}
}

// TestFloodsOfArrivals: many addresses that send no requests do not end the calls of
// another, which are younger.
func TestFloodsOfArrivals(t *testing.T) {
	r := newArrivals(time.Minute, 8*arrivalBytes)
	begin := func(ip byte) context.Context {
		ctx, _ := r.begin(peer.NewContext(t.Context(), &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, ip)}}), &tap.Info{})
		return ctx
	}
	for ip := range byte(100) {
		begin(ip)
	}
	if r.all.Len() != 8 || len(r.from) != 8 {
		t.Errorf("%d calls of %d addresses, want 8 of 8", r.all.Len(), len(r.from))
	}
	if first, second := begin(200), begin(200); first.Err() != nil || second.Err() != nil {
		t.Errorf("calls of an address that floods nothing: %v, %v", first.Err(), second.Err())
	}
}
