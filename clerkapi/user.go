package clerkapi

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// DecodeUser decodes a user in Clerk's JSON, from the API or a webhook.
//
// It fails if the text is not a JSON object, if the id is not a user's, or if updated_at,
// banned, locked or deprovisioned has a value that can't be decoded; the error contains
// nothing of the user but names of fields. Values of another type than Clerk documents are
// converted if that is safe (see repair). Other fields that can't be decoded are unset, and
// so are fields that are missing or null. Metadata may contain whatever JSON allows,
// including duplicate names, nested as deep as the JSON library allows (10,000 levels, more
// than fit into Clerk's 8 KB). Invalid UTF-8 and lone surrogates become U+FFFD. Phone backup
// codes are left out.
func DecodeUser(text []byte) (*clerkgatev1.User, error) {
	return decodeUser(text, func(string) {})
}

// decodeUser is DecodeUser that also calls unread with the name of each field that can't
// be decoded, such as "phone_numbers.verification.attempts".
func decodeUser(text []byte, unread func(field string)) (*clerkgatev1.User, error) {
	u, err := decodeExactly(text)
	if err == nil {
		return u, nil
	}
	repaired, failed := repair(text, unread)
	if failed != nil {
		return nil, failed
	}
	return decodeExactly(repaired)
}

// decodeExactly decodes a user whose fields have the types that Clerk documents.
func decodeExactly(text []byte) (*clerkgatev1.User, error) {
	w := userJSON{User: &clerkgatev1.User{}}
	if err := json.Unmarshal(text, &w, lenient, contract); err != nil {
		return nil, errors.New(Clean(err.Error(), maxMessage))
	}
	if jsontext.Value(text).Kind() != '{' {
		return nil, errors.New("a user must be a JSON object")
	}
	u := w.User
	if !ValidUserID(u.Id) {
		return nil, errors.New("a user without a valid id")
	}
	u.PublicMetadataJson = string(w.PublicMetadata)
	u.PrivateMetadataJson = w.PrivateMetadata.optional()
	u.UnsafeMetadataJson = w.UnsafeMetadata.optional()
	extra, err := formatExtra(w.Extra)
	if err != nil {
		return nil, err
	}
	u.ExtraJson = metadata(extra).optional()
	dropNulls(u)
	return u, nil
}

// The contract's messages have Clerk's names, and so do the JSON names in their struct
// tags, so users are decoded straight into them. The types here embed the messages that
// have metadata, whose name and form differ in the contract. Their own fields take
// precedence over those of the embedded message.
type (
	userJSON struct {
		*clerkgatev1.User
		Object          jsontext.Value `json:"object"` // always "user"
		PublicMetadata  metadata       `json:"public_metadata"`
		PrivateMetadata metadata       `json:"private_metadata"`
		UnsafeMetadata  metadata       `json:"unsafe_metadata"`
		Extra           jsontext.Value `json:",embed"` // all other members
	}
	externalAccountJSON struct {
		*clerkgatev1.ExternalAccount
		PublicMetadata metadata `json:"public_metadata"`
	}
	samlAccountJSON struct {
		*clerkgatev1.SamlAccount
		PublicMetadata metadata `json:"public_metadata"`
	}
	enterpriseAccountJSON struct {
		*clerkgatev1.EnterpriseAccount
		PublicMetadata metadata `json:"public_metadata"`
	}
	membershipJSON struct {
		*clerkgatev1.OrganizationMembership
		PublicMetadata  metadata `json:"public_metadata"`
		PrivateMetadata metadata `json:"private_metadata"`
	}
	verificationErrorJSON struct {
		*clerkgatev1.VerificationError
		Meta metadata `json:"meta"`
	}
	organizationJSON struct {
		*clerkgatev1.Organization
		PublicMetadata  metadata `json:"public_metadata"`
		PrivateMetadata metadata `json:"private_metadata"`
	}
)

// lenient accepts what JSON allows but the JSON library by default does not.
var lenient = json.JoinOptions(
	jsontext.AllowDuplicateNames(true),
	jsontext.AllowInvalidUTF8(true),
)

