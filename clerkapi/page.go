package clerkapi

import (
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"

	"google.golang.org/protobuf/types/known/timestamppb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// checkPage checks a page against its arguments: no user twice, no user that an exact
// filter excludes, and the right order by created_at. A value that a user lacks
// contradicts a filter only if the user can have one such value at most. Clerk compares
// addresses, names and numbers loosely, and so does checkPage. Filters by text (query and
// similar), organization and provider can't be checked.
func checkPage(p ListParams, users []*clerkgatev1.User) error {
	seen := make(map[string]bool, len(users))
	descending := p.OrderBy == "" || p.OrderBy == "-created_at"
	ordered := descending || strings.TrimPrefix(p.OrderBy, "+") == "created_at"
	var last time.Time
	for _, u := range users {
		switch {
		case seen[u.Id]:
			return errors.New("a page holds a user twice")
		case p.StartingAfter != "" && u.Id == p.StartingAfter:
			return errors.New("a page holds the user that it is to start after")
		case !matches(p.Filter, u):
			return errors.New("a page holds a user whom its filter excludes")
		}
		seen[u.Id] = true
		if !ordered || u.CreatedAt == nil {
			continue
		}
		at := u.CreatedAt.AsTime()
		if !last.IsZero() && (descending && at.After(last) || !descending && at.Before(last)) {
			return errors.New("a page is not in the requested order")
		}
		last = at
	}
	return nil
}

// matches reports whether a user may match a filter.
func matches(f *clerkgatev1.UserFilter, u *clerkgatev1.User) bool {
	if f == nil {
		return true
	}
	one := func(s string) []string { return []string{s} }
	var emails, phones, wallets []string
	for _, e := range u.EmailAddresses {
		emails = append(emails, e.EmailAddress)
	}
	for _, n := range u.PhoneNumbers {
		phones = append(phones, n.PhoneNumber)
	}
	for _, w := range u.Web3Wallets {
		wallets = append(wallets, w.Web3Wallet)
	}
	loose := func(list *clerkgatev1.StringList, values []string, form func(string) string) bool {
		return list == nil || len(values) == 0 || slices.ContainsFunc(values, func(v string) bool {
			return slices.ContainsFunc(list.Values, func(asked string) bool { return form(asked) == form(v) })
		})
	}
	switch {
	case f.UserIds != nil && !slices.Contains(f.UserIds.Values, u.Id),
		slices.Contains(f.ExcludedUserIds.GetValues(), u.Id),
		f.ExternalIds != nil && !slices.Contains(f.ExternalIds.Values, u.GetExternalId()),
		u.ExternalId != nil && slices.Contains(f.ExcludedExternalIds.GetValues(), *u.ExternalId),
		f.Usernames != nil && !loose(f.Usernames, one(u.GetUsername()), strings.ToLower),
		!loose(f.EmailAddresses, emails, strings.ToLower),
		!loose(f.PhoneNumbers, phones, digits),
		!loose(f.Web3Wallets, wallets, strings.ToLower),
		f.Banned != nil && u.Banned != nil && *u.Banned != *f.Banned:
		return false
	}
	return between(u.CreatedAt, f.CreatedAtAfter, f.CreatedAtBefore) &&
		between(u.LastActiveAt, f.LastActiveAtAfter, f.LastActiveAtBefore) &&
		between(u.LastSignInAt, f.LastSignInAtAfter, f.LastSignInAtBefore)
}

// between reports whether a time may lie between two bounds, to the millisecond. An
// unknown time may.
func between(t, after, before *timestamppb.Timestamp) bool {
	if t == nil {
		return true
	}
	ms := t.AsTime().UnixMilli()
	return (after == nil || ms >= after.AsTime().UnixMilli()) && (before == nil || ms <= before.AsTime().UnixMilli())
}

// digits returns the digits of a phone number.
func digits(number string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return r
		}
		return -1
	}, number)
}
