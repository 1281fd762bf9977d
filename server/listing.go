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

// listing is a list of users, as ListUsers and StreamUsers walk it.
type listing struct {
	users   users
	guard   *guard // as in userService
	walk    bool   // one of many pages, for a stream
	filter  *clerkgatev1.UserFilter
	order   string // Clerk's order_by, always with its sign
	view    clerkgatev1.UserView
	parts   caller.Parts // of the view FULL
	options gate.Options
	binding binding // of tokens
}

// listRequest is what the requests of all lists have in common.
type listRequest interface {
	GetFilter() *clerkgatev1.UserFilter
	GetOrderBy() string
	GetView() clerkgatev1.UserView
	GetMaxAge() *durationpb.Duration
}

// newListing checks the arguments of a list. method tells the tokens of one
// method from those of another; an empty order means defaultOrder.
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

// byCreation reports whether the order is one in which Clerk pages exactly.
func (l *listing) byCreation() bool { return l.order[1:] == "created_at" }

// start gives the place that a token stands for. field names the token in errors.
func (l *listing) start(field, token string) (cursor, error) {
	if token == "" {
		return cursor{}, nil
	}
	return decodeToken(field, token, l.binding)
}

// fetched is a page of a list as Clerk gave it.
type fetched struct {
	entries []entry
	at      time.Time // when the request left
	last    bool      // nobody comes behind these users
}

// entry is a user of a page: one to show or, if user is nil, one who can't be.
type entry struct {
	id     string            // empty if it can't be read
	user   *clerkgatev1.User // shared: never to be changed
	reason failure           // why there is no user
}

// entriesOf gives the users of a page in Clerk's order.
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

// show gives the entries as the list's view shows them. A user who is larger than an
// answer may be is none to show.
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

// unreadable gives e as an answer names those that it does not show.
func (e entry) unreadable() *clerkgatev1.UnreadableUser {
	u := &clerkgatev1.UnreadableUser{Reason: e.reason.reason, Message: e.reason.message}
	if e.id != "" {
		u.UserId = &e.id
	}
	return u
}

// fitting gives how many of the first entries take at most limit bytes, but at
// least one where there is any, so that a walk always moves on.
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

// parted gives the users among entries, and who is left out.
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

// createdAt is when the user was created, in Unix milliseconds.
func createdAt(u *clerkgatev1.User) int64 { return u.GetCreatedAt().AsTime().UnixMilli() }

// refusedByClerk reports whether it is the arguments that Clerk does not like.
func refusedByClerk(err error) bool {
	return errors.Is(err, clerkapi.ErrRejected) || errors.Is(err, clerkapi.ErrNotFound)
}

// listError tells an error of a list or count from that of a lookup: there is
// no one user that Clerk could lack.
func listError(err error) error {
	if refusedByClerk(err) {
		return fmt.Errorf("%w: %w", errListRejected, err)
	}
	return err
}
