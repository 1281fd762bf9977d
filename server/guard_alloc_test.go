package server

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
)

// TestAllocationsOfAToken compares the allocations of a GetUser that memory answers with
// those of the same call with a token and a callers file.
func TestAllocationsOfAToken(t *testing.T) {
	const most = 3
	token := caller.NewToken()
	path := filepath.Join(t.TempDir(), "callers.yaml")
	text := "callers: [{name: billing, identity: {tokens: [{sha256: " + caller.HashToken(token) + "}]}, allow: {methods: [GetUser]}}]"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	measure := func(cfg Config, pairs ...string) float64 {
		up := &fakeUpstream{users: []*clerkgatev1.User{{Id: "user_a"}}}
		cfg.Users, cfg.Quota, cfg.Logger = up, up, slog.New(slog.DiscardHandler)
		s := New(cfg)
		service := &userService{users: up}
		info := &grpc.UnaryServerInfo{FullMethod: clerkgatev1.UserService_GetUser_FullMethodName}
		ctx := peer.NewContext(t.Context(), &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}})
		ctx = metadata.NewIncomingContext(ctx, metadata.Pairs(append(pairs, callerKey, "billing")...))
		handler := func(ctx context.Context, req any) (any, error) {
			called, err := withOptions(ctx)
			if err != nil {
				return nil, err
			}
			up.mu.Lock()
			up.calls = up.calls[:0]
			up.mu.Unlock()
			return service.GetUser(called, req.(*clerkgatev1.GetUserRequest))
		}
		req := &clerkgatev1.GetUserRequest{UserId: "user_a"}
		return testing.AllocsPerRun(1000, func() {
			if _, err := s.guard.unary(ctx, req, info, handler); err != nil {
				t.Fatal(err)
			}
		})
	}
	without := measure(Config{})
	with := measure(Config{CallersFile: path}, authorizationKey, "Bearer "+token)
	if with-without > most {
		t.Errorf("%v allocations with a token, %v without: %v more, want at most %d", with, without, with-without, most)
	}
	t.Logf("%v allocations with a token, %v without", with, without)
}
