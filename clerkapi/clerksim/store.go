package clerksim

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"
)

var errNoUser = errors.New("there is no such user")

// record is a stored user. It is immutable: an update creates a new one.
type record struct {
	user *User
	text []byte // the user as JSON
}

// store holds the users in all orders. It is safe for concurrent use.
type store struct {
	extra json.RawMessage // for encode

	mu     sync.Mutex
	byID   map[string]*record
	ids    []string             // in order of creation: seeded ones first
	orders map[string][]*record // by the name of the ordering, ascending; filled on demand
}

func newStore(extra json.RawMessage) *store {
	return &store{extra: extra, byID: map[string]*record{}, orders: map[string][]*record{}}
}

// add stores a new user. The store owns u afterwards.
func (st *store) add(u *User) (*record, error) {
	text, err := u.encode(st.extra)
	if err != nil {
		return nil, err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if _, ok := st.byID[u.ID]; ok {
		return nil, fmt.Errorf("there is a user %s already", u.ID)
	}
	r := &record{u, text}
	st.byID[u.ID] = r
	st.ids = append(st.ids, u.ID)
	clear(st.orders)
	return r, nil
}

func (st *store) get(id string) *record {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.byID[id]
}

// update replaces a user with the result of change on a copy.
func (st *store) update(id string, now time.Time, change func(*User)) (*record, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	old := st.byID[id]
	if old == nil {
		return nil, fmt.Errorf("%w: %s", errNoUser, id)
	}
	u := old.user.clone()
	change(u)
	u.ID = id
	u.UpdatedAt = max(now.UnixMilli(), old.user.UpdatedAt+1)
	text, err := u.encode(st.extra)
	if err != nil {
		return nil, err
	}
	r := &record{u, text}
	st.byID[id] = r
	clear(st.orders)
	return r, nil
}

func (st *store) delete(id string) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if _, ok := st.byID[id]; !ok {
		return fmt.Errorf("%w: %s", errNoUser, id)
	}
	delete(st.byID, id)
	st.ids = slices.DeleteFunc(st.ids, func(other string) bool { return other == id })
	clear(st.orders)
	return nil
}

// firstIDs returns the ids of the first n users created, or of all if there are fewer.
func (st *store) firstIDs(n int) []string {
	st.mu.Lock()
	defer st.mu.Unlock()
	return slices.Clone(st.ids[:min(n, len(st.ids))])
}

// ordered returns the users in ascending order of an ordering. With ids, it returns only
// those users, without duplicates. The result must not be modified.
func (st *store) ordered(field string, ids map[string]bool) []*record {
	st.mu.Lock()
	defer st.mu.Unlock()
	if ids != nil {
		var found []*record
		for id := range ids {
			if r := st.byID[id]; r != nil {
				found = append(found, r)
			}
		}
		slices.SortFunc(found, orderings[field])
		return found
	}
	all, ok := st.orders[field]
	if !ok {
		all = make([]*record, 0, len(st.ids))
		for _, id := range st.ids {
			all = append(all, st.byID[id])
		}
		slices.SortFunc(all, orderings[field])
		st.orders[field] = all
	}
	return all
}

// total returns the number of users that match.
func (st *store) total(q *query) int {
	n := 0
	for _, r := range st.ordered(q.order, q.ids) {
		if q.matches(r.user) {
			n++
		}
	}
	return n
}

// page returns the users of a page.
func (st *store) page(q *query) ([]*record, *refusal) {
	all := st.ordered(q.order, q.ids)
	next, skip := 0, q.offset
	at := func(i int) *record { return all[i] }
	if q.descending {
		at = func(i int) *record { return all[len(all)-1-i] }
	}
	if q.startingAfter != "" {
		last := st.get(q.startingAfter)
		if last == nil {
			return nil, badParam("starting_after", "form_param_value_invalid", "does not exist")
		}
		next = sort.Search(len(all), func(i int) bool {
			order := orderings[q.order](at(i), last)
			return order > 0 && !q.descending || order < 0 && q.descending
		})
	}
	page := []*record{}
	for ; next < len(all) && len(page) < q.limit; next++ {
		if r := at(next); q.matches(r.user) {
			if skip > 0 {
				skip--
				continue
			}
			page = append(page, r)
		}
	}
	return page, nil
}

func (q *query) matches(u *User) bool {
	for _, holds := range q.conditions {
		if !holds(u) {
			return false
		}
	}
	return true
}
