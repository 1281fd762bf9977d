package server

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// from returns the context of a call from an address.
func from(ctx context.Context, address net.Addr, name string) context.Context {
	md := metadata.MD{}
	if name != "" {
		md.Set(callerKey, name)
	}
	return peer.NewContext(metadata.NewIncomingContext(ctx, md), &peer.Peer{Addr: address})
}

func tcp(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 4711} }

// TestWhoseTurnsACallTakes: those of its address, of which all of a /64 are one, and
// of the name that it gives itself there.
func TestWhoseTurnsACallTakes(t *testing.T) {
	for _, tt := range []struct {
		from net.Addr
		name string
		want gate.Options
	}{
		{tcp("127.0.0.1"), "a", gate.Options{Caller: "a", Party: gate.Party{Name: "a"}}},
		{tcp("::1"), "a", gate.Options{Caller: "a", Party: gate.Party{Name: "a"}}},
		{&net.UnixAddr{Net: "unix"}, "a", gate.Options{Caller: "a", Party: gate.Party{Name: "a"}}},
		{tcp("10.0.0.1"), "", gate.Options{Party: gate.Party{Peer: "10.0.0.1/32"}}},
		{tcp("10.0.0.1"), "a", gate.Options{Party: gate.Party{Peer: "10.0.0.1/32", Name: "a"}}},
		{tcp("::ffff:10.0.0.1"), "b", gate.Options{Party: gate.Party{Peer: "10.0.0.1/32", Name: "b"}}},
		{tcp("2001:db8:1:2:3::4"), "a", gate.Options{Party: gate.Party{Peer: "2001:db8:1:2::/64", Name: "a"}}},
		{tcp("2001:db8:1:2:5::6"), "a", gate.Options{Party: gate.Party{Peer: "2001:db8:1:2::/64", Name: "a"}}},
	} {
		ctx, err := withOptions(from(t.Context(), tt.from, tt.name))
		if err != nil {
			t.Fatal(err)
		}
		if got := optionsOf(ctx); got != tt.want {
			t.Errorf("%v, %q: %+v, want %+v", tt.from, tt.name, got, tt.want)
		}
	}
}

// idleClerk answers everything after a while.
type idleClerk struct{}

func (idleClerk) LookupUsers(_ context.Context, ids []string) (*clerkapi.Lookup, error) {
	time.Sleep(50 * time.Millisecond)
	l := &clerkapi.Lookup{}
	for _, id := range ids {
		l.Results = append(l.Results, clerkapi.UserResult{User: &clerkgatev1.User{Id: id}})
	}
	return l, nil
}

func (idleClerk) ListUsers(context.Context, clerkapi.ListParams) (*clerkapi.Page, error) {
	time.Sleep(50 * time.Millisecond)
	return &clerkapi.Page{}, nil
}

func (idleClerk) CountUsers(context.Context, *clerkgatev1.UserFilter) (*clerkapi.Count, error) {
	time.Sleep(50 * time.Millisecond)
	return &clerkapi.Count{}, nil
}

// TestHostsDoNotShareALine: a lookup from one host is served at once while 2,000
// lists of another one wait, though neither has a name.
func TestHostsDoNotShareALine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate.New(gate.Config{Upstream: idleClerk{}, Quota: quota.Config{Limit: 100, Window: 10 * time.Second}})
		ctx, stop := context.WithCancel(t.Context())
		go func() { _ = g.Run(ctx) }()
		options := func(ip string) gate.Options {
			ctx, err := withOptions(from(ctx, tcp(ip), ""))
			if err != nil {
				t.Fatal(err)
			}
			return optionsOf(ctx)
		}
		flood := options("10.0.0.1")
		for range 2000 {
			go func() { _, _ = g.List(ctx, clerkapi.ListParams{}, flood) }()
		}
		time.Sleep(20 * time.Second)
		for range 20 {
			timeout, cancel := context.WithTimeout(ctx, 30*time.Second)
			start := time.Now()
			r := g.Lookup(timeout, []string{"user_1"}, options("10.0.0.2"))[0]
			cancel()
			// A turn of the other host, its own, and what pacing and the window's end add.
			if took := time.Since(start); r.Err != nil || took > time.Second {
				t.Errorf("a lookup took %v: %v", took, r.Err)
			}
		}
		stop()
		synctest.Wait()
	})
}
