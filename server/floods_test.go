package server

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/leaktest"
	"github.com/clerkgate/clerkgate/internal/webhook"
)

// TestFloodsLeaveNothing: after floods of unread streams and watches, of answers that
// can't be sent, of connections, and of incomplete webhooks and posts, the server has as
// much memory, and as many goroutines and descriptors, as before.
func TestFloodsLeaveNothing(t *testing.T) {
	up := &fakeUpstream{users: largeUsers(600, 1000)}
	hooks := webhook.New(webhook.Config{Secret: func() string { return "whsec_" + strings.Repeat("abcd", 8) }})
	webhooks := make(chan Addresses, 1)
	r := start(t, Config{Users: up, Quota: up, SendTimeout: time.Second, WebhookListen: "127.0.0.1:0", Webhooks: hooks}, func(s *Server) {
		told := s.cfg.OnListen
		s.cfg.OnListen = func(a Addresses) {
			webhooks <- a
			told(a)
		}
	})
	at := <-webhooks
	flood := func(n int) {
		ctx, end := context.WithCancel(t.Context())
		defer end()
		var wg sync.WaitGroup
		conn, err := leaktest.Dial(r.conn.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()), fixedWindow)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			_ = streamUsers(ctx, t, conn, fmt.Sprint(i%16), "")
			_ = watchQuota(ctx, t, clerkgatev1.NewQuotaServiceClient(conn), 0)
			raw := dialRaw(t, at.GRPC.String())
			raw.call(t, clerkgatev1.UserService_ListUsers_FullMethodName, &clerkgatev1.ListUsersRequest{PageSize: 500}, true)
			raw.call(t, clerkgatev1.UserService_ListUsers_FullMethodName, &clerkgatev1.ListUsersRequest{}, false)
			wg.Go(func() {
				<-ctx.Done()
				raw.Close()
			})
			for _, text := range []string{
				"POST " + webhook.Path + " HTTP/1.1\r\nHost: x\r\nsvix-id: m\r\nsvix-timestamp: 1\r\nsvix-signature: v1,x\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 50_000),
				"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n",
			} {
				slow, err := net.Dial("tcp", at.Webhooks.String())
				if err != nil {
					t.Fatal(err)
				}
				wg.Go(func() {
					_, _ = io.WriteString(slow, text)
					<-ctx.Done()
					slow.Close()
				})
			}
		}
		time.Sleep(time.Second)
		end()
		wg.Wait()
		conn.Close()
	}
	flood(5) // for objects that are created once
	before := settle(t, r, resources{1 << 60, 1 << 30, 1 << 30})
	flood(100)
	after := settle(t, r, before)
	if after.goroutines > before.goroutines+5 || after.descriptors > before.descriptors+5 || after.heap > before.heap+slack {
		t.Errorf("after the floods: %+v, before: %+v", after, before)
	}
	wantNothingLeft(t, r.server)
}

// slack is the allowed growth of the heap in bytes.
const slack = 8 << 20

// resources are those that this process uses.
type resources struct {
	heap                    int64
	goroutines, descriptors int
}

// settle waits until the process uses no more than before, for at most 30 s.
func settle(t *testing.T, r *running, before resources) (u resources) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		runtime.GC()
		runtime.GC() // sync.Pool keeps its content for one more cycle
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		u = resources{int64(m.HeapAlloc), runtime.NumGoroutine(), 0}
		if files, err := os.ReadDir("/proc/self/fd"); err == nil {
			u.descriptors = len(files)
		}
		quiet := r.server.edge.active.Load() == 0 && r.server.edge.outbox.bytes() == 0
		if quiet && u.heap <= before.heap+slack && u.goroutines <= before.goroutines && u.descriptors <= before.descriptors || time.Now().After(deadline) {
			return u
		}
	}
}
