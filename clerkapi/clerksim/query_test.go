package clerksim

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// everybody returns all users, newest first, in Clerk's default order.
func everybody(t *testing.T, s *Sim) []*User {
	t.Helper()
	var all []*User
	for _, id := range s.UserIDs(100_000) {
		u, ok := s.User(id)
		if !ok {
			t.Fatalf("there is no user %s", id)
		}
		u.OrganizationIDs = slices.Clone(u.OrganizationIDs)
		all = append(all, u)
	}
	slices.SortFunc(all, func(a, b *User) int {
		if a.CreatedAt != b.CreatedAt {
			return int(b.CreatedAt - a.CreatedAt)
		}
		return strings.Compare(b.ID, a.ID)
	})
	return all
}

func idsOf(users []*User, want func(*User) bool) []string {
	ids := []string{}
	for _, u := range users {
		if want(u) {
			ids = append(ids, u.ID)
		}
	}
	return ids
}

func TestFilters(t *testing.T) {
	s := newSim(t, Config{Users: 300})
	all := everybody(t, s)
	full, ok := s.User(s.UserIDs(1)[0])
	if !ok {
		t.Fatal("there is no first user")
	}
	a, b, c := all[10], all[200], all[299]
	org := full.OrganizationIDs[0]
	account := full.ExternalAccounts[2]
	middle := all[150]
	customer := all[slices.IndexFunc(all, func(u *User) bool { return u.ExternalID != nil })]
	isFull := func(u *User) bool { return u.ID == full.ID }
	someone := func(*User) bool { return true }
	text := func(at int64) string { return strconv.FormatInt(at, 10) }
	for _, f := range []struct {
		name  string
		query url.Values
		want  func(*User) bool
	}{
		{"none", url.Values{}, someone},
		{"ids, one twice and one unknown", url.Values{"user_id": {c.ID, a.ID, "user_nobody", a.ID}}, func(u *User) bool { return u.ID == a.ID || u.ID == c.ID }},
		{"ids with a sign", url.Values{"user_id": {"+" + a.ID, b.ID}}, func(u *User) bool { return u.ID == a.ID || u.ID == b.ID }},
		{"without an id", url.Values{"user_id": {"-" + a.ID}}, func(u *User) bool { return u.ID != a.ID }},
		{"with and without", url.Values{"user_id": {a.ID, b.ID, "-" + b.ID}}, func(u *User) bool { return u.ID == a.ID }},
		{"an empty id is none", url.Values{"user_id": {""}}, someone},
		{"a sign alone is none", url.Values{"user_id": {"-", "+"}}, someone},
		{"Clerk does not know user_id[0]", url.Values{"user_id[0]": {a.ID}}, someone},
		{"ids mind the case", url.Values{"user_id": {strings.ToLower(a.ID)}}, func(*User) bool { return false }},
		{"external id", url.Values{"external_id": {*customer.ExternalID}}, func(u *User) bool { return u == customer }},
		{"without an external id", url.Values{"external_id": {"-" + *customer.ExternalID}}, func(u *User) bool { return u != customer }},
		{"members", url.Values{"organization_id": {org}}, func(u *User) bool { return slices.Contains(u.OrganizationIDs, org) }},
		{"no members", url.Values{"organization_id": {"-" + org}}, func(u *User) bool { return !slices.Contains(u.OrganizationIDs, org) }},
		{"email in other case", url.Values{"email_address": {strings.ToUpper(full.EmailAddresses[0].EmailAddress)}}, isFull},
		{"second email", url.Values{"email_address": {full.EmailAddresses[1].EmailAddress}}, isFull},
		{"part of an email", url.Values{"email_address": {"example.com"}}, func(*User) bool { return false }},
		{"phone", url.Values{"phone_number": {full.PhoneNumbers[0].PhoneNumber}}, isFull},
		{"username", url.Values{"username": {*full.Username}}, isFull},
		{"wallet", url.Values{"web3_wallet": {full.Web3Wallets[0].Web3Wallet}}, isFull},
		{"account at a provider", url.Values{"provider": {account.Provider}, "provider_user_id": {account.ProviderUserID}}, isFull},
		{"account at another provider", url.Values{"provider": {"oauth_google"}, "provider_user_id": {account.ProviderUserID}}, func(*User) bool { return false }},
		{"query by name", url.Values{"query": {strings.ToUpper(deref(a.FirstName))}}, func(u *User) bool { return holds(u, deref(a.FirstName)) }},
		{"query by id", url.Values{"query": {a.ID[10:20]}}, func(u *User) bool { return u.ID == a.ID }},
		{"email query", url.Values{"email_address_query": {"@Mail."}}, func(u *User) bool {
			return slices.ContainsFunc(u.EmailAddresses, func(e EmailAddress) bool { return strings.Contains(e.EmailAddress, "@mail.") })
		}},
		{"phone query", url.Values{"phone_number_query": {full.PhoneNumbers[0].PhoneNumber[5:]}}, isFull},
		{"username query", url.Values{"username_query": {"AN"}}, func(u *User) bool { return strings.Contains(deref(u.Username), "an") }},
		{"name query", url.Values{"name_query": {"a"}}, func(u *User) bool {
			return strings.Contains(strings.ToLower(deref(u.FirstName)+deref(u.LastName)), "a")
		}},
		{"banned", url.Values{"banned": {"true"}}, func(u *User) bool { return u.Banned }},
		{"not banned", url.Values{"banned": {"false"}}, func(u *User) bool { return !u.Banned }},
		{"created before", url.Values{"created_at_before": {text(middle.CreatedAt)}}, func(u *User) bool { return u.CreatedAt < middle.CreatedAt }},
		{"created after", url.Values{"created_at_after": {text(middle.CreatedAt)}}, func(u *User) bool { return u.CreatedAt > middle.CreatedAt }},
		{"active before", url.Values{"last_active_at_before": {text(middle.CreatedAt)}}, func(u *User) bool { return u.LastActiveAt != nil && *u.LastActiveAt < middle.CreatedAt }},
		{"active after", url.Values{"last_active_at_after": {text(middle.CreatedAt)}}, func(u *User) bool { return u.LastActiveAt != nil && *u.LastActiveAt > middle.CreatedAt }},
		{"active since", url.Values{"last_active_at_since": {text(middle.CreatedAt)}}, func(u *User) bool { return u.LastActiveAt != nil && *u.LastActiveAt > middle.CreatedAt }},
		{"signed in before", url.Values{"last_sign_in_at_before": {text(middle.CreatedAt)}}, func(u *User) bool { return u.LastSignInAt != nil && *u.LastSignInAt < middle.CreatedAt }},
		{"signed in after", url.Values{"last_sign_in_at_after": {text(middle.CreatedAt)}}, func(u *User) bool { return u.LastSignInAt != nil && *u.LastSignInAt > middle.CreatedAt }},
		{"two at once", url.Values{"banned": {"false"}, "created_at_before": {text(middle.CreatedAt)}}, func(u *User) bool { return !u.Banned && u.CreatedAt < middle.CreatedAt }},
	} {
		t.Run(f.name, func(t *testing.T) {
			want := idsOf(all, f.want)
			count := ask(s, "/v1/users/count?"+f.query.Encode()).Body.String()
			if expected := fmt.Sprintf(`{"object":"total_count","total_count":%d}`, len(want)); count != expected {
				t.Errorf("counted %s, want %s", count, expected)
			}
			f.query.Set("limit", "500")
			if got := askIDs(t, s, "/v1/users?"+f.query.Encode()); !slices.Equal(got, want) {
				t.Errorf("got %d users, want %d in the order of all", len(got), len(want))
			}
		})
	}
}

