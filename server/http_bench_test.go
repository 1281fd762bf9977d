package server

import (
	"testing"

	"connectrpc.com/connect"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// BenchmarkGetUser compares the ways to call, from the client's request to its answer.
func BenchmarkGetUser(b *testing.B) {
	up := &fakeUpstream{users: []*clerkgatev1.User{privateUser()}}
	r := start(b, Config{Users: up, Quota: up})
	forget := func() { up.change(func() { up.calls = up.calls[:0] }) }
	req := &clerkgatev1.GetUserRequest{UserId: "user_a"}
	b.Run("gRPC", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.users.GetUser(b.Context(), req); err != nil {
				b.Fatal(err)
			}
			forget()
		}
	})
	for _, name := range []string{"Connect", "Connect over h2c", "Connect, JSON", "gRPC-Web", "gRPC over h2c"} {
		p := protocols[name]
		b.Run(name, func(b *testing.B) {
			c := connect.NewClient[clerkgatev1.GetUserRequest, clerkgatev1.GetUserResponse](httpClient(b, p.h2c, nil), r.httpURL+getUserPath, p.options...)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.CallUnary(b.Context(), connect.NewRequest(req)); err != nil {
					b.Fatal(err)
				}
				forget()
			}
		})
	}
}
