package clerksim

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	defaultLimit = 10
	maxLimit     = 500
	maxValues    = 100 // values of one filter
)

// query is the parsed query of a list or count.
type query struct {
	ids           map[string]bool // requested ids; nil: all
	order         string          // a field of orderings
	descending    bool
	limit, offset int
	startingAfter string
	conditions    []func(*User) bool // a user must satisfy all
}

// parseQuery parses the parameters of GET /v1/users and /v1/users/count. Like Clerk, it
// ignores unknown parameters, including user_id[0].
func parseQuery(values url.Values) (*query, *refusal) {
	q := &query{}
	for _, parse := range []func(url.Values) *refusal{q.parsePage, q.parseLists, q.parseRest} {
		if r := parse(values); r != nil {
			return nil, r
		}
	}
	return q, nil
}

func (q *query) parsePage(values url.Values) *refusal {
	var r *refusal
	if q.limit, r = number(values, "limit", defaultLimit, 1, maxLimit); r != nil {
		return r
	}
	if q.offset, r = number(values, "offset", 0, 0, 1<<31-1); r != nil {
		return r
	}
	q.order, q.descending = "created_at", true
	if order := values.Get("order_by"); order != "" {
		q.descending = order[0] == '-'
		q.order = strings.TrimPrefix(strings.TrimPrefix(order, "-"), "+")
		if orderings[q.order] == nil || len(order)-len(q.order) > 1 {
			return badParam("order_by", "form_param_value_invalid", "is not a known order")
		}
	}
	q.startingAfter = values.Get("starting_after")
	switch {
	case q.startingAfter == "":
	case q.order != "created_at":
		return badParam("starting_after", "form_param_value_invalid", "can only be used with created_at ordering")
	case values.Has("offset"):
		return badParam("starting_after", "form_param_value_invalid", "can't be used with offset")
	}
	return nil
}

// parseLists parses the filters with up to maxValues values; a user matches any of them.
func (q *query) parseLists(values url.Values) *refusal {
	for _, f := range listFilters {
		wanted, r := list(values, f.name)
		if r != nil {
			return r
		}
		include, exclude := wanted, map[string]bool(nil)
		of := f.of
		if f.signed {
			include, exclude = split(wanted)
		} else {
			include = lower(wanted)
			of = func(u *User) []string { return lowered(f.of(u)) }
		}
		switch {
		case len(include) == 0:
		case f.name == "user_id":
			q.ids = include
		default:
			q.conditions = append(q.conditions, func(u *User) bool { return anyIn(of(u), include) })
		}
		if len(exclude) > 0 {
			q.conditions = append(q.conditions, func(u *User) bool { return !anyIn(of(u), exclude) })
		}
	}
	return q.parseProvider(values)
}

// parseProvider parses provider_user_id and the provider that it requires.
func (q *query) parseProvider(values url.Values) *refusal {
	wanted, r := list(values, "provider_user_id")
	if r != nil {
		return r
	}
	provider := values.Get("provider")
	switch {
	case len(wanted) == 0:
		return nil
	case provider == "":
		return badParam("provider", "form_param_missing", "must be included with provider_user_id")
	}
	q.conditions = append(q.conditions, func(u *User) bool {
		return slices.ContainsFunc(u.ExternalAccounts, func(a ExternalAccount) bool {
			return a.Provider == provider && wanted[a.ProviderUserID]
		})
	})
	return nil
}

