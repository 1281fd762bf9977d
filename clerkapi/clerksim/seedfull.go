package clerksim

import (
	"encoding/json"
	"fmt"
)

// fill adds all nested objects to the user.
func (s *seeder) fill(u *User, i int) {
	created := u.CreatedAt
	if u.FirstName == nil {
		u.FirstName = new(s.fake.FirstName())
	}
	if u.Username == nil {
		u.Username = new(s.username(u))
	}
	if len(u.PhoneNumbers) == 0 {
		s.addPhone(u, i)
	}
	phone := &u.PhoneNumbers[0]
	phone.ReservedForSecondFactor = true
	phone.DefaultSecondFactor = true
	phone.BackupCodes = []string{s.text(8), s.text(8), s.text(8)}
	phone.LinkedTo = []LinkedIdentification{{Type: "oauth_facebook", ID: s.id("idn")}}

	u.EmailAddresses[0].Verification = &Verification{
		Object: "verification_ticket", Status: "verified", Strategy: "ticket", VerifiedAtClient: s.id("client"),
	}
	s.addUnverifiedEmail(u)

	wallet := Web3Wallet{
		ID:         s.id("idn"),
		Object:     "web3_wallet",
		Web3Wallet: "0x" + randomHex(s.rng, 20),
		Verification: &Verification{
			Object: "verification_web3", Status: "verified", Strategy: "web3_metamask_signature",
			Attempts: new(int64(1)), ExpireAt: new(created + 600e3), Nonce: s.text(32), Message: "Sign in to Example with your wallet.\nNonce: …",
		},
		CreatedAt: created,
		UpdatedAt: created,
	}
	u.Web3Wallets = append(u.Web3Wallets, wallet)
	u.PrimaryWeb3WalletID = &wallet.ID
	u.Passkeys = append(u.Passkeys, Passkey{
		ID: s.id("idn"), Object: "passkey", Name: "Chrome on Mac", LastUsedAt: new(u.UpdatedAt),
		Verification: &Verification{Object: "verification_passkey", Status: "verified", Strategy: "passkey", Attempts: new(int64(1)), Nonce: s.text(32)},
	})

	u.ExternalAccounts = u.ExternalAccounts[:0]
	u.EmailAddresses[0].LinkedTo = u.EmailAddresses[0].LinkedTo[:0]
	s.addExternalAccount(u, "google_account", "oauth_google")
	s.addExternalAccount(u, "facebook_account", "oauth_facebook")
	s.addExternalAccount(u, "external_account", "oauth_github")
	github := &u.ExternalAccounts[2]
	github.ImageURL = new(s.imageURL())
	github.Username = u.Username
	github.PhoneNumber = &phone.PhoneNumber
	github.Label = new("work")
	github.PublicMetadata = json.RawMessage(`{"followers":7}`)
	github.Verification.Status = "unverified"
	github.Verification.ExternalVerificationRedirectURL = "https://github.example/login/oauth/authorize?state=" + s.text(12)

	s.addSSO(u)
	if len(u.OrganizationIDs) == 0 {
		s.join(u)
	}
	for _, id := range u.OrganizationIDs {
		u.OrganizationMemberships = append(u.OrganizationMemberships, s.membership(u, id))
	}
	u.SCIM = &SCIM{DirectoryID: s.id("scimdir"), DirectoryEnabled: true, ExternalID: new(s.text(12))}
	u.TwoFactorEnabled, u.TOTPEnabled, u.BackupCodeEnabled = true, true, true
	u.MFAEnabledAt = new(created + day)
	u.MFADisabledAt = new(created + day/2)
	u.PublicMetadata = json.RawMessage(`{"plan":"business","limits":{"seats":25,"regions":["eu","us"]},"note":"Grüße, 東京 ✓"}`)
	u.PrivateMetadata = json.RawMessage(fmt.Sprintf(`{"billing_id":"cus_%s","ledger":{"balance":12345678901234567890,"rate":1.10,"history":[{"at":%d,"by":null}]}}`, s.text(14), created))
	u.UnsafeMetadata = json.RawMessage(`{"theme":"dark","panels":[{"id":1,"open":true},{"id":2,"open":false,"size":{"w":320,"h":2e2}}]}`)
}

