package server

import (
	"context"
	"net"

	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
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

// applyView gives the user as the view shows it. It never changes u, which is
// shared: the answer is u itself or a copy.
func applyView(u *clerkgatev1.User, v clerkgatev1.UserView) *clerkgatev1.User {
	if v == clerkgatev1.UserView_USER_VIEW_FULL || !hasPrivate(u) {
		return u
	}
	u = proto.CloneOf(u)
	u.PrivateMetadataJson = ""
	u.ExtraJson = ""
	for _, m := range u.OrganizationMemberships {
		m.PrivateMetadataJson = ""
		if m.Organization != nil {
			m.Organization.PrivateMetadataJson = ""
		}
	}
	for v := range verifications(u) {
		v.Nonce = nil
	}
	return u
}

// hasPrivate reports whether the user holds anything that only FULL shows.
func hasPrivate(u *clerkgatev1.User) bool {
	if u.PrivateMetadataJson != "" || u.ExtraJson != "" {
		return true
	}
	for _, m := range u.OrganizationMemberships {
		if m.PrivateMetadataJson != "" || m.Organization.GetPrivateMetadataJson() != "" {
			return true
		}
	}
	for v := range verifications(u) {
		if v.Nonce != nil {
			return true
		}
	}
	return false
}

// verifications gives every verification in the user.
func verifications(u *clerkgatev1.User) func(yield func(*clerkgatev1.Verification) bool) {
	return func(yield func(*clerkgatev1.Verification) bool) {
		_ = each(u.EmailAddresses, yield) && each(u.PhoneNumbers, yield) && each(u.Web3Wallets, yield) &&
			each(u.Passkeys, yield) && each(u.ExternalAccounts, yield) && each(u.SamlAccounts, yield) &&
			each(u.EnterpriseAccounts, yield)
	}
}

// each yields the verifications of list, and reports whether to go on.
func each[T interface {
	GetVerification() *clerkgatev1.Verification
}](list []T, yield func(*clerkgatev1.Verification) bool) bool {
	for _, item := range list {
		if v := item.GetVerification(); v != nil && !yield(v) {
			return false
		}
	}
	return true
}
