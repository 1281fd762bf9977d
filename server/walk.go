package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

const (
	// quickAnchors is how many of the latest anchors are tried one by one before Clerk is
	// asked which of the others exist.
	quickAnchors = 2
	// mostSurvivors is how many of the existing ones are tried. Clerk may refuse an
	// existing user that the filter does not match any more.
	mostSurvivors = 5
	// mostRounds is the maximum number of consecutive pages that contain only users
	// already sent.
	mostRounds = 20
)

// fetch reads at most size users after c. Only the last page may be empty. In the middle
// of a walk, another request confirms that a page is the last one, unless the caller does
// not rely on it.
//
// A walk by created_at continues after the last user that was sent. If Clerk refuses that
// user, since it is gone, the walk continues after the latest user sent before it that
// still exists.
func (l *listing) fetch(ctx context.Context, c cursor, size int) (fetched, error) {
	if !l.byCreation() {
		return l.page(ctx, clerkapi.ListParams{Filter: l.filter, OrderBy: l.order, Limit: size, Offset: c.Offset})
	}
	if c.After == "" {
		page, err := l.behind(ctx, c, "", size)
		if err != nil || !l.walk {
			return page, err
		}
		return l.confirm(ctx, c, "", size, page)
	}
	page, anchor, err := l.resume(ctx, c, size)
	if err != nil {
		return fetched{}, err
	}
	return l.confirm(ctx, c, anchor, size, page)
}

// page reads one page from Clerk.
func (l *listing) page(ctx context.Context, p clerkapi.ListParams) (fetched, error) {
	spend := l.guard.spendRequests
	if l.walk {
		spend = l.guard.awaitRequests
	}
	if err := spend(ctx, 1); err != nil {
		return fetched{}, err
	}
	page, err := l.users.List(ctx, p, l.walk, l.options)
	if err != nil {
		if sentNothing(err) {
			l.guard.giveBackRequests(ctx, 1)
		}
		return fetched{}, listError(err)
	}
	all := entriesOf(page)
	return fetched{all, page.FetchTime, len(all) < p.Limit}, nil
}

// resume reads the users after c from the latest anchor that Clerk accepts, and returns
// that anchor, or "" if it reads by time.
func (l *listing) resume(ctx context.Context, c cursor, size int) (page fetched, anchor string, err error) {
	anchors := append(slices.Clone(c.Anchors), c.After)
	slices.Reverse(anchors)
	try := func(some []string) (done bool) {
		for _, anchor = range some {
			if page, err = l.behind(ctx, c, anchor, size); !errors.Is(err, errListRejected) {
				return true
			}
		}
		return false
	}
	quick := min(quickAnchors, len(anchors))
	if try(anchors[:quick]) {
		return page, anchor, err
	}
	rest, lookupErr := l.surviving(ctx, anchors[quick:])
	if lookupErr != nil {
		return fetched{}, "", lookupErr
	}
	if try(rest[:min(mostSurvivors, len(rest))]) {
		return page, anchor, err
	}
	page, err = l.behindTime(ctx, c, size)
	return page, "", err
}

// surviving returns the ids of existing users.
func (l *listing) surviving(ctx context.Context, ids []string) ([]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	now := time.Duration(0)
	var left []string
	for i, r := range l.users.Lookup(ctx, ids, usercache.Options{Options: l.options, MaxAge: &now}) {
		switch {
		case r.Err == nil:
			left = append(left, ids[i])
		case !errors.Is(r.Err, clerkapi.ErrNotFound):
			return nil, listError(r.Err)
		}
	}
	return left, nil
}

// behind reads the users after an anchor of c that were not sent; with anchor "", from
// the beginning.
func (l *listing) behind(ctx context.Context, c cursor, anchor string, size int) (fetched, error) {
	return l.unsent(ctx, c, clerkapi.ListParams{Filter: l.filter, OrderBy: l.order, Limit: size, StartingAfter: anchor})
}

// behindTime reads the users after c if no anchor is left: those created at the same time
// or later in the order that were not sent. If more users of that time were sent than c
// has anchors, they are unknown, and the walk must be started again.
func (l *listing) behindTime(ctx context.Context, c cursor, size int) (fetched, error) {
	if c.Tied > len(c.Anchors)+1 {
		return fetched{}, fmt.Errorf("%w: all users after whom the list could continue are gone", errTokenOutdated)
	}
	filter := &clerkgatev1.UserFilter{}
	proto.Merge(filter, l.filter)
	// Clerk's bounds are exclusive. All sent users are within the caller's bounds, so
	// these are narrower.
	if l.ascending() {
		filter.CreatedAtAfter = timestamppb.New(time.UnixMilli(max(c.CreatedAt-1, 0)))
	} else {
		filter.CreatedAtBefore = timestamppb.New(time.UnixMilli(c.CreatedAt + 1))
	}
	return l.unsent(ctx, c, clerkapi.ListParams{Filter: filter, OrderBy: l.order, Limit: size})
}

