package clerksim

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// fields are those of a user in Clerk's API, version 2026-05-12.
var fields = strings.Fields(`
	id object external_id primary_email_address_id primary_phone_number_id primary_web3_wallet_id username first_name last_name locale
	profile_image_url image_url has_image public_metadata private_metadata unsafe_metadata email_addresses phone_numbers web3_wallets passkeys
	external_accounts saml_accounts enterprise_accounts organization_memberships scim password_enabled two_factor_enabled totp_enabled
	backup_code_enabled banned locked deprovisioned delete_self_enabled create_organization_enabled bypass_client_trust
	create_organizations_limit lockout_expires_in_seconds verification_attempts_remaining mfa_enabled_at mfa_disabled_at
	password_last_updated_at last_sign_in_at last_active_at legal_accepted_at created_at updated_at`)

func TestUsersHaveClerksFields(t *testing.T) {
	s := newSim(t, Config{})
	want := slices.Sorted(slices.Values(fields))
	if len(want) != 46 {
		t.Fatalf("the test lists %d fields", len(want))
	}
	for i, id := range s.UserIDs(200) {
		got := slices.Sorted(maps.Keys(decode[map[string]any](t, ask(s, "/v1/users/"+id).Body.Bytes())))
		if i%fullEvery != 0 {
			got = slices.Sorted(slices.Values(append(got, "organization_memberships"))) // mostly omitted
		}
		if !slices.Equal(got, want) {
			t.Errorf("user %d has the fields %v, want %v", i, got, want)
		}
	}
}

func TestSeedMakesTheSamePeople(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, other := newSim(t, Config{Users: 100, Seed: 7}), newSim(t, Config{Users: 150, Seed: 7}), newSim(t, Config{Users: 100, Seed: 8})
		for i, id := range a.UserIDs(100) {
			x, _ := a.User(id)
			y, ok := b.User(id)
			if !ok || !reflect.DeepEqual(x, y) || b.UserIDs(100)[i] != id {
				t.Errorf("user %d differs under the same seed", i)
			}
			if _, ok := other.User(id); ok {
				t.Errorf("user %d is the same under another seed", i)
			}
		}
	})
}

func TestPeopleAreDistinct(t *testing.T) {
	const users = 10_000 // the default
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UnixMilli()
	taken := map[string]bool{}
	distinct := func(text string) {
		if taken[text] {
			t.Errorf("%s is taken twice", text)
		}
		taken[text] = true
	}
	form := regexp.MustCompile(`^user_[0-9A-Za-z]{27}$`)
	address := regexp.MustCompile(`^[a-z0-9]+(\.[a-z0-9]+)*@[a-z]+\.(com|net|org|example)$`)
	count := map[string]int{}
	created := map[int64]int{}
	ids := s.UserIDs(users + 1)
	if len(ids) != users {
		t.Errorf("there are %d users, want %d", len(ids), users)
	}
	for _, id := range ids {
		u := s.users.get(id).user
		if !form.MatchString(id) {
			t.Errorf("id %s", id)
		}
		distinct(id)
		for _, e := range u.EmailAddresses {
			distinct(e.EmailAddress)
			if !address.MatchString(e.EmailAddress) {
				t.Errorf("address %s", e.EmailAddress)
			}
		}
		for _, p := range u.PhoneNumbers {
			distinct(p.PhoneNumber)
		}
		if u.ExternalID != nil {
			distinct(*u.ExternalID)
		}
		if u.Username != nil {
			distinct("@" + *u.Username)
		}
		if u.CreatedAt > now || u.CreatedAt < now-history-time.Minute.Milliseconds() || u.UpdatedAt < u.CreatedAt ||
			u.LastActiveAt != nil && (*u.LastSignInAt < u.CreatedAt || *u.LastActiveAt < *u.LastSignInAt) {
			t.Errorf("user %s: times out of order", id)
		}
		created[u.CreatedAt]++
		for what, is := range map[string]bool{
			"banned": u.Banned, "locked": u.Locked, "usernames": u.Username != nil, "phones": len(u.PhoneNumbers) > 0, "members": len(u.OrganizationIDs) > 0,
			"pictures": u.HasImage, "nested": len(u.OrganizationMemberships) > 0, "unsafe": len(u.UnsafeMetadata) > 2, "locales": u.Locale != nil,
		} {
			if is {
				count[what]++
			}
		}
	}
	for what, least := range map[string]float64{
		"banned": 0.01, "locked": 0.005, "usernames": 0.5, "phones": 0.25, "members": 0.3, "pictures": 0.25, "nested": 0.02, "unsafe": 0.4, "locales": 0.6,
	} {
		if share := float64(count[what]) / users; share < least || share > 0.95 {
			t.Errorf("%.3f of all users have %s, want %.3f or more", share, what, least)
		}
	}
	if most := slices.Max(slices.Collect(maps.Values(created))); most < imported {
		t.Errorf("at most %d users share a created_at, want an import of %d", most, imported)
	}
}

// TestFullUsersLackNothing: every field of every nested object is set in some user, so
// that clients see all of them.
func TestFullUsersLackNothing(t *testing.T) {
	s := newSim(t, Config{Users: 1000})
	filled := map[string]bool{}
	for i, id := range s.UserIDs(1000) {
		u := s.users.get(id).user
		if i%fullEvery == 0 {
			for name, n := range map[string]int{
				"email": len(u.EmailAddresses), "phone": len(u.PhoneNumbers), "wallet": len(u.Web3Wallets), "passkey": len(u.Passkeys), "SAML": len(u.SAMLAccounts),
				"enterprise": len(u.EnterpriseAccounts), "membership": len(u.OrganizationMemberships), "backup code": len(u.PhoneNumbers[0].BackupCodes),
			} {
				if n == 0 {
					t.Errorf("user %d has no %s", i, name)
				}
			}
			var objects []string
			for _, a := range u.ExternalAccounts {
				objects = append(objects, a.Object)
			}
			if !slices.Equal(objects, []string{"google_account", "facebook_account", "external_account"}) {
				t.Errorf("user %d has the external accounts %v", i, objects)
			}
		}
		markFilled(filled, reflect.ValueOf(u))
	}
	for field, ok := range filled {
		if !ok {
			t.Errorf("nobody has %s", field)
		}
	}
}

// markFilled records, for each field of each type, whether it was ever non-zero. Reserved
// ones count as set: they belong to incomplete sign-ups, which are not users yet.
func markFilled(filled map[string]bool, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			markFilled(filled, v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			markFilled(filled, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i).Name
			name := v.Type().Name() + "." + field
			filled[name] = filled[name] || !v.Field(i).IsZero() || field == "Reserved"
			markFilled(filled, v.Field(i))
		}
	}
}
