package server

import (
	"context"
	"net/netip"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// identity is who calls, as limits are counted: the caller in the file of callers or,
// without such a file, the peer's address and, inside it, the name that the call gives.
type identity struct {
	address netip.Prefix // the zero prefix for a Unix socket and a caller in the file
	name    string       // empty: none, or one that is no name
}

// identify returns who makes the call of ctx.
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
