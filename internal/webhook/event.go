package webhook

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// maxAge is how old an event may be to put its copy of the user in place. A
// later one still tells that the user has changed.
const maxAge = time.Minute

// Kind is a type of event, as Clerk calls it.
type Kind string

const (
	userCreated Kind = "user.created"
	userUpdated Kind = "user.updated"
	userDeleted Kind = "user.deleted"
	otherKind   Kind = "other" // any other, or none that could be read
)

// always are the fields that Clerk's API gives of every user and its events
// give of most: those that Clerk's description of the events (version
// 2025-04-15) requires, and image_url and the two kinds of metadata, which it
// does not. A copy without one of them would be poorer than Clerk's own answer.
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

// lenient lets through what end users can write into metadata.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// event is something that happened at Clerk.
type event struct {
	kind      Kind
	timestamp jsontext.Value // may be missing
	data      jsontext.Value // what it happened to; may be missing
	fields    map[string]jsontext.Value
}

// parse reads an event; false if the text is none.
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

// userID is the id of the user that the event is about; empty if it gives none.
func (e *event) userID() string {
	var id string
	if json.Unmarshal(e.fields["id"], &id, lenient) != nil || !clerkapi.ValidUserID(id) {
		return ""
	}
	return id
}

// user is the event's copy of the user; nil if it has not all that Clerk's API
// gives of one.
func (e *event) user() *clerkgatev1.User {
	for _, name := range always {
		if _, ok := e.fields[name]; !ok {
			return nil
		}
	}
	u, err := clerkapi.DecodeUser(e.data)
	if err != nil || u.GetPublicMetadataJson() == "" || u.GetPrivateMetadataJson() == "" || u.GetUnsafeMetadataJson() == "" {
		return nil // null in place of metadata may only mean that it is not shown here
	}
	return u
}

// happened is when the event happened, now at the latest. Clerk's documentation
// has it in milliseconds, the examples of its description in seconds. If the
// event does not say, it happened when it was sent.
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
