package clerkapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// LookupUsers reads the users with the given ids, 1 to MaxLookup different ones, in one
// request. Each id has its own result. The call fails as a whole if there is no answer,
// or if the answer is cut off, is not a list of users, or contains a user who was not
// requested or the same user twice, since then nothing in it can be trusted. If the
// answer contains a user without a readable id, every id that is not found in it gets
// ErrBadAnswer, since it may be that user's.
func (c *Client) LookupUsers(ctx context.Context, ids []string) (*Lookup, error) {
	positions, err := positionsOf(ids)
	if err != nil {
		return nil, err
	}
	var users []decodedUser
	var meta Meta
	if len(ids) == 1 {
		users, meta, err = c.lookupOne(ctx, ids[0])
	} else {
		users, meta, err = c.lookupMany(ctx, ids)
	}
	if err != nil {
		return nil, err
	}
	results, err := assign(positions, users, meta)
	if err != nil {
		return nil, badAnswer(meta, err)
	}
	return &Lookup{Results: results, Meta: meta}, nil
}

// positionsOf checks the ids and returns the position of each. An empty list would mean
// everybody to Clerk, and an id with a sign "everybody but".
func positionsOf(ids []string) (map[string]int, error) {
	if len(ids) < 1 || len(ids) > MaxLookup {
		return nil, invalid("ids", "must be 1 to %d, not %d", MaxLookup, len(ids))
	}
	positions := make(map[string]int, len(ids))
	for i, id := range ids {
		field := fmt.Sprintf("ids[%d]", i)
		if !ValidUserID(id) {
			return nil, invalid(field, "must be a user id, such as user_2abcDEF")
		}
		if first, ok := positions[id]; ok {
			return nil, invalid(field, "is the same as ids[%d]", first)
		}
		positions[id] = i
	}
	if n := LookupLine(ids...); len(ids) > 1 && n > MaxRequestLine {
		return nil, invalid("ids", "must make a request line of at most %d bytes, not %d", MaxRequestLine, n)
	}
	return positions, nil
}

func (c *Client) lookupOne(ctx context.Context, id string) ([]decodedUser, Meta, error) {
	a, err := c.get(ctx, "/users/"+id, nil)
	if e, ok := errors.AsType[*Error](err); ok && errors.Is(err, ErrNotFound) {
		return nil, e.Meta, nil
	}
	if err != nil {
		return nil, Meta{}, err
	}
	defer a.done()
	user := decode(a.body, c.unread)
	if user.id == "" {
		return nil, Meta{}, badAnswer(a.meta, user.err)
	}
	return []decodedUser{user}, a.meta, nil
}

func (c *Client) lookupMany(ctx context.Context, ids []string) ([]decodedUser, Meta, error) {
	query := url.Values{"user_id": ids, "limit": {strconv.Itoa(MaxLookup)}}
	a, err := c.get(ctx, "/users", query)
	if err != nil {
		return nil, Meta{}, err
	}
	defer a.done()
	users, err := decodeList(a.body, c.unread)
	if err != nil {
		return nil, Meta{}, badAnswer(a.meta, err)
	}
	return users, a.meta, nil
}

// assign puts each user at the position of its id.
func assign(positions map[string]int, users []decodedUser, meta Meta) ([]UserResult, error) {
	results := make([]UserResult, len(positions))
	missing := ErrNotFound
	for _, u := range users {
		i, asked := positions[u.id]
		switch {
		case u.id == "":
			missing = badAnswer(meta, fmt.Errorf("a user without a readable id: %w", u.err))
		case !asked:
			return nil, errors.New("the answer holds a user who was not requested")
		case results[i] != UserResult{}:
			return nil, errors.New("the answer holds a user twice")
		case u.err != nil:
			results[i].Err = &Error{Kind: ErrUnreadable, Status: http.StatusOK, Meta: meta, Err: u.err}
		default:
			results[i].User = u.user
		}
	}
	for i := range results {
		if results[i] == (UserResult{}) {
			results[i] = UserResult{Err: missing, Unclear: !errors.Is(missing, ErrNotFound)}
		}
	}
	return results, nil
}

// decodedUser is one user of an answer. Either user or err is set.
type decodedUser struct {
	id   string // empty if it is unreadable or not a user's id
	user *clerkgatev1.User
	err  error
}

func decode(text []byte, unread func(string)) decodedUser {
	user, err := decodeUser(text, unread)
	if err == nil {
		return decodedUser{id: user.Id, user: user}
	}
	var only struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(text, &only, lenient) != nil || !ValidUserID(only.ID) {
		return decodedUser{err: err}
	}
	return decodedUser{id: only.ID, err: err}
}

// decodeList decodes a JSON array of users, one by one. It fails only if the text is not
// a JSON array, or is nested deeper than the JSON library allows (see DecodeUser).
func decodeList(body []byte, unread func(string)) ([]decodedUser, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(body), lenient)
	if dec.PeekKind() != '[' {
		return nil, errors.New("the answer is not a JSON array")
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, notJSON(err)
	}
	var users []decodedUser
	for dec.PeekKind() != ']' {
		text, err := dec.ReadValue()
		if err != nil {
			return nil, notJSON(err)
		}
		users = append(users, decode(text, unread))
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, notJSON(err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the answer has data after its end")
	}
	return users, nil
}

func notJSON(err error) error {
	return fmt.Errorf("the answer is not complete JSON: %s", Clean(err.Error(), maxMessage))
}

// decodePage decodes a list of at most limit users. It fails if no user on it has a
// readable id, since then it is not a list of users.
func decodePage(body []byte, limit int, unread func(string)) (*Page, error) {
	list, err := decodeList(body, unread)
	if err != nil {
		return nil, err
	}
	if len(list) > limit {
		return nil, fmt.Errorf("%d users, more than the %d that were requested", len(list), limit)
	}
	page := &Page{Users: make([]*clerkgatev1.User, 0, len(list))}
	known := false
	for _, u := range list {
		known = known || u.id != ""
		if u.err != nil {
			page.Unreadable = append(page.Unreadable, Unreadable{ID: u.id, After: len(page.Users), Err: u.err})
			continue
		}
		page.Users = append(page.Users, u.user)
	}
	if len(list) > 0 && !known {
		return nil, fmt.Errorf("none of the %d entries has a readable id of a user: %w", len(list), list[0].err)
	}
	return page, nil
}

// decodeCount decodes the answer to a count.
func decodeCount(body []byte) (int64, error) {
	var count struct {
		Total *int64 `json:"total_count"`
	}
	if err := json.Unmarshal(body, &count, lenient); err != nil {
		return 0, notJSON(err)
	}
	if count.Total == nil || *count.Total < 0 {
		return 0, errors.New("the answer holds no count")
	}
	return *count.Total, nil
}
