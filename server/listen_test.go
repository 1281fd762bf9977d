package server

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"google.golang.org/protobuf/proto"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"

	"github.com/clerkgate/clerkgate/internal/leaktest"
)

func TestCheckAddress(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:9090":                    "",
		":9090":                             "",
		"[::1]:0":                           "",
		"unix:/run/x.sock":                  "",
		"unix:///run/x.sock":                "",
		"unix:x.sock":                       "",
		"":                                  "host:port",
		"9090":                              "host:port",
		"127.0.0.1":                         "host:port",
		"127.0.0.1:":                        "port",
		"127.0.0.1:x":                       "port",
		"127.0.0.1:65536":                   "65535",
		"127.0.0.1:-1":                      "65535",
		"unix:":                             "path",
		"unix://":                           "path",
		"unix:@x":                           "abstract",
		"/run/x.sock":                       "unix:/path",
		"unix:/" + strings.Repeat("x", 107): "107 bytes",
	} {
		err := CheckAddress(address)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", address, err, want)
		}
	}
}

// socketDir returns a short path, since a socket's path is limited.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestUnixSockets calls a server through its sockets, one of which replaces a stale one.
func TestUnixSockets(t *testing.T) {
	dir := socketDir(t)
	grpcPath, httpPath := filepath.Join(dir, "grpc"), filepath.Join(dir, "http")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: grpcPath, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()

	secret := userAt(1, 0)
	secret.PrivateMetadataJson = proto.String(`{"a":1}`)
	up := &fakeUpstream{users: []*clerkgatev1.User{secret}}
	addrs := make(chan Addresses, 1)
	s := New(Config{Users: up, Quota: up, GRPCListen: "unix:" + grpcPath, HTTPListen: "unix://" + httpPath,
		FullView: FullViewLoopback, OnListen: func(a Addresses) { addrs <- a }})
	ctx, stop := context.WithCancel(t.Context())
	finished := make(chan error, 1)
	go func() { finished <- s.Run(ctx) }()
	if a := <-addrs; a.GRPC.String() != grpcPath || a.HTTP.String() != httpPath {
		t.Errorf("it listens at %v", a)
	}
	for _, path := range []string{grpcPath, httpPath} {
		if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeSocket|socketMode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}

	conn, err := leaktest.Dial("unix:"+grpcPath, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := clerkgatev1.NewUserServiceClient(conn).GetUser(t.Context(),
		&clerkgatev1.GetUserRequest{UserId: secret.Id, View: clerkgatev1.UserView_USER_VIEW_FULL})
	if err != nil || got.User.GetPrivateMetadataJson() != `{"a":1}` {
		t.Errorf("%v, %v", got, err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", httpPath)
	}}}
	resp, err := client.Get("http://server/healthz")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%v, %v", resp, err)
	}
	_ = resp.Body.Close()
	client.CloseIdleConnections()

	// A second server must not take the sockets of the first.
	err = New(Config{Users: up, Quota: up, GRPCListen: "unix:" + grpcPath, HTTPListen: "127.0.0.1:0"}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "another server listens") {
		t.Errorf("a second server: %v", err)
	}
	stop()
	if err := <-finished; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(grpcPath); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestUnixSocketRefused(t *testing.T) {
	dir := socketDir(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                          "not a socket",
		filepath.Join(dir, "no", "s"): "folder",
		filepath.Join(file, "s"):      "folder",
	} {
		l, err := listen("unix:" + path)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want %q", path, l, err, want)
		}
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
}
