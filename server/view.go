package server

import (
	"context"
	"net"

	"google.golang.org/grpc/peer"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

// checkView gives the view that is meant: BASIC where none is asked for. FULL
// is for peers on this machine.
func checkView(ctx context.Context, v clerkgatev1.UserView) (clerkgatev1.UserView, error) {
	switch v {
	case clerkgatev1.UserView_USER_VIEW_UNSPECIFIED, clerkgatev1.UserView_USER_VIEW_BASIC:
		return clerkgatev1.UserView_USER_VIEW_BASIC, nil
	case clerkgatev1.UserView_USER_VIEW_FULL:
		if !onLoopback(ctx) {
			return v, errNotAllowed
		}
		return v, nil
	}
	return v, invalid("view", "must be USER_VIEW_BASIC or USER_VIEW_FULL")
}

// onLoopback reports whether the call comes from this machine.
func onLoopback(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return false
	}
	tcp, ok := p.Addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// applyView gives the user as the view shows it. It never changes u, which is shared.
func applyView(u *clerkgatev1.User, v clerkgatev1.UserView) *clerkgatev1.User {
	if v == clerkgatev1.UserView_USER_VIEW_FULL {
		return u
	}
	return usercache.Basic(u)
}
