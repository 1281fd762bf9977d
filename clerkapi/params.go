package clerkapi

import (
	"fmt"
	"math"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// Limits of Clerk's API, and of the text that is sent to it.
const (
	// MaxLookup is the largest number of ids in one lookup, and of values in one list of a
	// filter.
	MaxLookup = 100
	// MaxPage is the largest number of users in one page.
	MaxPage = 500

	maxValue    = 1000
	maxUserTail = 128
)

// MaxRequestLine is the length of the longest request line that is sent, in bytes: "GET",
// the path with its query, and "HTTP/1.1". Many servers and proxies accept no longer one.
const MaxRequestLine = 8000

// requestLineRest is the length of a request line without path and query.
const requestLineRest = len("GET  HTTP/1.1")

// lookupRest is the length of a lookup's request line without its ids.
const lookupRest = requestLineRest + len("/v1/users?limit=100")

// LookupLine returns the length of the request line of a lookup, in bytes. The ids must
// be valid.
func LookupLine(ids ...string) int {
	n := lookupRest
	for _, id := range ids {
		n += len("&user_id=") + len(id)
	}
	return n
}

// checkLine returns a *ParamError if a query is too long to be sent.
func checkLine(path string, query url.Values) error {
	if n := requestLineRest + len(path) + len("?") + len(query.Encode()); n > MaxRequestLine {
		return invalid("filter", "is too long: it makes a request line of %d bytes, and at most %d are sent; ask for less at once", n, MaxRequestLine)
	}
	return nil
}

// ListParams are the arguments of ListUsers.
type ListParams struct {
	Filter        *clerkgatev1.UserFilter // nil: everybody
	OrderBy       string                  // Clerk's own form; empty: "-created_at"
	Limit         int                     // 1 to MaxPage; always sent
	Offset        int                     // from 0; not with StartingAfter
	StartingAfter string                  // id of the last user of the page before; only with created_at orders
}

// ParamError reports an invalid parameter. Nothing was sent to Clerk.
type ParamError struct {
	Field       string // path of the field, such as "filter.user_id.values[3]"
	Description string // what it must be
}

// Error returns the field and what it must be.
func (e *ParamError) Error() string { return e.Field + ": " + e.Description }

func invalid(field, format string, args ...any) error {
	return &ParamError{Field: field, Description: fmt.Sprintf(format, args...)}
}

// ValidUserID reports whether id has the form of Clerk's user ids: "user_" and 1 to 128
// ASCII letters, digits and underscores.
func ValidUserID(id string) bool {
	tail, ok := strings.CutPrefix(id, "user_")
	if !ok || tail == "" || len(tail) > maxUserTail {
		return false
	}
	for _, b := range []byte(tail) {
		if !('a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '_') {
			return false
		}
	}
	return true
}

// orders are the fields that Clerk can sort by.
var orders = map[string]bool{
	"created_at": true, "updated_at": true, "email_address": true, "web3wallet": true,
	"first_name": true, "last_name": true, "phone_number": true, "username": true,
	"last_active_at": true, "last_sign_in_at": true,
}

// Validate returns nil, or a *ParamError about the first invalid field: "filter…",
// "order_by", "limit", "offset" or "starting_after".
func (p ListParams) Validate() error {
	if err := ValidateFilter(p.Filter); err != nil {
		return err
	}
	order := strings.TrimPrefix(p.OrderBy, "-")
	if order == p.OrderBy {
		order = strings.TrimPrefix(p.OrderBy, "+")
	}
	switch {
	case p.OrderBy != "" && !orders[order]:
		return invalid("order_by", "must be one of created_at, updated_at, email_address, web3wallet, first_name, "+
			"last_name, phone_number, username, last_active_at and last_sign_in_at, with + or - before it or not")
	case p.Limit < 1 || p.Limit > MaxPage:
		return invalid("limit", "must be 1 to %d", MaxPage)
	case p.Offset < 0 || p.Offset > math.MaxInt32:
		return invalid("offset", "must be 0 to %d", math.MaxInt32)
	case p.StartingAfter == "":
	case !ValidUserID(p.StartingAfter):
		return invalid("starting_after", "must be a user id, such as user_2abcDEF")
	case p.Offset > 0:
		return invalid("starting_after", "can't be together with an offset")
	case p.OrderBy != "" && order != "created_at":
		return invalid("starting_after", "needs an order by created_at")
	}
	return checkLine("/v1/users", p.query())
}

// ValidateFilter returns nil, or a *ParamError about the first invalid field, whose path
// is "filter" or starts with "filter.". A nil filter is valid and means everybody. A
// filter without a condition, with an empty list of values, or with an unknown field is
// invalid, since each could select more users than the caller meant.
func ValidateFilter(f *clerkgatev1.UserFilter) error {
	if f == nil {
		return nil
	}
	if len(f.ProtoReflect().GetUnknown()) > 0 {
		return invalid("filter", "has a field that this server does not know; send only fields of its UserFilter")
	}
	conditions := 0
	var err error
	f.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		conditions++
		if fd.Message() != nil && len(v.Message().GetUnknown()) > 0 {
			err = invalid("filter."+string(fd.Name()), "has a field that this server does not know")
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	if conditions == 0 {
		return invalid("filter", "has no condition; leave the filter out to select everybody")
	}
	for _, l := range filterLists(f) {
		if err := l.validate(); err != nil {
			return err
		}
	}
	for _, t := range filterTexts(f) {
		if t.value == nil {
			continue
		}
		if err := validateText("filter."+t.field, *t.value); err != nil {
			return err
		}
	}
	if f.GetProvider() != "" && f.GetProviderUserIds() == nil {
		return invalid("filter.provider", "needs provider_user_ids")
	}
	if f.GetProvider() == "" && f.GetProviderUserIds() != nil {
		return invalid("filter.provider_user_ids", "needs provider")
	}
	for _, t := range filterTimes(f) {
		switch {
		case t.value == nil:
		case !t.value.IsValid() || t.value.Seconds < 0:
			return invalid("filter."+t.field, "must be a time from 1970 to 9999")
		}
	}
	return checkLine("/v1/users/count", filterQuery(f))
}

// ValidateCountFilter is ValidateFilter for a count, for which Clerk documents
// fewer conditions.
func ValidateCountFilter(f *clerkgatev1.UserFilter) error {
	const description = "can't be used in a count; Clerk documents it for lists only"
	switch {
	case f.GetExcludedUserIds() != nil:
		return invalid("filter.excluded_user_ids", description)
	case f.GetExcludedExternalIds() != nil:
		return invalid("filter.excluded_external_ids", description)
	}
	return ValidateFilter(f)
}

// idList is a list of values of a filter, and its form in Clerk's API.
type idList struct {
	field  string // name in UserFilter
	param  string // name of Clerk's parameter
	prefix string // prefix of each value at Clerk: "-" excludes
	signed bool   // a + or - before a value has a meaning at Clerk
	users  bool   // the values are user ids
	list   *clerkgatev1.StringList
}

func filterLists(f *clerkgatev1.UserFilter) []idList {
	return []idList{
		{field: "user_ids", param: "user_id", signed: true, users: true, list: f.GetUserIds()},
		{field: "external_ids", param: "external_id", signed: true, list: f.GetExternalIds()},
		{field: "email_addresses", param: "email_address", list: f.GetEmailAddresses()},
		{field: "phone_numbers", param: "phone_number", list: f.GetPhoneNumbers()},
		{field: "usernames", param: "username", list: f.GetUsernames()},
		{field: "web3_wallets", param: "web3_wallet", list: f.GetWeb3Wallets()},
		{field: "organization_ids", param: "organization_id", signed: true, list: f.GetOrganizationIds()},
		{field: "provider_user_ids", param: "provider_user_id", list: f.GetProviderUserIds()},
		{field: "excluded_user_ids", param: "user_id", prefix: "-", signed: true, users: true, list: f.GetExcludedUserIds()},
		{field: "excluded_external_ids", param: "external_id", prefix: "-", signed: true, list: f.GetExcludedExternalIds()},
		{field: "excluded_organization_ids", param: "organization_id", prefix: "-", signed: true, list: f.GetExcludedOrganizationIds()},
	}
}

func (l idList) validate() error {
	if l.list == nil {
		return nil
	}
	field := "filter." + l.field
	if n := len(l.list.Values); n == 0 || n > MaxLookup {
		return invalid(field+".values", "must hold 1 to %d values, not %d", MaxLookup, n)
	}
	for i, v := range l.list.Values {
		field := fmt.Sprintf("%s.values[%d]", field, i)
		if l.users && !ValidUserID(v) {
			return invalid(field, "must be a user id, such as user_2abcDEF")
		}
		if err := validateText(field, v); err != nil {
			return err
		}
		if l.signed && (v[0] == '+' || v[0] == '-') {
			return invalid(field, "must not start with + or -")
		}
	}
	return nil
}

type filterText struct {
	field string // name in UserFilter and of Clerk's parameter
	value *string
}

func filterTexts(f *clerkgatev1.UserFilter) []filterText {
	if f == nil {
		return nil
	}
	return []filterText{
		{"provider", f.Provider},
		{"query", f.Query},
		{"email_address_query", f.EmailAddressQuery},
		{"phone_number_query", f.PhoneNumberQuery},
		{"username_query", f.UsernameQuery},
		{"name_query", f.NameQuery},
	}
}

type filterTime struct {
	field string // name in UserFilter and of Clerk's parameter
	value *timestamppb.Timestamp
}

func filterTimes(f *clerkgatev1.UserFilter) []filterTime {
	return []filterTime{
		{"created_at_before", f.GetCreatedAtBefore()},
		{"created_at_after", f.GetCreatedAtAfter()},
		{"last_active_at_before", f.GetLastActiveAtBefore()},
		{"last_active_at_after", f.GetLastActiveAtAfter()},
		{"last_sign_in_at_before", f.GetLastSignInAtBefore()},
		{"last_sign_in_at_after", f.GetLastSignInAtAfter()},
	}
}

func validateText(field, s string) error {
	switch {
	case strings.TrimSpace(s) == "":
		return invalid(field, "must not be empty")
	case len(s) > maxValue:
		return invalid(field, "must be at most %d bytes long", maxValue)
	case !utf8.ValidString(s):
		return invalid(field, "must be valid UTF-8")
	case strings.ContainsFunc(s, unicode.IsControl):
		return invalid(field, "must hold no control characters")
	}
	return nil
}
