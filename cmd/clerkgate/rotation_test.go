package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/clerkgate/clerkgate/client"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/caller/callertest"
	"github.com/clerkgate/clerkgate/internal/leaktest"
)

// load calls a server without pause, as three callers in turn, and counts.
type load struct {
	t      *testing.T
	conns  [3]atomic.Pointer[loadedConn]
	calls  atomic.Int64
	open   atomic.Int64 // calls without an answer
	failed atomic.Int64
	ids    []string
}

// loadedConn is a connection, and how many calls it has without an answer.
type loadedConn struct {
	*grpc.ClientConn
	open atomic.Int64
}

// take returns the connection for a call, which counts as open.
func (l *load) take(n int) *loadedConn {
	for {
		conn := l.conns[n%len(l.conns)].Load()
		conn.open.Add(1)
		if conn == l.conns[n%len(l.conns)].Load() {
			return conn
		}
		conn.open.Add(-1) // it was replaced, so nobody waits for a new call of it
	}
}

// run makes 500 calls a second until ctx ends, and waits for their answers. A tick that
// comes late is made up for, but on a slow machine no more than 500 calls wait.
func (l *load) run(ctx context.Context) {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	var calls sync.WaitGroup
	defer calls.Wait()
	for n, began := 0, time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for ; n < int(time.Since(began).Seconds()*500) && l.open.Load() < 500; n++ {
			call := n
			l.open.Add(1)
			calls.Go(func() { l.call(call) })
		}
	}
}

func (l *load) call(n int) {
	defer l.open.Add(-1)
	conn := l.take(n)
	defer conn.open.Add(-1)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req := &clerkgatev1.GetUserRequest{UserId: l.ids[n%len(l.ids)]}
	if n%100 == 0 {
		req.MaxAge = durationpb.New(0) // Clerk is asked, with the key
	}
	l.calls.Add(1)
	if _, err := clerkgatev1.NewUserServiceClient(conn).GetUser(ctx, req); err != nil && l.failed.Add(1) <= 5 {
		l.t.Errorf("call %d: %v", n, err)
	}
}

// rotation is a server whose every secret is replaced.
type rotation struct {
	*keyed
	load   *load
	ca     *callertest.CA
	issuer *callertest.Issuer
	files  string // the folder of certificates and the file of callers
}

func (r *rotation) callers(hashes ...string) {
	r.t.Helper()
	text := fmt.Sprintf("issuers: [{name: test, issuer: %q, audience: clerkgate}]\ncallers:\n  - %s\n", r.issuer.URL, leaktest.Viewer())
	for name, identity := range map[string]string{
		"billing": "certificates: [dns:billing.example]",
		"support": "tokens: [{sha256: " + strings.Join(hashes, "}, {sha256: ") + "}]",
		"sync":    "jwt: [{issuer: test, claims: {sub: sync}}]",
	} {
		text += fmt.Sprintf("  - name: %s\n    identity: {%s}\n    allow: {methods: [GetUser, ListUsers]}\n", name, identity)
	}
	path := filepath.Join(r.files, "callers.yaml")
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		r.t.Fatal(err)
	}
}

// connect replaces the connection of a caller, and returns the old one, which goes on with
// its calls.
func (r *rotation) connect(who int, cert *tls.Certificate, token string) *loadedConn {
	r.t.Helper()
	cfg := client.Config{
		Address: r.grpc, TLS: &tls.Config{RootCAs: r.ca.Pool()},
		DialOptions: append(leaktest.DialOptions(), grpc.WithDisableRetry()), // a call that fails must be seen
	}
	if cert != nil {
		cfg.TLS.Certificates = []tls.Certificate{*cert}
	}
	if token != "" {
		cfg.Token = client.StaticToken(token)
	}
	c, err := client.New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return r.load.conns[who].Swap(&loadedConn{ClientConn: c.Conn()})
}

func (r *rotation) logged(text string, times int) {
	r.t.Helper()
	r.within(text, func() bool { return strings.Count(r.log.String(), text) >= times })
}

// serial returns the serial number of the certificate that the server shows.
func (r *rotation) serial() string {
	r.t.Helper()
	conn, err := tls.Dial("tcp", r.grpc, &tls.Config{RootCAs: r.ca.Pool()})
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// TestRotationUnderLoad replaces the server's certificate, a caller's certificate, its
// token, an issuer's key, the file of callers and Clerk's key while three callers make
// 500 calls a second. No call fails.
func TestRotationUnderLoad(t *testing.T) {
	r := &rotation{load: &load{t: t}, ca: callertest.NewCA(t), issuer: callertest.NewIssuer(t), files: t.TempDir()}
	r.keyed = &keyed{t: t}
	tokens := []string{caller.NewToken(), caller.NewToken()}
	r.callers(caller.HashToken(tokens[0]))
	cert, key := r.ca.Issue("127.0.0.1").Files(t, r.files, "server")
	r.keyed = serveKeyed(t, fmt.Sprintf("tls-cert-file: %s\ntls-key-file: %s\nclient-ca-file: %s\ncallers-file: %s\nhttp-tls-cert-file: off\n",
		cert, key, r.ca.File(r.files, "ca.crt"), filepath.Join(r.files, "callers.yaml")))
	pair := r.ca.Issue("billing.example").TLS(t)
	r.connect(0, &pair, "")
	r.connect(1, nil, tokens[0])
	r.connect(2, nil, r.issuer.Token("clerkgate", "sync", nil))
	page, err := clerkgatev1.NewUserServiceClient(r.load.conns[0].Load()).ListUsers(t.Context(), &clerkgatev1.ListUsersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range page.Users {
		r.load.ids = append(r.load.ids, u.Id)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	began := time.Now()
	go func() {
		defer close(done)
		r.load.run(ctx)
	}()

	old := r.serial()
	r.ca.Issue("127.0.0.1").Files(t, r.files, "server")
	r.within("the new certificate is shown", func() bool { return r.serial() != old })
	pair = r.ca.Issue("billing.example").TLS(t)
	r.connect(0, &pair, "")

	const read = "the callers file is in use"
	r.callers(caller.HashToken(tokens[0]), caller.HashToken(tokens[1]))
	r.logged(read, 1)
	was := r.connect(1, nil, tokens[1])
	r.within("calls with the old token have ended", func() bool { return was.open.Load() == 0 })
	r.callers(caller.HashToken(tokens[1]))
	r.logged(read, 2)

	r.issuer.Rotate()
	r.connect(2, nil, r.issuer.Token("clerkgate", "sync", nil))
	r.write("key", "sk_test_second\n")
	asked := r.load.calls.Load() + 1000
	r.within("calls with the new key", func() bool { return r.load.calls.Load() >= asked })
	stop()
	<-done
	took := time.Since(began)
	t.Logf("%d calls in %v, %.0f a second, %d failed", r.load.calls.Load(), took, float64(r.load.calls.Load())/took.Seconds(), r.load.failed.Load())
	if n := r.load.failed.Load(); n > 0 {
		t.Errorf("%d of %d calls failed", n, r.load.calls.Load())
	}
}
