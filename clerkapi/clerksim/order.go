package clerksim

import (
	"cmp"
	"strings"
)

// orderings compare users by the fields of order_by. Users without the field come last,
// and ties are broken by id, so every order is total.
var orderings = map[string]func(a, b *record) int{
	"created_at":      byTime(createdAt),
	"updated_at":      byTime(func(u *User) *int64 { return &u.UpdatedAt }),
	"last_active_at":  byTime(lastActiveAt),
	"last_sign_in_at": byTime(lastSignInAt),
	"first_name":      byText(func(u *User) *string { return u.FirstName }),
	"last_name":       byText(func(u *User) *string { return u.LastName }),
	"username":        byText(func(u *User) *string { return u.Username }),
	"email_address":   byText(primaryEmail),
	"phone_number":    byText(primaryPhone),
	"web3wallet":      byText(primaryWallet),
}

func byTime(field func(*User) *int64) func(a, b *record) int {
	return byField(field, cmp.Compare[int64])
}

func byText(field func(*User) *string) func(a, b *record) int {
	return byField(field, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
}

func byField[T any](field func(*User) *T, compare func(a, b T) int) func(a, b *record) int {
	return func(a, b *record) int {
		x, y := field(a.user), field(b.user)
		order := 0
		switch {
		case x != nil && y != nil:
			order = compare(*x, *y)
		case x != nil:
			order = -1
		case y != nil:
			order = 1
		}
		return cmp.Or(order, strings.Compare(a.user.ID, b.user.ID))
	}
}
