package clerkapi

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

func list(values ...string) *clerkgatev1.StringList {
	return &clerkgatev1.StringList{Values: values}
}

func many(n int) *clerkgatev1.StringList {
	l := &clerkgatev1.StringList{}
	for range n {
		l.Values = append(l.Values, "a")
	}
	return l
}

func TestValidUserID(t *testing.T) {
	tests := []struct {
		id    string
		valid bool
	}{
		{"user_a", true},
		{"user_2abcDEF_9", true},
		{"user_" + strings.Repeat("a", 128), true},
		{"user_" + strings.Repeat("a", 129), false},
		{"user_", false},
		{"", false},
		{"-user_a", false},
		{"+user_a", false},
		{" user_a", false},
		{"user_a\n", false},
		{"user_a/../../organizations", false},
		{"../organizations", false},
		{"user_%2e", false},
		{"user_ä", false},
		{"USER_a", false},
		{"org_a", false},
	}
	for _, test := range tests {
		if got := ValidUserID(test.id); got != test.valid {
			t.Errorf("%q: got %v", test.id, got)
		}
	}
}

// wantField checks that err is a ParamError about field; "" stands for no error.
// withUnknown adds a field that m does not know.
func withUnknown[M proto.Message](m M) M {
	m.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
	return m
}

func TestValidateCountFilter(t *testing.T) {
	list := &clerkgatev1.StringList{Values: []string{"user_a"}}
	wantField(t, ValidateCountFilter(&clerkgatev1.UserFilter{UserIds: list}), "")
	wantField(t, ValidateCountFilter(nil), "")
	wantField(t, ValidateCountFilter(&clerkgatev1.UserFilter{}), "filter")
	wantField(t, ValidateCountFilter(&clerkgatev1.UserFilter{ExcludedUserIds: list}), "filter.excluded_user_ids")
	wantField(t, ValidateCountFilter(&clerkgatev1.UserFilter{ExcludedExternalIds: list}), "filter.excluded_external_ids")
	wantField(t, ValidateCountFilter(&clerkgatev1.UserFilter{ExcludedOrganizationIds: list}), "")
}

func wantField(t *testing.T, err error, field string) {
	t.Helper()
	if field == "" {
		if err != nil {
			t.Errorf("got %v", err)
		}
		return
	}
	p, ok := errors.AsType[*ParamError](err)
	if !ok {
		t.Errorf("got %v, want a ParamError about %s", err, field)
		return
	}
	if p.Field != field || p.Description == "" {
		t.Errorf("got %v, want one about %s", p, field)
	}
}

func TestValidateFilter(t *testing.T) {
	type filter = clerkgatev1.UserFilter
	tests := []struct {
		name   string
		filter *filter
		field  string
	}{
		{"nil", nil, ""},
		{"empty", &filter{}, "filter"},
		{"empty list", &filter{UserIds: list()}, "filter.user_ids.values"},
		{"101 values", &filter{EmailAddresses: many(101)}, "filter.email_addresses.values"},
		{"100 values", &filter{EmailAddresses: many(100)}, ""},
		{"empty value", &filter{Usernames: list("a", "")}, "filter.usernames.values[1]"},
		{"blank value", &filter{Usernames: list(" ")}, "filter.usernames.values[0]"},
		{"excluding by sign", &filter{UserIds: list("user_a", "-user_b")}, "filter.user_ids.values[1]"},
		{"including by sign", &filter{UserIds: list("+user_b")}, "filter.user_ids.values[0]"},
		{"no user id", &filter{ExcludedUserIds: list("org_a")}, "filter.excluded_user_ids.values[0]"},
		{"external id with a sign", &filter{ExternalIds: list("-1")}, "filter.external_ids.values[0]"},
		{"organization with a sign", &filter{OrganizationIds: list("+org_a")}, "filter.organization_ids.values[0]"},
		{"excluded external id with a sign", &filter{ExcludedExternalIds: list("-1")}, "filter.excluded_external_ids.values[0]"},
		{"excluded organization with a sign", &filter{ExcludedOrganizationIds: list("-1")}, "filter.excluded_organization_ids.values[0]"},
		{"phone with a plus", &filter{PhoneNumbers: list("+12025550123")}, ""},
		{"wallet too long", &filter{Web3Wallets: list(strings.Repeat("a", 1001))}, "filter.web3_wallets.values[0]"},
		{"as long as may be", &filter{Web3Wallets: list(strings.Repeat("a", 1000))}, ""},
		{"bad UTF-8", &filter{ExternalIds: list("a\xff")}, "filter.external_ids.values[0]"},
		{"field of a later version", withUnknown(&filter{Query: proto.String("a")}), "filter"},
		{"only a field of a later version", withUnknown(&filter{}), "filter"},
		{"later field of a list", &filter{UserIds: withUnknown(list("user_a"))}, "filter.user_ids"},
		{"later field of a time", &filter{CreatedAtAfter: withUnknown(timestamppb.New(time.Unix(1, 0)))}, "filter.created_at_after"},
		{"control character", &filter{Query: proto.String("a\x00")}, "filter.query"},
		{"empty query", &filter{NameQuery: proto.String("")}, "filter.name_query"},
		{"empty provider", &filter{Provider: proto.String("")}, "filter.provider"},
		{"provider alone", &filter{Provider: proto.String("oauth_google")}, "filter.provider"},
		{"provider's id alone", &filter{ProviderUserIds: list("1")}, "filter.provider_user_ids"},
		{"both", &filter{Provider: proto.String("oauth_google"), ProviderUserIds: list("1")}, ""},
		{"before 1970", &filter{CreatedAtAfter: timestamppb.New(time.Unix(-1, 0))}, "filter.created_at_after"},
		{"1970", &filter{CreatedAtAfter: &timestamppb.Timestamp{}}, ""},
		{"no time", &filter{LastSignInAtBefore: &timestamppb.Timestamp{Nanos: -1}}, "filter.last_sign_in_at_before"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { wantField(t, ValidateFilter(test.filter), test.field) })
	}
}