// addUnverifiedEmail adds an address whose verification failed.
func (s *seeder) addUnverifiedEmail(u *User) {
	primary := u.PrimaryEmailAddressID
	s.addEmail(u)
	u.PrimaryEmailAddressID = primary
	e := &u.EmailAddresses[len(u.EmailAddresses)-1]
	e.MatchesSSOConnection = true
	e.Verification = &Verification{
		Object: "verification_from_oauth", Status: "failed", Strategy: "from_oauth_google", Attempts: new(int64(3)), ExpireAt: new(u.CreatedAt + 600e3),
		Error: &VerificationError{Code: "verification_expired", Message: "has expired", LongMessage: "This verification has expired. Start a new one."},
	}
}

// addSSO adds a SAML account and an enterprise account of each protocol.
func (s *seeder) addSSO(u *User) {
	address := u.EmailAddresses[0].EmailAddress
	account := func(object, provider, strategy string) SSOAccount {
		return SSOAccount{
			ID:                  s.id("samlacc"),
			Object:              object,
			Provider:            provider,
			Active:              true,
			EmailAddress:        address,
			FirstName:           u.FirstName,
			LastName:            u.LastName,
			ProviderUserID:      new(s.text(20)),
			LastAuthenticatedAt: new(u.UpdatedAt),
			PublicMetadata:      json.RawMessage(`{"department":"research"}`),
			Verification:        &Verification{Object: "verification_saml", Status: "verified", Strategy: strategy, ExpireAt: new(u.CreatedAt + 600e3)},
		}
	}
	connection := func(prefix, provider string) SSOConnection {
		return SSOConnection{
			ID:                               s.id(prefix),
			Name:                             "Example Workforce",
			Domain:                           "example.com",
			Domains:                          []string{"example.com", "example.net"},
			Active:                           true,
			Provider:                         provider,
			SyncUserAttributes:               true,
			AllowSubdomains:                  true,
			AllowIDPInitiated:                true,
			DisableAdditionalIdentifications: true,
			CreatedAt:                        u.CreatedAt,
			UpdatedAt:                        u.UpdatedAt,
		}
	}
	saml := SAMLAccount{SSOAccount: account("saml_account", "saml_okta", "saml")}
	saml.SAMLConnection = new(connection("samlc", "saml_okta"))
	u.SAMLAccounts = append(u.SAMLAccounts, saml)
	for _, p := range [...]struct{ protocol, provider string }{{"saml", "saml_okta"}, {"oauth", "oauth_custom_workforce"}} {
		c := &EnterpriseConnection{
			SSOConnection:          connection("samlc", p.provider),
			EnterpriseConnectionID: s.id("entc"),
			Protocol:               p.protocol,
			LogoPublicURL:          new("https://img.example/logo.png"),
		}
		u.EnterpriseAccounts = append(u.EnterpriseAccounts, EnterpriseAccount{
			SSOAccount:             account("enterprise_account", p.provider, "enterprise_sso"),
			Protocol:               p.protocol,
			EnterpriseConnectionID: &c.EnterpriseConnectionID,
			EnterpriseConnection:   c,
		})
	}
}

func (s *seeder) membership(u *User, organizationID string) OrganizationMembership {
	m := OrganizationMembership{
		ID:              s.id("orgmem"),
		Object:          "organization_membership",
		Role:            "org:admin",
		RoleName:        "Admin",
		Permissions:     []string{"org:sys_memberships:manage", "org:sys_profile:manage"},
		PublicMetadata:  json.RawMessage(`{"title":"lead"}`),
		PrivateMetadata: json.RawMessage(`{"cost_center":4711}`),
		PublicUserData: &PublicUserData{
			UserID: u.ID, FirstName: u.FirstName, LastName: u.LastName, ImageURL: &u.ImageURL, HasImage: u.HasImage,
			Identifier: u.EmailAddresses[0].EmailAddress, Username: u.Username,
		},
		CreatedAt: u.CreatedAt,
		UpdatedAt: u.UpdatedAt,
	}
	for i := range s.orgs {
		if s.orgs[i].ID == organizationID {
			m.Organization = &s.orgs[i]
		}
	}
	return m
}
