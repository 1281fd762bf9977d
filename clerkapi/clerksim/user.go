package clerksim

import (
	"encoding/json"
	"fmt"
)

// User is a user in the JSON of Clerk's Backend API: 46 fields, in the order of Clerk's
// documentation. Times are Unix milliseconds. A nil pointer is encoded as null.
type User struct {
	ID                            string                   `json:"id"`
	Object                        string                   `json:"object"` // "user"
	ExternalID                    *string                  `json:"external_id"`
	PrimaryEmailAddressID         *string                  `json:"primary_email_address_id"`
	PrimaryPhoneNumberID          *string                  `json:"primary_phone_number_id"`
	PrimaryWeb3WalletID           *string                  `json:"primary_web3_wallet_id"`
	Username                      *string                  `json:"username"`
	FirstName                     *string                  `json:"first_name"`
	LastName                      *string                  `json:"last_name"`
	Locale                        *string                  `json:"locale"`
	ProfileImageURL               string                   `json:"profile_image_url"`
	ImageURL                      string                   `json:"image_url"`
	HasImage                      bool                     `json:"has_image"`
	PublicMetadata                json.RawMessage          `json:"public_metadata"`
	PrivateMetadata               json.RawMessage          `json:"private_metadata"`
	UnsafeMetadata                json.RawMessage          `json:"unsafe_metadata"`
	EmailAddresses                []EmailAddress           `json:"email_addresses"`
	PhoneNumbers                  []PhoneNumber            `json:"phone_numbers"`
	Web3Wallets                   []Web3Wallet             `json:"web3_wallets"`
	Passkeys                      []Passkey                `json:"passkeys"`
	ExternalAccounts              []ExternalAccount        `json:"external_accounts"`
	SAMLAccounts                  []SAMLAccount            `json:"saml_accounts"`
	EnterpriseAccounts            []EnterpriseAccount      `json:"enterprise_accounts"`
	OrganizationMemberships       []OrganizationMembership `json:"organization_memberships,omitempty"` // omitted if empty, as Clerk mostly does
	SCIM                          *SCIM                    `json:"scim"`
	PasswordEnabled               bool                     `json:"password_enabled"`
	TwoFactorEnabled              bool                     `json:"two_factor_enabled"`
	TOTPEnabled                   bool                     `json:"totp_enabled"`
	BackupCodeEnabled             bool                     `json:"backup_code_enabled"`
	Banned                        bool                     `json:"banned"`
	Locked                        bool                     `json:"locked"`
	Deprovisioned                 bool                     `json:"deprovisioned"`
	DeleteSelfEnabled             bool                     `json:"delete_self_enabled"`
	CreateOrganizationEnabled     bool                     `json:"create_organization_enabled"`
	BypassClientTrust             bool                     `json:"bypass_client_trust"`
	CreateOrganizationsLimit      *int64                   `json:"create_organizations_limit"` // 0: unlimited
	LockoutExpiresInSeconds       *int64                   `json:"lockout_expires_in_seconds"`
	VerificationAttemptsRemaining *int64                   `json:"verification_attempts_remaining"`
	MFAEnabledAt                  *int64                   `json:"mfa_enabled_at"`
	MFADisabledAt                 *int64                   `json:"mfa_disabled_at"`
	PasswordLastUpdatedAt         *int64                   `json:"password_last_updated_at"`
	LastSignInAt                  *int64                   `json:"last_sign_in_at"`
	LastActiveAt                  *int64                   `json:"last_active_at"`
	LegalAcceptedAt               *int64                   `json:"legal_accepted_at"`
	CreatedAt                     int64                    `json:"created_at"`
	UpdatedAt                     int64                    `json:"updated_at"`

	// OrganizationIDs are matched by the filter organization_id. They are not encoded.
	OrganizationIDs []string `json:"-"`
}

// EmailAddress is an email address of a user.
type EmailAddress struct {
	ID                   string                 `json:"id"`
	Object               string                 `json:"object"` // "email_address"
	EmailAddress         string                 `json:"email_address"`
	Reserved             bool                   `json:"reserved"`
	Verification         *Verification          `json:"verification"`
	LinkedTo             []LinkedIdentification `json:"linked_to"`
	MatchesSSOConnection bool                   `json:"matches_sso_connection"`
	CreatedAt            int64                  `json:"created_at"`
	UpdatedAt            int64                  `json:"updated_at"`
}