func holds(u *User, part string) bool {
	text := u.ID + "\n" + deref(u.Username) + "\n" + deref(u.FirstName) + " " + deref(u.LastName)
	for _, e := range u.EmailAddresses {
		text += "\n" + e.EmailAddress
	}
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}

func TestOrders(t *testing.T) {
	s := newSim(t, Config{Users: 300})
	all := everybody(t, s)
	// key returns the sort key of an order as text; nulls come last.
	at := func(t *int64) string {
		if t == nil {
			return "~"
		}
		return fmt.Sprintf("%020d", *t)
	}
	word := func(p *string) string {
		if p == nil {
			return "~"
		}
		return strings.ToLower(*p)
	}
	for order, key := range map[string]func(*User) string{
		"created_at":      func(u *User) string { return at(&u.CreatedAt) },
		"updated_at":      func(u *User) string { return at(&u.UpdatedAt) },
		"last_active_at":  func(u *User) string { return at(u.LastActiveAt) },
		"last_sign_in_at": func(u *User) string { return at(u.LastSignInAt) },
		"first_name":      func(u *User) string { return word(u.FirstName) },
		"last_name":       func(u *User) string { return word(u.LastName) },
		"username":        func(u *User) string { return word(u.Username) },
		"email_address":   func(u *User) string { return word(&u.EmailAddresses[0].EmailAddress) },
		"phone_number": func(u *User) string {
			if len(u.PhoneNumbers) == 0 {
				return "~"
			}
			return u.PhoneNumbers[0].PhoneNumber
		},
		"web3wallet": func(u *User) string {
			if len(u.Web3Wallets) == 0 {
				return "~"
			}
			return u.Web3Wallets[0].Web3Wallet
		},
	} {
		sorted := slices.SortedFunc(slices.Values(all), func(a, b *User) int {
			return strings.Compare(key(a)+"\x00"+a.ID, key(b)+"\x00"+b.ID)
		})
		want := idsOf(sorted, func(*User) bool { return true })
		for _, ascending := range []string{"", "%2B"} {
			if got := askIDs(t, s, "/v1/users?limit=500&order_by="+ascending+order); !slices.Equal(got, want) {
				t.Errorf("order_by=%s%s is not in that order", ascending, order)
			}
		}
		slices.Reverse(want)
		if got := askIDs(t, s, "/v1/users?limit=500&order_by=-"+order); !slices.Equal(got, want) {
			t.Errorf("order_by=-%s is not in that order", order)
		}
		some := url.Values{"user_id": want[100:110], "order_by": {"-" + order}, "limit": {"100"}}
		if got := askIDs(t, s, "/v1/users?"+some.Encode()); !slices.Equal(got, want[100:110]) {
			t.Errorf("order_by=-%s: users asked for by id are not in that order", order)
		}
	}
}

