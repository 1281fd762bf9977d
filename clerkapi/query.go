package clerkapi

import (
	"net/url"
	"strconv"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// Query returns the parameters in Clerk's escaped form. p must be valid. Equal parameters
// have equal queries.
func (p ListParams) Query() string { return p.query().Encode() }

// FilterQuery returns a filter in Clerk's escaped form. f must be valid.
func FilterQuery(f *clerkgatev1.UserFilter) string { return filterQuery(f).Encode() }

// query returns the parameters in Clerk's form. p must be valid.
func (p ListParams) query() url.Values {
	q := filterQuery(p.Filter)
	q.Set("limit", strconv.Itoa(p.Limit))
	if p.OrderBy != "" {
		q.Set("order_by", p.OrderBy)
	}
	if p.Offset > 0 {
		q.Set("offset", strconv.Itoa(p.Offset))
	}
	if p.StartingAfter != "" {
		q.Set("starting_after", p.StartingAfter)
	}
	return q
}

// filterQuery returns the filter in Clerk's form: lists as repeated keys, excluded ids
// with a leading -, times as Unix milliseconds. f must be valid.
func filterQuery(f *clerkgatev1.UserFilter) url.Values {
	q := url.Values{}
	for _, l := range filterLists(f) {
		for _, v := range l.list.GetValues() {
			q.Add(l.param, l.prefix+v)
		}
	}
	for _, t := range filterTexts(f) {
		if t.value != nil {
			q.Set(t.field, *t.value)
		}
	}
	for _, t := range filterTimes(f) {
		if t.value != nil {
			q.Set(t.field, strconv.FormatInt(t.value.AsTime().UnixMilli(), 10))
		}
	}
	if f != nil && f.Banned != nil {
		q.Set("banned", strconv.FormatBool(*f.Banned))
	}
	return q
}
