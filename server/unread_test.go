package server

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// rawClient speaks HTTP/2 to a server, and lets it send no byte of an answer: its
// streams' windows are 0.
type rawClient struct {
	net.Conn
	framer *http2.Framer
	next   uint32 // stream
}

func dialRaw(t *testing.T, address string) *rawClient {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &rawClient{conn, http2.NewFramer(conn, conn), 1}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
		t.Fatal(err)
	}
	return c
}

// call begins a call without a deadline, and sends so much of its request.
func (c *rawClient) call(t *testing.T, method string, request proto.Message, whole bool) {
	t.Helper()
	message, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":authority", "x"}, {":path", method},
		{"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		if err := encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			t.Fatal(err)
		}
	}
	// The connection may be closed by now, which is the test's matter.
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.next, BlockFragment: block.Bytes(), EndHeaders: true})
	body := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	if whole {
		_ = c.framer.WriteData(c.next, true, append(body, message...))
	} else {
		_ = c.framer.WriteData(c.next, false, body)
	}
	c.next += 2
}

// TestUnreadAnswersShareABound: answers of calls without deadlines that nobody takes
// hold no more than one address may, and end with their connection after twice the
// send timeout. Meanwhile others are refused, with the reason, and not kept waiting.
func TestUnreadAnswersShareABound(t *testing.T) {
	const limit = 16 << 20
	up := &fakeUpstream{users: largeUsers(100, 5000)} // 0.5 MB an answer
	var ids []string
	for _, u := range up.users {
		ids = append(ids, u.Id)
	}
	r := start(t, Config{Users: up, Quota: up, MaxUnreadBytes: limit, SendTimeout: 3 * time.Second})
	raw := dialRaw(t, strings.TrimPrefix(r.conn.Target(), "passthrough:///"))
	for range 40 {
		raw.call(t, clerkgatev1.UserService_BatchGetUsers_FullMethodName, &clerkgatev1.BatchGetUsersRequest{UserIds: ids}, true)
	}
	asked := func() int { return len(up.asked()) }
	for asked() < 40 || r.server.edge.active.Load() > 0 {
		time.Sleep(time.Millisecond)
	}
	if held := r.server.edge.outbox.bytes(); held > limit/outboxShare || held < limit/outboxShare-1<<20 {
		t.Errorf("%d bytes are held, want at most %d", held, limit/outboxShare)
	}
	if _, err := r.users.BatchGetUsers(t.Context(), &clerkgatev1.BatchGetUsersRequest{UserIds: ids}); reasonOf(err) != "ResourceExhausted CALLER_OVER_QUOTA" || retryOf(err) <= 0 {
		t.Errorf("another call of this address: %v", err)
	}
	if _, err := r.users.CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{}); err != nil {
		t.Errorf("a call with a small answer: %v", err)
	}
	_ = raw.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, raw); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the connection was not closed: %v", err)
	}
	for deadline := time.Now().Add(patience); r.server.edge.outbox.bytes() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	wantNothingLeft(t, r.server)
	if _, err := r.users.BatchGetUsers(t.Context(), &clerkgatev1.BatchGetUsersRequest{UserIds: ids}); err != nil {
		t.Errorf("after that: %v", err)
	}
}

// TestOutboxForgetsNothing: whatever becomes of an answer, its bytes come back.
func TestOutboxForgetsNothing(t *testing.T) {
	up := &fakeUpstream{users: largeUsers(100, 2000)}
	r := start(t, Config{Users: up, Quota: up})
	for i := range 200 {
		raw := dialRaw(t, strings.TrimPrefix(r.conn.Target(), "passthrough:///"))
		raw.call(t, clerkgatev1.UserService_ListUsers_FullMethodName, &clerkgatev1.ListUsersRequest{}, true)
		raw.call(t, clerkgatev1.UserService_StreamUsers_FullMethodName, &clerkgatev1.StreamUsersRequest{}, true)
		switch i % 3 {
		case 0:
			_ = raw.framer.WriteRSTStream(1, http2.ErrCodeCancel)
			_ = raw.framer.WriteRSTStream(3, http2.ErrCodeCancel)
		case 1:
			_ = raw.framer.WriteWindowUpdate(1, 1<<20)
			_ = raw.framer.WriteWindowUpdate(3, 1<<20)
		}
		_ = raw.Close()
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if r.server.edge.outbox.bytes() == 0 && r.server.edge.active.Load() == 0 {
			break
		}
	}
	wantNothingLeft(t, r.server)
}
