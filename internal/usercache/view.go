package usercache

import (
	"google.golang.org/protobuf/proto"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// Basic returns the user in the view BASIC. It never modifies u, which may be shared; the
// result is u itself or a copy.
func Basic(u *clerkgatev1.User) *clerkgatev1.User {
	if !hasPrivate(u) {
		return u
	}
	u = proto.CloneOf(u)
	u.PrivateMetadataJson, u.ExtraJson = nil, nil
	for _, m := range u.OrganizationMemberships {
		m.PrivateMetadataJson = nil
		if m.Organization != nil {
			m.Organization.PrivateMetadataJson = nil
		}
	}
	HideVerifications(u)
	return u
}

// HideVerifications removes the fields of verifications that only FULL shows. u must not
// be shared.
func HideVerifications(u *clerkgatev1.User) {
	for v := range verifications(u) {
		v.Nonce, v.Message, v.ExternalVerificationRedirectUrl = nil, nil, nil
	}
}

// Full returns a copy of the user in the view FULL: fields that only FULL shows are set,
// possibly to "", so that "not shown" differs from "none". It never modifies u, which may
// be shared.
func Full(u *clerkgatev1.User) *clerkgatev1.User {
	u = proto.CloneOf(u)
	setFull(u)
	return u
}

// setFull is Full for a user that is not shared.
func setFull(u *clerkgatev1.User) {
	set(&u.PrivateMetadataJson, &u.ExtraJson)
	for _, m := range u.OrganizationMemberships {
		set(&m.PrivateMetadataJson)
		if m.Organization != nil {
			set(&m.Organization.PrivateMetadataJson)
		}
	}
	for v := range verifications(u) {
		set(&v.Nonce, &v.Message, &v.ExternalVerificationRedirectUrl)
	}
}

// set sets nil fields to the empty string.
func set(fields ...**string) {
	for _, field := range fields {
		if *field == nil {
			*field = new(string)
		}
	}
}

// secret reports whether the verification has a field that only FULL shows.
func secret(v *clerkgatev1.Verification) bool {
	return v.Nonce != nil || v.Message != nil || v.ExternalVerificationRedirectUrl != nil
}

// hasPrivate reports whether the user has a field that only FULL shows.
func hasPrivate(u *clerkgatev1.User) bool {
	if u.PrivateMetadataJson != nil || u.ExtraJson != nil {
		return true
	}
	if privateMemberships(u.OrganizationMemberships) {
		return true
	}
	for v := range verifications(u) {
		if secret(v) {
			return true
		}
	}
	return false
}

func privateMemberships(list []*clerkgatev1.OrganizationMembership) bool {
	for _, m := range list {
		if m.PrivateMetadataJson != nil || m.Organization != nil && m.Organization.PrivateMetadataJson != nil {
			return true
		}
	}
	return false
}

// verifications returns an iterator over all verifications of the user.
func verifications(u *clerkgatev1.User) func(yield func(*clerkgatev1.Verification) bool) {
	return func(yield func(*clerkgatev1.Verification) bool) {
		_ = each(u.EmailAddresses, yield) && each(u.PhoneNumbers, yield) && each(u.Web3Wallets, yield) &&
			each(u.Passkeys, yield) && each(u.ExternalAccounts, yield) && each(u.SamlAccounts, yield) &&
			each(u.EnterpriseAccounts, yield)
	}
}

// each yields the verifications of list and reports whether to continue.
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