// contract decodes values whose form in the contract differs from Clerk's.
var contract = json.WithUnmarshalers(json.JoinUnmarshalers(
	json.UnmarshalFromFunc(decodeTime),
	json.UnmarshalFromFunc(decodeInteger),
	json.UnmarshalFromFunc(decodeInt32),
	json.UnmarshalFromFunc(func(dec *jsontext.Decoder, a *clerkgatev1.ExternalAccount) error {
		w := externalAccountJSON{ExternalAccount: a}
		err := json.UnmarshalDecode(dec, &w)
		a.PublicMetadataJson = w.PublicMetadata.optional()
		return err
	}),
	json.UnmarshalFromFunc(func(dec *jsontext.Decoder, a *clerkgatev1.SamlAccount) error {
		w := samlAccountJSON{SamlAccount: a}
		err := json.UnmarshalDecode(dec, &w)
		a.PublicMetadataJson = w.PublicMetadata.optional()
		return err
	}),
	json.UnmarshalFromFunc(func(dec *jsontext.Decoder, a *clerkgatev1.EnterpriseAccount) error {
		w := enterpriseAccountJSON{EnterpriseAccount: a}
		err := json.UnmarshalDecode(dec, &w)
		a.PublicMetadataJson = w.PublicMetadata.optional()
		return err
	}),
	json.UnmarshalFromFunc(func(dec *jsontext.Decoder, m *clerkgatev1.OrganizationMembership) error {
		w := membershipJSON{OrganizationMembership: m}
		err := json.UnmarshalDecode(dec, &w)
		m.PublicMetadataJson, m.PrivateMetadataJson = string(w.PublicMetadata), w.PrivateMetadata.optional()
		return err
	}),
	json.UnmarshalFromFunc(func(dec *jsontext.Decoder, o *clerkgatev1.Organization) error {
		w := organizationJSON{Organization: o}
		err := json.UnmarshalDecode(dec, &w)
		o.PublicMetadataJson, o.PrivateMetadataJson = string(w.PublicMetadata), w.PrivateMetadata.optional()
		return err
	}),
	json.UnmarshalFromFunc(func(dec *jsontext.Decoder, e *clerkgatev1.VerificationError) error {
		w := verificationErrorJSON{VerificationError: e}
		err := json.UnmarshalDecode(dec, &w)
		e.MetaJson = w.Meta.optional()
		return err
	}),
))

// metadata is a JSON object in the contract's form: compact, valid UTF-8, numbers
// unchanged; empty for null.
type metadata string

// optional returns the metadata for an optional field: nil if there is none.
func (m metadata) optional() *string {
	if m == "" {
		return nil
	}
	return (*string)(&m)
}

// UnmarshalJSONFrom decodes an object or null.
func (m *metadata) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	value, err := dec.ReadValue()
	if err != nil {
		return err
	}
	switch value.Kind() {
	case 'n':
		*m = ""
		return nil
	case '{':
	default:
		return errors.New("metadata must be an object")
	}
	text, err := jsontext.AppendFormat(nil, value, lenient)
	*m = metadata(text)
	return err
}

// formatExtra returns the members as compact JSON with sorted names, so equal users have
// equal text; empty without members.
func formatExtra(members jsontext.Value) (string, error) {
	if len(members) == 0 {
		return "", nil
	}
	text, err := jsontext.AppendFormat(nil, members, lenient, jsontext.ReorderRawObjects(true))
	if err != nil {
		return "", fmt.Errorf("unknown fields: %s", Clean(err.Error(), maxMessage))
	}
	return string(text), nil
}

// dropNulls removes null from the lists, where it would be a nil message.
func dropNulls(u *clerkgatev1.User) {
	u.EmailAddresses = withoutNulls(u.EmailAddresses)
	u.PhoneNumbers = withoutNulls(u.PhoneNumbers)
	u.Web3Wallets = withoutNulls(u.Web3Wallets)
	u.Passkeys = withoutNulls(u.Passkeys)
	u.ExternalAccounts = withoutNulls(u.ExternalAccounts)
	u.SamlAccounts = withoutNulls(u.SamlAccounts)
	u.EnterpriseAccounts = withoutNulls(u.EnterpriseAccounts)
	u.OrganizationMemberships = withoutNulls(u.OrganizationMemberships)
	for _, a := range u.EmailAddresses {
		a.LinkedTo = withoutNulls(a.LinkedTo)
	}
	for _, p := range u.PhoneNumbers {
		p.LinkedTo = withoutNulls(p.LinkedTo)
	}
}

func withoutNulls[T any](list []*T) []*T {
	return slices.DeleteFunc(list, func(m *T) bool { return m == nil })
}