// PhoneNumber is a phone number of a user.
type PhoneNumber struct {
	ID                      string                 `json:"id"`
	Object                  string                 `json:"object"` // "phone_number"
	PhoneNumber             string                 `json:"phone_number"`
	ReservedForSecondFactor bool                   `json:"reserved_for_second_factor"`
	DefaultSecondFactor     bool                   `json:"default_second_factor"`
	Reserved                bool                   `json:"reserved"`
	Verification            *Verification          `json:"verification"`
	LinkedTo                []LinkedIdentification `json:"linked_to"`
	BackupCodes             []string               `json:"backup_codes"`
	CreatedAt               int64                  `json:"created_at"`
	UpdatedAt               int64                  `json:"updated_at"`
}

// LinkedIdentification refers to another identification of the same user.
type LinkedIdentification struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// Web3Wallet is a web3 wallet of a user.
type Web3Wallet struct {
	ID           string        `json:"id"`
	Object       string        `json:"object"` // "web3_wallet"
	Web3Wallet   string        `json:"web3_wallet"`
	Verification *Verification `json:"verification"`
	CreatedAt    int64         `json:"created_at"`
	UpdatedAt    int64         `json:"updated_at"`
}

// Passkey is a passkey of a user.
type Passkey struct {
	ID           string        `json:"id"`
	Object       string        `json:"object"` // "passkey"
	Name         string        `json:"name"`
	LastUsedAt   *int64        `json:"last_used_at"`
	Verification *Verification `json:"verification"`
}

// ExternalAccount is an account of a user at a social identity provider.
type ExternalAccount struct {
	Object               string          `json:"object"` // "external_account", "facebook_account" or "google_account"
	ID                   string          `json:"id"`
	Provider             string          `json:"provider"`
	IdentificationID     string          `json:"identification_id"`
	ProviderUserID       string          `json:"provider_user_id"`
	ApprovedScopes       string          `json:"approved_scopes"`
	EmailAddress         string          `json:"email_address"`
	EmailAddressVerified *bool           `json:"email_address_verified"`
	FirstName            string          `json:"first_name"`
	LastName             string          `json:"last_name"`
	AvatarURL            string          `json:"avatar_url"`
	ImageURL             *string         `json:"image_url"`
	Username             *string         `json:"username"`
	PhoneNumber          *string         `json:"phone_number"`
	Label                *string         `json:"label"`
	PublicMetadata       json.RawMessage `json:"public_metadata"`
	CreatedAt            int64           `json:"created_at"`
	UpdatedAt            int64           `json:"updated_at"`
	Verification         *Verification   `json:"verification"`
}

// SSOAccount has the common fields of SAML and enterprise accounts.
type SSOAccount struct {
	ID                  string          `json:"id"`
	Object              string          `json:"object"` // "saml_account" or "enterprise_account"
	Provider            string          `json:"provider"`
	Active              bool            `json:"active"`
	EmailAddress        string          `json:"email_address"`
	FirstName           *string         `json:"first_name"`
	LastName            *string         `json:"last_name"`
	ProviderUserID      *string         `json:"provider_user_id"`
	LastAuthenticatedAt *int64          `json:"last_authenticated_at"`
	PublicMetadata      json.RawMessage `json:"public_metadata"`
	Verification        *Verification   `json:"verification"`
}

// SAMLAccount is a SAML account of a user.
type SAMLAccount struct {
	SSOAccount
	SAMLConnection *SSOConnection `json:"saml_connection"`
}

// EnterpriseAccount is an enterprise single sign-on account of a user.
type EnterpriseAccount struct {
	SSOAccount
	Protocol               string                `json:"protocol"` // "oauth" or "saml"
	EnterpriseConnectionID *string               `json:"enterprise_connection_id"`
	EnterpriseConnection   *EnterpriseConnection `json:"enterprise_connection"`
}

// SSOConnection is the connection of a SAML account; enterprise connections have the same
// fields.
type SSOConnection struct {
	ID                               string   `json:"id"`
	Name                             string   `json:"name"`
	Domain                           string   `json:"domain"`
	Domains                          []string `json:"domains"`
	Active                           bool     `json:"active"`
	Provider                         string   `json:"provider"`
	SyncUserAttributes               bool     `json:"sync_user_attributes"`
	AllowSubdomains                  bool     `json:"allow_subdomains"`
	AllowIDPInitiated                bool     `json:"allow_idp_initiated"`
	DisableAdditionalIdentifications bool     `json:"disable_additional_identifications"`
	CreatedAt                        int64    `json:"created_at"`
	UpdatedAt                        int64    `json:"updated_at"`
}

