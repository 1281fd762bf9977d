package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// maxPage is the largest page of ListUsers, and the size of StreamUsers' pages.
const maxPage = clerkapi.MaxPage

// listing is a list of users that ListUsers and StreamUsers read page by page.
type listing struct {
	users   users
	guard   *guard // see userService
	walk    bool   // the page is one of many, for a stream
	filter  *clerkgatev1.UserFilter
	order   string // Clerk's order_by, always with a sign
	view    clerkgatev1.UserView
	parts   caller.Parts // visible parts in the view FULL
	options gate.Options
	binding binding // what its tokens are bound to
}

// listRequest has the common fields of list requests.
type listRequest interface {
	GetFilter() *clerkgatev1.UserFilter
	GetOrderBy() string
	GetView() clerkgatev1.UserView
	GetMaxAge() *durationpb.Duration
}

// newListing checks the arguments of a list. Tokens are bound to method. An empty order
// means defaultOrder.
func (s *userService) newListing(ctx context.Context, method string, req listRequest, defaultOrder string) (*listing, error) {
	view, err := s.checkView(ctx, req.GetView())
	if err != nil {
		return nil, err
	}
	if err := checkMaxAge(req.GetMaxAge()); err != nil {
		return nil, err
	}
	filter, order := req.GetFilter(), req.GetOrderBy()
	if order == "" {
		order = defaultOrder
	}
	p := clerkapi.ListParams{Filter: filter, OrderBy: order, Limit: maxPage}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if order[0] != '+' && order[0] != '-' {
		order = "+" + order
	}
	return &listing{
		users: s.users, guard: s.guard, filter: filter, order: order, view: view, parts: partsOf(ctx), options: optionsOf(ctx),
		binding: binding{argsDigest(method, filter, order, view), instanceDigest(s.instance)},
	}, nil
}

// byCreation reports whether the list is ordered by created_at, for which Clerk's paging
// is exact.
func (l *listing) byCreation() bool { return l.order[1:] == "created_at" }

// start returns the cursor in a token. field is the token's name in errors.
func (l *listing) start(field, token string) (cursor, error) {
	if token == "" {
		return cursor{}, nil
	}
	return decodeToken(field, token, l.binding)
}

// fetched is a page of a list from Clerk.
type fetched struct {
	entries []entry
	at      time.Time // departure of the request
	last    bool      // no users follow
}

// entry is a user of a page or, if user is nil, one that can't be shown.
type entry struct {
	id     string            // empty if it is unreadable
	user   *clerkgatev1.User // shared; must not be modified
	reason failure           // why user is nil
}

// entriesOf returns the users of a page in Clerk's order.
func entriesOf(page *gate.Page) []entry {
	all := make([]entry, 0, len(page.Users)+len(page.Unreadable))
	missing := page.Unreadable
	for i, u := range page.Users {
		for ; len(missing) > 0 && missing[0].After <= i; missing = missing[1:] {
			all = append(all, unreadable(missing[0]))
		}
		all = append(all, entry{id: u.Id, user: u})
	}
	for _, m := range missing {
		all = append(all, unreadable(m))
	}
	return all
}

func unreadable(u clerkapi.Unreadable) entry {
	f := classify(clerkapi.ErrUnreadable)
	f.message += ": " + clean(u.Err.Error())
	return entry{id: u.ID, reason: f}
}

// show returns the entries in the list's view. A user larger than an answer can't be
// shown.
func (l *listing) show(entries []entry) []entry {
	shown := slices.Clone(entries)
	for i, e := range shown {
		if e.user == nil {
			continue
		}
		u := applyView(e.user, l.view, l.parts)
		if fieldSize(u) > maxAnswer-answerMargin {
			shown[i] = entry{id: e.id, user: nil, reason: classify(errUserTooLarge)}
			continue
		}
		shown[i].user = u
	}
	return shown
}

// unreadable returns e in the form of an answer's field unreadable.
func (e entry) unreadable() *clerkgatev1.UnreadableUser {
	u := &clerkgatev1.UnreadableUser{Reason: e.reason.reason, Message: e.reason.message}
	if e.id != "" {
		u.UserId = &e.id
	}
	return u
}

// fitting returns how many of the first entries take at most limit bytes, but at least
// one if there is any, so that a walk always advances.
func fitting(entries []entry, limit int) int {
	total := 0
	for i, e := range entries {
		if e.user != nil {
			total += fieldSize(e.user)
		} else {
			total += fieldSize(e.unreadable())
		}
		if total > limit && i > 0 {
			return i
		}
	}
	return len(entries)
}

// parted returns the users among entries, and those that can't be shown.
func parted(entries []entry) (users []*clerkgatev1.User, out []*clerkgatev1.UnreadableUser) {
	users = make([]*clerkgatev1.User, 0, len(entries))
	for _, e := range entries {
		if e.user != nil {
			users = append(users, e.user)
		} else {
			out = append(out, e.unreadable())
		}
	}
	return users, out
}

// createdAt returns the user's created_at in Unix milliseconds.
func createdAt(u *clerkgatev1.User) int64 { return u.GetCreatedAt().AsTime().UnixMilli() }

// refusedByClerk reports whether Clerk rejected the arguments.
func refusedByClerk(err error) bool {
	return errors.Is(err, clerkapi.ErrRejected) || errors.Is(err, clerkapi.ErrNotFound)
}

// listError replaces an error that would concern a single user, since a list or count is
// not about one.
func listError(err error) error {
	if refusedByClerk(err) {
		return fmt.Errorf("%w: %w", errListRejected, err)
	}
	return err
}
