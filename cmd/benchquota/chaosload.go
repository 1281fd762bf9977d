package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// actor makes calls to a node one after the other, according to its part.
type actor struct {
	*chaos
	node *node
	name string
	rnd  *rand.Rand
}

// parts are the kinds of actors, with the number of each per node. Between two calls each
// waits for about a tenth of a second.
var parts = []struct {
	name  string
	count int
	act   func(*actor, context.Context)
}{
	{"get", 6, (*actor).get},
	{"probe", 1, (*actor).probe},
	{"batch", 2, (*actor).batch},
	{"list", 2, (*actor).list},
	{"stream", 1, (*actor).stream},
	{"count", 1, (*actor).count},
	{"invalidate", 1, (*actor).invalidate},
}

// run calls act until ctx ends.
func (a *actor) run(ctx context.Context, act func(*actor, context.Context)) {
	for ctx.Err() == nil {
		act(a, context.WithoutCancel(ctx)) // complete a call that has begun
		_ = wait(ctx, between(a.rnd, 20, 180))
	}
}

// call makes one call and judges its outcome.
func (a *actor) call(ctx context.Context, method string, timeout time.Duration, req proto.Message, read func([]byte) error) (e ending, life int) {
	s, life := a.node.now()
	begin := time.Now()
	e = a.raw.call(ctx, s.address, method, a.name, timeout, req, read)
	end := time.Now()
	_, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	killed, frozen := a.node.away(begin, end)
	a.note(callMade{method: name, node: a.node.name, begin: begin, took: end.Sub(begin) - frozen, timeout: timeout, killed: killed, frozen: frozen, ending: e})
	return e, life
}

// unary makes a unary call.
func (a *actor) unary(ctx context.Context, method string, timeout time.Duration, req, resp proto.Message) (e ending, life int) {
	return a.call(ctx, method, timeout, req, func(message []byte) error { return proto.Unmarshal(message, resp) })
}

func (a *actor) timeout() time.Duration { return between(a.rnd, 300, 3000) }

func (a *actor) someone() string { return a.ids[a.rnd.IntN(a.busy)] }

// floors returns the oldest allowed versions for a read that starts now.
func (a *actor) floors(ids []string, fresh bool) []int64 {
	floors := make([]int64, len(ids))
	a.mu.Lock()
	for i, id := range ids {
		floors[i] = a.acked[id]
		if fresh {
			floors[i] = max(floors[i], a.written[id])
		}
	}
	a.mu.Unlock()
	return floors
}

// judge checks a user in the answer to a lookup of id.
func (a *actor) judge(life int, id string, u *clerkgatev1.User, f *clerkgatev1.Freshness, acked, served int64) {
	if u.GetId() != id {
		a.fault(identity, "%s: asked for %s and got %s", a.node.name, id, u.GetId())
		return
	}
	version := u.UpdatedAt.AsTime().UnixMilli()
	how := fmt.Sprintf("%s, %s, %s, %s old, stale %t", a.node.name, f.GetServedFrom(), f.GetOrigin(), f.GetAge().AsDuration(), f.GetStale())
	if version < acked {
		a.fault(acknowledged, "%s of %d ms before what was acknowledged (%s)", id, acked-version, how)
	}
	if _, now := a.node.now(); now == life && version < served {
		a.fault(versions, "%s of %d ms before what this life had served (%s)", id, served-version, how)
	}
	a.node.serve(life, id, version, f.GetServedFrom() == clerkgatev1.ServedFrom_SERVED_FROM_UPSTREAM)
}

func (a *actor) get(ctx context.Context) { a.lookup(ctx, a.rnd.IntN(3) == 0, a.timeout()) }

// probe frequently makes calls that Clerk must answer.
func (a *actor) probe(ctx context.Context) {
	for range 4 {
		a.lookup(ctx, true, time.Second)
	}
}

func (a *actor) lookup(ctx context.Context, fresh bool, timeout time.Duration) {
	id := a.someone()
	if a.rnd.IntN(20) == 0 {
		id = "user_nobody"
	}
	req := &clerkgatev1.GetUserRequest{UserId: id}
	if fresh {
		req.MaxAge = durationpb.New(0)
	}
	acked, served := a.floors([]string{id}, fresh), a.node.floor(id)
	resp := &clerkgatev1.GetUserResponse{}
	e, life := a.unary(ctx, clerkgatev1.UserService_GetUser_FullMethodName, timeout, req, resp)
	switch {
	case e.ok() && a.emails[id] == "":
		a.fault(identity, "%s: asked for %s, who is nobody, and got %s", a.node.name, id, resp.User.GetId())
	case e.ok():
		a.judge(life, id, resp.User, resp.Freshness, acked[0], served)
	case e.code == codes.NotFound && a.emails[id] != "":
		a.fault(identity, "%s: there is %s, but it is not found", a.node.name, id)
	}
}