// EnterpriseConnection is the connection of an enterprise account.
type EnterpriseConnection struct {
	SSOConnection
	EnterpriseConnectionID string  `json:"enterprise_connection_id"`
	Protocol               string  `json:"protocol"`
	LogoPublicURL          *string `json:"logo_public_url"`
}

// OrganizationMembership is a user's membership in an organization.
type OrganizationMembership struct {
	ID              string          `json:"id"`
	Object          string          `json:"object"` // "organization_membership"
	Role            string          `json:"role"`
	RoleName        string          `json:"role_name"`
	Permissions     []string        `json:"permissions"`
	PublicMetadata  json.RawMessage `json:"public_metadata"`
	PrivateMetadata json.RawMessage `json:"private_metadata"`
	Organization    *Organization   `json:"organization"`
	PublicUserData  *PublicUserData `json:"public_user_data"`
	CreatedAt       int64           `json:"created_at"`
	UpdatedAt       int64           `json:"updated_at"`
}

// Organization is an organization in a membership.
type Organization struct {
	ID                                   string          `json:"id"`
	Object                               string          `json:"object"` // "organization"
	Name                                 string          `json:"name"`
	Slug                                 string          `json:"slug"`
	ImageURL                             *string         `json:"image_url"`
	HasImage                             bool            `json:"has_image"`
	MembersCount                         *int64          `json:"members_count"`
	MissingMemberWithElevatedPermissions *bool           `json:"missing_member_with_elevated_permissions"`
	PendingInvitationsCount              *int64          `json:"pending_invitations_count"`
	MaxAllowedMemberships                int64           `json:"max_allowed_memberships"`
	AdminDeleteEnabled                   bool            `json:"admin_delete_enabled"`
	RoleSetKey                           *string         `json:"role_set_key"`
	PublicMetadata                       json.RawMessage `json:"public_metadata"`
	PrivateMetadata                      json.RawMessage `json:"private_metadata"`
	CreatedBy                            *string         `json:"created_by"`
	CreatedAt                            int64           `json:"created_at"`
	UpdatedAt                            int64           `json:"updated_at"`
	LastActiveAt                         *int64          `json:"last_active_at"`
}

// PublicUserData is the part of a user that other members of an organization see.
type PublicUserData struct {
	UserID     string  `json:"user_id"`
	FirstName  *string `json:"first_name"`
	LastName   *string `json:"last_name"`
	ImageURL   *string `json:"image_url"`
	HasImage   bool    `json:"has_image"`
	Identifier string  `json:"identifier"`
	Username   *string `json:"username"`
}

// SCIM is a user's entry in a SCIM directory.
type SCIM struct {
	DirectoryID      string  `json:"directory_id"`
	DirectoryEnabled bool    `json:"directory_enabled"`
	ExternalID       *string `json:"external_id"`
}

// Verification is the verification of an identification. The fields from Channel on are
// omitted for kinds of verification without them.
type Verification struct {
	Object                          string             `json:"object"`
	Status                          string             `json:"status"`
	Strategy                        string             `json:"strategy"`
	Attempts                        *int64             `json:"attempts"`
	ExpireAt                        *int64             `json:"expire_at"`
	Channel                         string             `json:"channel,omitempty"`
	Nonce                           string             `json:"nonce,omitempty"`
	Message                         string             `json:"message,omitempty"`
	Error                           *VerificationError `json:"error,omitempty"`
	ExternalVerificationRedirectURL string             `json:"external_verification_redirect_url,omitempty"`
	VerifiedAtClient                string             `json:"verified_at_client,omitempty"`
}

// VerificationError is the reason for a failed verification.
type VerificationError struct {
	Code        string `json:"code"`
	Message     string `json:"message"`
	LongMessage string `json:"long_message"`
}

// encode returns the user as Clerk encodes it, followed by the fields of extra, if any.
func (u *User) encode(extra json.RawMessage) ([]byte, error) {
	text, err := json.Marshal(u)
	if err != nil {
		return nil, fmt.Errorf("encode user %s: %w", u.ID, err)
	}
	if len(extra) > 0 {
		text = append(append(text[:len(text)-1], ','), extra[1:]...)
	}
	return text, nil
}

// clone copies the user and all that it points to.
func (u *User) clone() *User {
	text, err := json.Marshal(u)
	if err != nil {
		panic(err) // the user was encoded before
	}
	c := new(User)
	if err := json.Unmarshal(text, c); err != nil {
		panic(err)
	}
	c.OrganizationIDs = append([]string(nil), u.OrganizationIDs...)
	return c
}
