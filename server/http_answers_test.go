package server

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// TestHTTPStreamEndsWithItsCaller frees a stream whose caller has gone.
func TestHTTPStreamEndsWithItsCaller(t *testing.T) {
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "h2c": true} {
		t.Run(name, func(t *testing.T) {
			up := &fakeUpstream{}
			r := start(t, Config{Users: up, Quota: up})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			watch, err := connect.NewClient[clerkgatev1.WatchQuotaRequest, clerkgatev1.WatchQuotaResponse](httpClient(t, h2, nil),
				r.httpURL+clerkgatev1.QuotaService_WatchQuota_FullMethodName).CallServerStream(ctx, connect.NewRequest(&clerkgatev1.WatchQuotaRequest{}))
			if err != nil || !watch.Receive() {
				t.Fatal(err, watch.Err())
			}
			cancel()
			eventually(t, "the stream ends", func() bool { return r.server.edge.active.Load() == 0 })
			_ = watch.Close()
		})
	}
}

// TestHTTPStreamThatIsNotRead ends a stream whose caller reads nothing.
func TestHTTPStreamThatIsNotRead(t *testing.T) {
	up := &fakeUpstream{}
	for i := range 200 {
		u := userAt(i, int64(i))
		u.PublicMetadataJson = `{"x":"` + strings.Repeat("x", 100<<10) + `"}`
		up.users = append(up.users, u)
	}
	r := start(t, Config{Users: up, Quota: up, SendTimeout: 200 * time.Millisecond})
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.httpURL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST "+streamPath+" HTTP/1.1\r\nHost: x\r\nContent-Type: application/connect+json\r\nContent-Length: 7\r\n\r\n\x00\x00\x00\x00\x02{}")
	eventually(t, "the stream begins", func() bool { return len(up.asked()) > 0 })
	eventually(t, "the stream ends", func() bool { return r.server.edge.active.Load() == 0 })
	eventually(t, "the outbox is empty", func() bool { return r.server.edge.outbox.bytes() == 0 })
}

// TestHTTPAnswerIsFreed leaves nothing in the outbox after answers and streams in bytes
// and JSON.
func TestHTTPAnswerIsFreed(t *testing.T) {
	u := userAt(0, 1)
	u.PublicMetadataJson = `{"x":"` + strings.Repeat("x", 100<<10) + `"}`
	up := &fakeUpstream{users: []*clerkgatev1.User{u}}
	r := start(t, Config{Users: up, Quota: up})
	for name, p := range protocols {
		c := httpClient(t, p.h2c, nil)
		if _, err := callByHTTP[clerkgatev1.GetUserRequest, clerkgatev1.GetUserResponse](t, c, r.httpURL, getUserPath, &clerkgatev1.GetUserRequest{UserId: u.Id}, nil, p.options...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		stream, err := connect.NewClient[clerkgatev1.StreamUsersRequest, clerkgatev1.StreamUsersResponse](c, r.httpURL+streamPath, p.options...).
			CallServerStream(t.Context(), connect.NewRequest(&clerkgatev1.StreamUsersRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		for stream.Receive() {
		}
		if err := errors.Join(stream.Err(), stream.Close()); err != nil {
			t.Errorf("%s: a stream: %v", name, err)
		}
	}
	eventually(t, "the outbox is empty", func() bool { return r.server.edge.outbox.bytes() == 0 })
	i := r.server.calls.intake
	eventually(t, "the intake is empty", func() bool {
		i.mu.Lock()
		defer i.mu.Unlock()
		return i.all == load{} && len(i.from) == 0
	})
}

// TestHTTPAnswerCountsWithItsCopy counts an answer in the outbox as it is kept and as
// Connect sends it, until it is freed.
func TestHTTPAnswerCountsWithItsCopy(t *testing.T) {
	answer := &clerkgatev1.GetUserResponse{User: userAt(0, 1)}
	answer.User.PublicMetadataJson = `{"x":"` + strings.Repeat(`"`, 100<<10) + `"}`
	for _, asJSON := range []bool{false, true} {
		for _, streamed := range []bool{false, true} {
			o := newOutbox(1 << 20)
			e, err := o.encode(fromPeer(t.Context(), "192.0.2.1"), answer)
			if err != nil {
				t.Fatal(err)
			}
			f := &frame{answer: e, output: answer.ProtoReflect().Type()}
			free := e.free
			if streamed {
				m := taken{e.take(), e.lot}
				f.answer, free = m, m.Free
			}
			kept := o.bytes()
			copied, err := (frameCodec{json: asJSON}).Marshal(f)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := o.bytes(), kept+int64(len(copied)); got != want || kept != int64(proto.Size(answer)) {
				t.Errorf("JSON %t, streamed %t: %d bytes count, want %d", asJSON, streamed, got, want)
			}
			if free(); o.bytes() != 0 || len(o.from) != 0 {
				t.Errorf("JSON %t, streamed %t: %d bytes are left, of %v", asJSON, streamed, o.bytes(), o.from)
			}
		}
	}
}