func TestPages(t *testing.T) {
	s := newSim(t, Config{Users: 300})
	all := idsOf(everybody(t, s), func(*User) bool { return true })
	backwards := slices.Clone(all)
	slices.Reverse(backwards)
	if got := askIDs(t, s, "/v1/users"); !slices.Equal(got, all[:10]) {
		t.Errorf("without a limit got %d users, want the latest 10", len(got))
	}
	if got := askIDs(t, s, "/v1/users?offset=295&limit=20"); !slices.Equal(got, all[295:]) {
		t.Errorf("offset=295 gave %v", got)
	}
	if got := askIDs(t, s, "/v1/users?offset=300"); len(got) != 0 {
		t.Errorf("offset=300 gave %v", got)
	}
	for order, want := range map[string][]string{"": all, "-created_at": all, "created_at": backwards, "%2Bcreated_at": backwards} {
		var walked []string
		target := "/v1/users?limit=7&order_by=" + order
		for page := askIDs(t, s, target); len(page) > 0; page = askIDs(t, s, target+"&starting_after="+page[len(page)-1]) {
			walked = append(walked, page...)
		}
		if !slices.Equal(walked, want) {
			t.Errorf("order_by=%s: walked over %d users, want %d in order", order, len(walked), len(want))
		}
	}
}

func TestBadParameters(t *testing.T) {
	s := newSim(t, Config{})
	anybody := s.UserIDs(1)[0]
	many := func(name string) string {
		return url.Values{name: slices.Repeat([]string{"x"}, 101)}.Encode()
	}
	for _, c := range []struct{ query, param, code string }{
		{"limit=0", "limit", "form_param_value_invalid"},
		{"limit=501", "limit", "form_param_value_invalid"},
		{"limit=ten", "limit", "form_param_format_invalid"},
		{"offset=-1", "offset", "form_param_value_invalid"},
		{"offset=1.5", "offset", "form_param_format_invalid"},
		{"order_by=shoe_size", "order_by", "form_param_value_invalid"},
		{"order_by=-", "order_by", "form_param_value_invalid"},
		{"order_by=--created_at", "order_by", "form_param_value_invalid"},
		{"order_by=-%2Bcreated_at", "order_by", "form_param_value_invalid"},
		{"order_by=+created_at", "order_by", "form_param_value_invalid"}, // an unescaped plus is a space
		{"starting_after=user_nobody", "starting_after", "form_param_value_invalid"},
		{"order_by=username&starting_after=" + anybody, "starting_after", "form_param_value_invalid"},
		{"offset=0&starting_after=" + anybody, "starting_after", "form_param_value_invalid"},
		{many("user_id"), "user_id", "form_param_max_length_exceeded"},
		{many("external_id"), "external_id", "form_param_max_length_exceeded"},
		{many("email_address"), "email_address", "form_param_max_length_exceeded"},
		{many("phone_number"), "phone_number", "form_param_max_length_exceeded"},
		{many("username"), "username", "form_param_max_length_exceeded"},
		{many("web3_wallet"), "web3_wallet", "form_param_max_length_exceeded"},
		{many("organization_id"), "organization_id", "form_param_max_length_exceeded"},
		{many("provider_user_id"), "provider_user_id", "form_param_max_length_exceeded"},
		{"provider_user_id=1", "provider", "form_param_missing"},
		{"banned=perhaps", "banned", "form_param_format_invalid"},
		{"created_at_before=yesterday", "created_at_before", "form_param_format_invalid"},
		{"last_active_at_after=1e3", "last_active_at_after", "form_param_format_invalid"},
	} {
		w := ask(s, "/v1/users?"+c.query)
		wantError(t, c.query, w, http.StatusUnprocessableEntity, c.code)
		if body := decode[errorBody](t, w.Body.Bytes()); body.Errors[0].Meta["param_name"] != c.param {
			t.Errorf("%.60s: blames %v, want %s", c.query, body.Errors[0].Meta, c.param)
		}
	}
}