func TestValidateListParams(t *testing.T) {
	tests := []struct {
		name   string
		params ListParams
		field  string
	}{
		{"plain", ListParams{Limit: 1}, ""},
		{"largest", ListParams{Limit: 500, Offset: 1000000, OrderBy: "-last_active_at"}, ""},
		{"no limit", ListParams{}, "limit"},
		{"limit too large", ListParams{Limit: 501}, "limit"},
		{"negative offset", ListParams{Limit: 1, Offset: -1}, "offset"},
		{"unknown order", ListParams{Limit: 1, OrderBy: "id"}, "order_by"},
		{"order with two signs", ListParams{Limit: 1, OrderBy: "+-created_at"}, "order_by"},
		{"order of signs alone", ListParams{Limit: 1, OrderBy: "-"}, "order_by"},
		{"ascending", ListParams{Limit: 1, OrderBy: "+web3wallet"}, ""},
		{"after", ListParams{Limit: 1, StartingAfter: "user_a"}, ""},
		{"after by created_at", ListParams{Limit: 1, StartingAfter: "user_a", OrderBy: "+created_at"}, ""},
		{"after by a name", ListParams{Limit: 1, StartingAfter: "user_a", OrderBy: "username"}, "starting_after"},
		{"after with an offset", ListParams{Limit: 1, StartingAfter: "user_a", Offset: 1}, "starting_after"},
		{"after nobody", ListParams{Limit: 1, StartingAfter: "-user_a"}, "starting_after"},
		{"bad filter", ListParams{Limit: 1, Filter: &clerkgatev1.UserFilter{UserIds: list()}}, "filter.user_ids.values"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { wantField(t, test.params.Validate(), test.field) })
	}
}

func TestQuery(t *testing.T) {
	at := func(ms int64) *timestamppb.Timestamp {
		return timestamppb.New(time.UnixMilli(ms).Add(999 * time.Microsecond))
	}
	all := ListParams{
		Filter: &clerkgatev1.UserFilter{
			UserIds: list("user_a", "user_b"), ExternalIds: list("e"), EmailAddresses: list("a+b@x.example"),
			PhoneNumbers: list("+1202"), Usernames: list("u&v"), Web3Wallets: list("0x"), OrganizationIds: list("org_a"),
			ProviderUserIds: list("p"), Provider: proto.String("oauth_google"), ExcludedUserIds: list("user_c", "user_d"),
			ExcludedExternalIds: list("f"), ExcludedOrganizationIds: list("org_b"), Query: proto.String("q"),
			EmailAddressQuery: proto.String("eq"), PhoneNumberQuery: proto.String("pq"), UsernameQuery: proto.String("uq"),
			NameQuery: proto.String("nq"), Banned: proto.Bool(false), CreatedAtBefore: at(1), CreatedAtAfter: at(2),
			LastActiveAtBefore: at(3), LastActiveAtAfter: at(4), LastSignInAtBefore: at(5), LastSignInAtAfter: at(6),
		},
		OrderBy: "+created_at", Limit: 7, Offset: 8, StartingAfter: "user_z",
	}
	tests := []struct {
		name   string
		params ListParams
		want   string
	}{
		{"plain", ListParams{Limit: 500}, "limit=500"},
		{"all", all, strings.Join([]string{
			"banned=false", "created_at_after=2", "created_at_before=1", "email_address=a%2Bb%40x.example",
			"email_address_query=eq", "external_id=e", "external_id=-f", "last_active_at_after=4", "last_active_at_before=3",
			"last_sign_in_at_after=6", "last_sign_in_at_before=5", "limit=7", "name_query=nq", "offset=8",
			"order_by=%2Bcreated_at", "organization_id=org_a", "organization_id=-org_b", "phone_number=%2B1202",
			"phone_number_query=pq", "provider=oauth_google", "provider_user_id=p", "query=q", "starting_after=user_z",
			"user_id=user_a", "user_id=user_b", "user_id=-user_c", "user_id=-user_d", "username=u%26v",
			"username_query=uq", "web3_wallet=0x",
		}, "&")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.params.query().Encode(); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
	// Every field of the filter is set above, so that a new one can't be forgotten.
	m := all.Filter.ProtoReflect()
	for i := range m.Descriptor().Fields().Len() {
		if f := m.Descriptor().Fields().Get(i); !m.Has(f) {
			t.Errorf("%s is not tested", f.Name())
		}
	}
}