// unsent reads the users of p that follow c and were not sent. After the last user sent
// there must be no user that was sent before: that is a bad answer.
func (l *listing) unsent(ctx context.Context, c cursor, p clerkapi.ListParams) (fetched, error) {
	strict := p.StartingAfter == c.After
	for range mostRounds {
		page, err := l.page(ctx, p)
		if err != nil {
			return fetched{}, err
		}
		if err := l.checkOrder(page.entries); err != nil {
			return fetched{}, err
		}
		left := make([]entry, 0, len(page.entries))
		for _, e := range page.entries {
			behind := e.user == nil || c.After == "" || l.after(createdAt(e.user), c.CreatedAt)
			switch {
			case behind && (e.id == "" || !c.sent(e.id)):
				left = append(left, e)
			case strict:
				return fetched{}, contradiction("a page holds users of the pages before it")
			}
		}
		next := l.advance(c, page.entries)
		if len(left) > 0 || page.last || next.After == p.StartingAfter {
			return fetched{left, page.at, page.last}, nil
		}
		p.StartingAfter = next.After
	}
	return fetched{}, contradiction("pages hold no users but those of the pages before them")
}

// confirm reads the page that follows a last page, whose users come after an anchor of c.
// If it has users, confirm reads the page once more.
func (l *listing) confirm(ctx context.Context, c cursor, anchor string, size int, page fetched) (fetched, error) {
	if !page.last {
		return page, nil
	}
	if len(page.entries) == 0 {
		again, err := l.again(ctx, c, anchor, size)
		if err == nil && len(again.entries) > 0 {
			again.last = false // the next page confirms it
		}
		return again, err
	}
	nameless := 0 // at the end; the list can only continue before them
	for i := len(page.entries) - 1; i >= 0 && page.entries[i].id == ""; i-- {
		nameless++
	}
	next := l.advance(c, page.entries)
	if next.After == c.After {
		return page, nil
	}
	more, err := l.behind(ctx, cursor{After: next.After, CreatedAt: next.CreatedAt}, next.After, nameless+1)
	switch {
	case errors.Is(err, errListRejected): // it was deleted just now
		page.last = false
		return page, nil
	case err != nil:
		return fetched{}, err
	case len(more.entries) <= nameless:
		return page, nil
	}
	again, err := l.again(ctx, c, anchor, size)
	if err != nil {
		return fetched{}, err
	}
	if len(again.entries) <= len(page.entries) && again.last {
		return fetched{}, contradiction("a page is shorter than it may be, though more users follow")
	}
	again.last = false
	return again, nil
}

// again reads a page once more.
func (l *listing) again(ctx context.Context, c cursor, anchor string, size int) (fetched, error) {
	if anchor == "" && c.After != "" {
		return l.behindTime(ctx, c, size)
	}
	page, err := l.behind(ctx, c, anchor, size)
	if errors.Is(err, errListRejected) && anchor != "" { // it was deleted just now
		page, _, err = l.resume(ctx, c, size)
	}
	return page, err
}

// contradiction returns the error of an answer of Clerk that contradicts the request.
func contradiction(what string) error {
	return &clerkapi.Error{Kind: clerkapi.ErrBadAnswer, Err: errors.New(what)}
}

// checkOrder checks that users are in the requested order, each once.
func (l *listing) checkOrder(entries []entry) error {
	seen := make(map[string]bool, len(entries))
	var last *clerkgatev1.User
	for _, e := range entries {
		if e.id != "" && seen[e.id] {
			return contradiction("a page holds a user twice")
		}
		seen[e.id] = true
		if e.user == nil {
			continue
		}
		if last != nil && !l.after(createdAt(e.user), createdAt(last)) {
			return contradiction("a page is not in the requested order")
		}
		last = e.user
	}
	return nil
}

// after reports whether a user created at t may follow one created at other.
func (l *listing) after(t, other int64) bool {
	if l.ascending() {
		return t >= other
	}
	return t <= other
}

func (l *listing) ascending() bool { return l.order[0] == '+' }

// sent reports whether c records the user as sent.
func (c cursor) sent(id string) bool { return id == c.After || slices.Contains(c.Anchors, id) }

// advance returns the cursor after entries, which are sent next after c. After an entry
// without a readable id it is the cursor of the last entry with one.
func (l *listing) advance(c cursor, entries []entry) cursor {
	if !l.byCreation() {
		return cursor{Offset: c.Offset + len(entries)}
	}
	next := cursor{Anchors: slices.Clone(c.Anchors), After: c.After, CreatedAt: c.CreatedAt, Tied: c.Tied}
	for _, e := range entries {
		if e.id == "" {
			continue
		}
		if next.After != "" {
			next.Anchors = append(next.Anchors, next.After)
		}
		// The creation time of an unreadable user lies between its neighbours'.
		if e.user != nil && (createdAt(e.user) != next.CreatedAt || next.After == "") {
			next.Tied, next.CreatedAt = 0, createdAt(e.user)
		}
		next.After = e.id
		next.Tied++
	}
	next.Anchors = slices.Clone(next.Anchors[max(0, len(next.Anchors)-maxAnchors):])
	return next
}
