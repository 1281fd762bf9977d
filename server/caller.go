package server

import (
	"context"
	"net/netip"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// identity is a caller for limits: the caller in the callers file or, without one, the
// peer's address and the name that the call has.
type identity struct {
	address netip.Prefix // zero for a Unix socket and for a caller in the file
	name    string       // empty: none or an invalid one
}

// identify returns the identity of the call's caller.
func identify(ctx context.Context) identity {
	if who := admitted(ctx); who != nil {
		return identity{name: who.Name}
	}
	var id identity
	if p, ok := peer.FromContext(ctx); ok {
		id.address = addressOf(p.Addr)
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if name, err := single(md, callerKey); err == nil && validName(name) {
		id.name = name
	}
	return id
}