func (a *actor) batch(ctx context.Context) {
	ids := make([]string, 1+a.rnd.IntN(100))
	served := make([]int64, len(ids))
	for i := range ids {
		ids[i] = a.someone()
		served[i] = a.node.floor(ids[i])
	}
	fresh := a.rnd.IntN(3) == 0
	req := &clerkgatev1.BatchGetUsersRequest{UserIds: ids}
	if fresh {
		req.MaxAge = durationpb.New(0)
	}
	acked := a.floors(ids, fresh)
	resp := &clerkgatev1.BatchGetUsersResponse{}
	e, life := a.unary(ctx, clerkgatev1.UserService_BatchGetUsers_FullMethodName, a.timeout(), req, resp)
	if !e.ok() {
		return
	}
	if len(resp.Results) != len(ids) {
		a.fault(identity, "%s: %d results for %d ids", a.node.name, len(resp.Results), len(ids))
		return
	}
	for i, r := range resp.Results {
		if r.UserId != ids[i] {
			a.fault(identity, "%s: the result for %s is in the place of %s", a.node.name, r.UserId, ids[i])
		}
		switch {
		case r.GetUser() != nil:
			a.judge(life, ids[i], r.GetUser(), r.Freshness, acked[i], served[i])
		case r.GetError() == nil:
			a.fault(outcomes, "%s: a result without user and error", a.node.name)
		case r.GetError().Reason == clerkgatev1.ErrorReason_ERROR_REASON_USER_NOT_FOUND:
			a.fault(identity, "%s: there is %s, but it is not found", a.node.name, ids[i])
		}
	}
}

// Ways to select users of a list.
const (
	byID = iota
	byEmail
	without
	manners
)

func (a *actor) list(ctx context.Context) { a.listBy(ctx, a.rnd.IntN(manners)) }

// listBy lists users by id, by email address, or without some ids.
func (a *actor) listBy(ctx context.Context, manner int) {
	var asked []string
	for range 1 + a.rnd.IntN(5) {
		asked = append(asked, a.someone())
	}
	req := &clerkgatev1.ListUsersRequest{PageSize: 100, Filter: &clerkgatev1.UserFilter{}, MaxAge: durationpb.New(0)}
	names := &clerkgatev1.StringList{Values: asked}
	switch manner {
	case byID:
		req.Filter.UserIds = names
	case byEmail:
		names = &clerkgatev1.StringList{}
		for _, id := range asked {
			names.Values = append(names.Values, a.emails[id])
		}
		req.Filter.EmailAddresses = names
	case without:
		req.Filter.ExcludedUserIds = names
	}
	resp := &clerkgatev1.ListUsersResponse{}
	if e, _ := a.unary(ctx, clerkgatev1.UserService_ListUsers_FullMethodName, a.timeout(), req, resp); !e.ok() {
		return
	}
	got := map[string]bool{}
	for _, u := range resp.Users {
		switch id := u.Id; {
		case got[id]:
			a.fault(identity, "%s: a page has %s twice", a.node.name, id)
		case (manner == without) == slices.Contains(asked, id):
			a.fault(identity, "%s: %s by %v", a.node.name, id, req.Filter)
		}
		got[u.Id] = true
	}
	if manner != without {
		for _, id := range asked {
			if !got[id] {
				a.fault(identity, "%s: %s is not in the answer by %v", a.node.name, id, req.Filter)
			}
		}
	}
	// A first page of a list with exclusions can't be checked further.
}

// stream walks through all users. New users are noticed at the end.
func (a *actor) stream(ctx context.Context) {
	got := map[string]bool{}
	e, _ := a.call(ctx, clerkgatev1.UserService_StreamUsers_FullMethodName, 2*a.timeout(), &clerkgatev1.StreamUsersRequest{}, func(message []byte) error {
		page := &clerkgatev1.StreamUsersResponse{}
		if err := proto.Unmarshal(message, page); err != nil {
			return err
		}
		for _, u := range page.Users {
			if got[u.Id] {
				a.fault(identity, "%s: a walk meets %s again", a.node.name, u.Id)
			}
			got[u.Id] = true
		}
		return nil
	})
	if e.ok() && len(got) != len(a.ids) {
		a.fault(identity, "%s: a walk ended well after %d of %d users", a.node.name, len(got), len(a.ids))
	}
	_ = wait(ctx, between(a.rnd, 100, 500))
}

func (a *actor) count(ctx context.Context) {
	resp := &clerkgatev1.CountUsersResponse{}
	e, _ := a.unary(ctx, clerkgatev1.UserService_CountUsers_FullMethodName, a.timeout(), &clerkgatev1.CountUsersRequest{MaxAge: durationpb.New(0)}, resp)
	if e.ok() && int(resp.TotalCount) != len(a.ids) {
		a.fault(identity, "%s: it counts %d of %d users", a.node.name, resp.TotalCount, len(a.ids))
	}
}

// invalidate changes a user at Clerk, which sends a webhook, and may invalidate it.
func (a *actor) invalidate(ctx context.Context) {
	id := a.someone()
	version, err := a.clerk.change(ctx, id)
	if err != nil {
		a.fault(outcomes, "the simulator does not change a user: %v", err)
		return
	}
	a.noteVersion(a.written, id, version)
	if a.rnd.IntN(2) == 0 {
		return
	}
	req, resp := &clerkgatev1.InvalidateUsersRequest{UserIds: []string{id}}, &clerkgatev1.InvalidateUsersResponse{}
	if e, _ := a.unary(ctx, clerkgatev1.UserService_InvalidateUsers_FullMethodName, 4*time.Second, req, resp); e.ok() {
		a.noteVersion(a.acked, id, version)
	}
}

// change changes a user and returns its new updated_at in ms.
func (c *clerk) change(ctx context.Context, id string) (int64, error) {
	body := fmt.Sprintf(`{"first_name":"N%d"}`, time.Now().UnixNano())
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, c.address+"/sim/users/"+id, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var user struct {
		UpdatedAt int64 `json:"updated_at"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&user); err != nil {
		return 0, err
	}
	if user.UpdatedAt == 0 {
		return 0, errors.New("no updated_at")
	}
	return user.UpdatedAt, nil
}
