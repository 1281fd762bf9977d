package server

import (
	"context"
	"net"

	"google.golang.org/grpc/peer"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

// FullView is who may use USER_VIEW_FULL if there is no callers file.
type FullView int

const (
	// FullViewNone allows nobody. It is the default.
	FullViewNone FullView = iota
	// FullViewLoopback allows callers that connect from a loopback address or through a
	// Unix socket. Behind a proxy or sidecar on this machine, that is every caller of the
	// proxy.
	FullViewLoopback
	// FullViewAny allows everybody.
	FullViewAny
)

// checkView returns the requested view if the caller may use it. The default is BASIC.
func (s *userService) checkView(ctx context.Context, v clerkgatev1.UserView) (clerkgatev1.UserView, error) {
	switch v {
	case clerkgatev1.UserView_USER_VIEW_UNSPECIFIED, clerkgatev1.UserView_USER_VIEW_BASIC:
		return clerkgatev1.UserView_USER_VIEW_BASIC, nil
	case clerkgatev1.UserView_USER_VIEW_FULL:
		if who := admitted(ctx); who != nil {
			if who.FullView == 0 {
				return v, errNotAllowed
			}
			return v, nil
		}
		if s.fullView == FullViewAny || s.fullView == FullViewLoopback && onLoopback(ctx) {
			return v, nil
		}
		return v, errNotAllowed
	}
	return v, invalid("view", "must be USER_VIEW_BASIC or USER_VIEW_FULL")
}

// onLoopback reports whether the call's connection comes from this machine. The caller
// itself may be elsewhere, behind a proxy here.
func onLoopback(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return false
	}
	switch address := p.Addr.(type) {
	case *net.TCPAddr:
		return address.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}

// partsOf returns the parts of users that the caller may see in USER_VIEW_FULL.
func partsOf(ctx context.Context) caller.Parts {
	if who := admitted(ctx); who != nil {
		return who.FullView
	}
	return caller.AllParts
}

// applyView returns the user in the view, with the given parts of FULL. It never modifies
// u, which is shared.
func applyView(u *clerkgatev1.User, v clerkgatev1.UserView, parts caller.Parts) *clerkgatev1.User {
	if v != clerkgatev1.UserView_USER_VIEW_FULL {
		return usercache.Basic(u)
	}
	u = usercache.Full(u) // a copy
	hide(u, parts)
	return u
}

// hide removes the fields of FULL outside parts from u, which must not be shared.
func hide(u *clerkgatev1.User, parts caller.Parts) {
	if parts == caller.AllParts {
		return
	}
	if parts&caller.PrivateMetadata == 0 {
		u.PrivateMetadataJson = nil
	}
	if parts&caller.Extra == 0 {
		u.ExtraJson = nil
	}
	if parts&caller.Memberships == 0 {
		for _, m := range u.OrganizationMemberships {
			m.PrivateMetadataJson = nil
			if m.Organization != nil {
				m.Organization.PrivateMetadataJson = nil
			}
		}
	}
	if parts&caller.Verifications == 0 {
		usercache.HideVerifications(u)
	}
}
