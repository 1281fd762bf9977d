package clerkapi

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// DecodeUser reads a user in Clerk's JSON, as the API and webhooks give it.
//
// It fails if the text is no JSON object, if the id is not one of a user, or if
// one of the fields updated_at, banned, locked and deprovisioned has a value that
// can't be read; the error shows nothing of the user but names of fields. Values of
// another type than Clerk documents are read as far as that is safe (see repair);
// other fields whose values can't be read are unset. So are fields and nested
// fields that are missing or null. Metadata may hold whatever JSON
// allows, duplicate names included, as deep as the JSON library goes (10,000
// levels, which Clerk's 8 KB can't reach); bytes that are not UTF-8 and lone
// surrogates become U+FFFD. Phone backup codes are left out.
func DecodeUser(text []byte) (*clerkgatev1.User, error) {
	return decodeUser(text, func(string) {})
}

// decodeUser does what DecodeUser does, and calls unread with the name of each field
// whose value can't be read, such as "phone_numbers.verification.attempts".
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

// decodeExactly reads a user whose fields have the types that Clerk documents.
func decodeExactly(text []byte) (*clerkgatev1.User, error) {
	w := userJSON{User: &clerkgatev1.User{}}
	if err := json.Unmarshal(text, &w, lenient, contract); err != nil {
		return nil, errors.New(clean(err.Error(), maxMessage))
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

// Messages of the contract keep Clerk's names, and the JSON names in their
// struct tags are those, so users are decoded straight into them. The types
// here stand around those messages that hold metadata, which has another name
// and form in the contract: a field of theirs, being nearer, wins over one of
// the message that is embedded.
type (
	userJSON struct {
		*clerkgatev1.User
		Object          jsontext.Value `json:"object"` // always "user"
		PublicMetadata  metadata       `json:"public_metadata"`
		PrivateMetadata metadata       `json:"private_metadata"`
		UnsafeMetadata  metadata       `json:"unsafe_metadata"`
		Extra           jsontext.Value `json:",embed"` // the members that nothing else takes
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

// lenient lets through what JSON allows but the JSON library by default does not.
var lenient = json.JoinOptions(
	jsontext.AllowDuplicateNames(true),
	jsontext.AllowInvalidUTF8(true),
)

// contract decodes what messages of the contract hold in another form than Clerk.
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

// metadata is a JSON object as the contract carries it: compact, valid UTF-8,
// numbers as they were; empty for null.
type metadata string

// optional returns the metadata as an optional field has it: unset if there is none.
func (m metadata) optional() *string {
	if m == "" {
		return nil
	}
	return (*string)(&m)
}

// UnmarshalJSONFrom reads an object or null.
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

// formatExtra gives the members as compact JSON with the names in order, so
// that equal users have equal text; empty where there are no members.
func formatExtra(members jsontext.Value) (string, error) {
	if len(members) == 0 {
		return "", nil
	}
	text, err := jsontext.AppendFormat(nil, members, lenient, jsontext.ReorderRawObjects(true))
	if err != nil {
		return "", fmt.Errorf("unknown fields: %s", clean(err.Error(), maxMessage))
	}
	return string(text), nil
}

// dropNulls takes null out of the lists, where it would be a nil message.
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