// parseRest parses the partial matches, the times and banned.
func (q *query) parseRest(values url.Values) *refusal {
	for _, f := range partialFilters {
		if part := strings.ToLower(values.Get(f.name)); part != "" {
			q.conditions = append(q.conditions, func(u *User) bool {
				return slices.ContainsFunc(f.of(u), func(text string) bool { return strings.Contains(strings.ToLower(text), part) })
			})
		}
	}
	for _, f := range timeFilters {
		if text := values.Get(f.name); text != "" {
			bound, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return badParam(f.name, "form_param_format_invalid", "must be a time in Unix milliseconds")
			}
			q.conditions = append(q.conditions, func(u *User) bool {
				t := f.of(u)
				return t != nil && (f.before && *t < bound || !f.before && *t > bound)
			})
		}
	}
	if text := values.Get("banned"); text != "" {
		banned, err := strconv.ParseBool(text)
		if err != nil {
			return badParam("banned", "form_param_format_invalid", "must be true or false")
		}
		q.conditions = append(q.conditions, func(u *User) bool { return u.Banned == banned })
	}
	return nil
}

// listFilters have values of which a user's text must equal one.
var listFilters = []struct {
	name   string
	of     func(*User) []string
	signed bool // values are ids and may begin with "+" (include) or "-" (exclude); otherwise case is ignored
}{
	{"user_id", func(u *User) []string { return []string{u.ID} }, true},
	{"external_id", func(u *User) []string { return present(u.ExternalID) }, true},
	{"organization_id", func(u *User) []string { return u.OrganizationIDs }, true},
	{"email_address", emails, false},
	{"phone_number", phones, false},
	{"web3_wallet", wallets, false},
	{"username", usernames, false},
}

// partialFilters have a text that a user's text must contain, ignoring case.
var partialFilters = []struct {
	name string
	of   func(*User) []string
}{
	{"email_address_query", emails},
	{"phone_number_query", phones},
	{"username_query", usernames},
	{"name_query", names},
	{"query", func(u *User) []string {
		return slices.Concat([]string{u.ID}, usernames(u), names(u), emails(u), phones(u), wallets(u))
	}},
}

// timeFilters have Unix milliseconds that a time must be before or after. A user without
// the time never matches.
var timeFilters = []struct {
	name   string
	of     func(*User) *int64
	before bool
}{
	{"created_at_before", createdAt, true},
	{"created_at_after", createdAt, false},
	{"last_active_at_before", lastActiveAt, true},
	{"last_active_at_after", lastActiveAt, false},
	{"last_active_at_since", lastActiveAt, false}, // the older name
	{"last_sign_in_at_before", lastSignInAt, true},
	{"last_sign_in_at_after", lastSignInAt, false},
}

// list returns the values of a filter without empty ones. A filter without other values
// matches everybody.
func list(values url.Values, name string) (map[string]bool, *refusal) {
	if len(values[name]) > maxValues {
		return nil, badParam(name, "form_param_max_length_exceeded", "must not have more than 100 values")
	}
	set := map[string]bool{}
	for _, v := range values[name] {
		if v != "" {
			set[v] = true
		}
	}
	return set, nil
}

// split splits signed values into those to include and those to exclude.
func split(values map[string]bool) (include, exclude map[string]bool) {
	include, exclude = map[string]bool{}, map[string]bool{}
	for v := range values {
		switch {
		case v == "+" || v == "-":
		case v[0] == '-':
			exclude[v[1:]] = true
		default:
			include[strings.TrimPrefix(v, "+")] = true
		}
	}
	return include, exclude
}

func lower(set map[string]bool) map[string]bool {
	low := make(map[string]bool, len(set))
	for v := range set {
		low[strings.ToLower(v)] = true
	}
	return low
}

func lowered(texts []string) []string {
	low := make([]string, len(texts))
	for i, text := range texts {
		low[i] = strings.ToLower(text)
	}
	return low
}

func anyIn(texts []string, set map[string]bool) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return set[text] })
}

func number(values url.Values, name string, otherwise, least, most int) (int, *refusal) {
	text := values.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return 0, badParam(name, "form_param_format_invalid", "must be a whole number")
	case n < least || n > most:
		return 0, badParam(name, "form_param_value_invalid", "must be from "+strconv.Itoa(least)+" to "+strconv.Itoa(most))
	}
	return n, nil
}
