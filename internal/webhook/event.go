package webhook

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// maxAge is the age up to which an event's copy of the user is stored. An older event
// only invalidates.
const maxAge = time.Minute

// Kind is a type of event, by Clerk's name.
type Kind string

const (
	userCreated Kind = "user.created"
	userUpdated Kind = "user.updated"
	userDeleted Kind = "user.deleted"
	otherKind   Kind = "other" // another type, or an unreadable one
)

// always are the fields that Clerk's API returns for every user and that most events
// contain: those that Clerk's description of the events (version 2025-04-15) requires,
// plus image_url and two kinds of metadata. A copy without one of them would lack data
// that Clerk's own answer has.
var always = []string{
	"id", "object", "username", "first_name", "last_name", "image_url", "has_image",
	"primary_email_address_id", "primary_phone_number_id", "primary_web3_wallet_id",
	"password_enabled", "two_factor_enabled", "totp_enabled", "backup_code_enabled",
	"email_addresses", "phone_numbers", "web3_wallets", "passkeys",
	"external_accounts", "saml_accounts", "enterprise_accounts",
	"public_metadata", "private_metadata", "unsafe_metadata", "external_id",
	"last_sign_in_at", "last_active_at", "banned", "locked",
	"lockout_expires_in_seconds", "verification_attempts_remaining",
	"delete_self_enabled", "create_organization_enabled",
	"mfa_enabled_at", "mfa_disabled_at", "legal_accepted_at", "created_at", "updated_at",
}

// lenient accepts what end users can write into metadata.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// event is a parsed event.
type event struct {
	kind      Kind
	timestamp jsontext.Value // may be missing
	data      jsontext.Value // the user; may be missing
	fields    map[string]jsontext.Value
}

// parse parses an event. It returns false if the text is not one.
func parse(text []byte) (*event, bool) {
	var envelope struct {
		Type      string         `json:"type"`
		Timestamp jsontext.Value `json:"timestamp"`
		Data      jsontext.Value `json:"data"`
	}
	if json.Unmarshal(text, &envelope, lenient) != nil || envelope.Type == "" {
		return nil, false
	}
	e := &event{kind: Kind(envelope.Type), timestamp: envelope.Timestamp, data: envelope.Data}
	switch e.kind {
	case userCreated, userUpdated, userDeleted:
		if json.Unmarshal(e.data, &e.fields, lenient) != nil {
			e.fields = nil
		}
	default:
		e.kind = otherKind
	}
	return e, true
}

// userID returns the id of the event's user, or "".
func (e *event) userID() string {
	var id string
	if json.Unmarshal(e.fields["id"], &id, lenient) != nil || !clerkapi.ValidUserID(id) {
		return ""
	}
	return id
}

// user returns the event's copy of the user, or nil if it lacks fields that Clerk's API
// returns.
func (e *event) user() *clerkgatev1.User {
	for _, name := range always {
		if _, ok := e.fields[name]; !ok {
			return nil
		}
	}
	u, err := clerkapi.DecodeUser(e.data)
	if err != nil || u.GetPublicMetadataJson() == "" || u.GetPrivateMetadataJson() == "" || u.GetUnsafeMetadataJson() == "" {
		return nil // null instead of metadata may mean that the event does not show it
	}
	return u
}

// happened returns the time of the event, at most now. Clerk's documentation has it in
// milliseconds, the examples of its description in seconds. Without a time, the event
// happened when it was sent.
func (e *event) happened(sent, now time.Time) time.Time {
	const smallestMS = 1e11 // the year 1973 in milliseconds, 5138 in seconds
	ms, err := strconv.ParseFloat(string(e.timestamp), 64)
	switch {
	case err != nil || ms <= 0:
		ms = float64(sent.UnixMilli())
	case ms < smallestMS:
		ms *= 1000
	}
	return time.UnixMilli(int64(min(ms, float64(now.UnixMilli()))))
}
