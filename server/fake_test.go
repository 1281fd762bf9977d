package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

// fetchedAt is the fetch time of the fake upstream's users.
var fetchedAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// fakeUpstream holds users and answers like the gate and Clerk.
type fakeUpstream struct {
	mu       sync.Mutex
	users    []*clerkgatev1.User   // guarded by mu
	failures map[string]error      // of lookups, by id; guarded by mu
	garbled  map[string]bool       // ids that are unreadable in lists; true: the id is unreadable too; guarded by mu
	listErr  error                 // guarded by mu
	calls    []call                // guarded by mu
	status   gate.Status           // guarded by mu
	reads    int                   // number of reads of status; guarded by mu
	health   gate.Health           // guarded by mu
	leases   map[string]int        // permits by lease; guarded by mu
	shares   map[string]gate.Share // guarded by mu
	// onCall, if not nil, is called before each answer, without the lock.
	onCall func(ctx context.Context, c call) error
}

// call is a recorded call.
type call struct {
	method  string
	ids     []string
	params  clerkapi.ListParams
	options gate.Options
	maxAge  *time.Duration // of a lookup
	lease   gate.LeaseRequest
	use     gate.LeaseUse
}

func (f *fakeUpstream) record(ctx context.Context, c call) error {
	f.mu.Lock()
	f.calls = append(f.calls, c)
	onCall := f.onCall
	f.mu.Unlock()
	if onCall != nil {
		return onCall(ctx, c)
	}
	return nil
}

func (f *fakeUpstream) asked() []call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func (f *fakeUpstream) Lookup(ctx context.Context, ids []string, o usercache.Options) []usercache.Result {
	err := f.record(ctx, call{method: "lookup", ids: ids, options: o.Options, maxAge: o.MaxAge})
	f.mu.Lock()
	defer f.mu.Unlock()
	results := make([]usercache.Result, len(ids))
	for i, id := range ids {
		results[i] = usercache.Result{Err: clerkapi.ErrNotFound, Entry: entryOf(&clerkgatev1.User{}), ServedFrom: clerkgatev1.ServedFrom_SERVED_FROM_UPSTREAM}
		at := slices.IndexFunc(f.users, func(u *clerkgatev1.User) bool { return u.Id == id })
		switch {
		case f.failures[id] != nil:
			results[i] = usercache.Result{Err: f.failures[id]}
		case err != nil:
			results[i] = usercache.Result{Err: err}
		case at >= 0:
			results[i].Entry, results[i].Err = entryOf(f.users[at]), nil
		}
	}
	return results
}

// entryOf returns a user in the cache's form.
func entryOf(u *clerkgatev1.User) *usercache.Entry {
	e, err := usercache.Encode(u, 0, fetchedAt, clerkgatev1.Origin_ORIGIN_CLERK)
	if err != nil {
		panic(err)
	}
	return e
}

// received returns a message as its receiver decodes it.
func received[M proto.Message](t *testing.T, m M) M {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	other := m.ProtoReflect().New().Interface().(M)
	if err := proto.Unmarshal(b, other); err != nil {
		t.Fatal(err)
	}
	return other
}

func (f *fakeUpstream) Invalidate(ctx context.Context, ids []string) error {
	return f.record(ctx, call{method: "invalidate", ids: ids})
}

func (f *fakeUpstream) Totals() usercache.Totals {
	return usercache.Totals{Lookups: map[clerkgatev1.ServedFrom]int64{clerkgatev1.ServedFrom_SERVED_FROM_UPSTREAM: 11, clerkgatev1.ServedFrom_SERVED_FROM_MEMORY: 22}}
}

func (f *fakeUpstream) List(ctx context.Context, p clerkapi.ListParams, _ bool, o gate.Options) (*gate.Page, error) {
	if err := f.record(ctx, call{method: "list", params: p, options: o}); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listErr != nil {
		return nil, f.listErr
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	users := slices.DeleteFunc(slices.Clone(f.users), func(u *clerkgatev1.User) bool {
		after, before := p.Filter.GetCreatedAtAfter(), p.Filter.GetCreatedAtBefore()
		return after != nil && createdAt(u) <= after.AsTime().UnixMilli() ||
			before != nil && createdAt(u) >= before.AsTime().UnixMilli()
	})
	slices.SortStableFunc(users, func(a, b *clerkgatev1.User) int {
		if strings.HasSuffix(p.OrderBy, "created_at") {
			if c := cmp.Compare(createdAt(a), createdAt(b)); c != 0 {
				return c
			}
		}
		return cmp.Compare(a.Id, b.Id)
	})
	if strings.HasPrefix(p.OrderBy, "-") {
		slices.Reverse(users)
	}
	start := p.Offset
	if p.StartingAfter != "" {
		start = 1 + slices.IndexFunc(users, func(u *clerkgatev1.User) bool { return u.Id == p.StartingAfter })
		if start == 0 {
			return nil, &clerkapi.Error{Kind: clerkapi.ErrRejected, Status: 422}
		}
	}
	users = users[min(start, len(users)):]
	page := &gate.Page{FetchTime: fetchedAt}
	for _, u := range users[:min(p.Limit, len(users))] {
		nameless, garbled := f.garbled[u.Id]
		switch {
		case !garbled:
			page.Users = append(page.Users, u)
		case nameless:
			page.Unreadable = append(page.Unreadable, clerkapi.Unreadable{After: len(page.Users), Err: errors.New("no id")})
		default:
			page.Unreadable = append(page.Unreadable, clerkapi.Unreadable{ID: u.Id, After: len(page.Users), Err: errors.New("the field banned can't be read")})
		}
	}
	return page, nil
}

func (f *fakeUpstream) Count(ctx context.Context, filter *clerkgatev1.UserFilter, o gate.Options) (gate.Count, error) {
	if err := f.record(ctx, call{method: "count", params: clerkapi.ListParams{Filter: filter}, options: o}); err != nil {
		return gate.Count{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return gate.Count{Users: int64(len(f.users)), FetchTime: fetchedAt}, f.listErr
}

func (f *fakeUpstream) Status() gate.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	return f.status
}

func (f *fakeUpstream) Health() gate.Health {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.health
}

// change runs do, which changes the answers, under the lock.
func (f *fakeUpstream) SetShares(shares map[string]gate.Share) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shares = shares
}

func (f *fakeUpstream) sharesNow() map[string]gate.Share {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.shares
}

func (f *fakeUpstream) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

// fakeQuota is the maximum of lent permits.
const fakeQuota = 100

func (f *fakeUpstream) Acquire(ctx context.Context, r gate.LeaseRequest, o gate.Options) (gate.Lease, error) {
	count := r.Permits
	if count < 1 || count > fakeQuota {
		return gate.Lease{}, &gate.LeaseSizeError{Max: fakeQuota}
	}
	if err := f.record(ctx, call{method: "acquire", options: o, lease: r}); err != nil {
		return gate.Lease{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.leases == nil {
		f.leases = make(map[string]int)
	}
	if id := "lease-of-" + r.ID; f.leases[id] > 0 {
		return gate.Lease{ID: id, Expires: fetchedAt, Repeated: true}, nil
	} else if r.ID != "" {
		f.leases[id] = count
		return gate.Lease{ID: id, Expires: fetchedAt}, nil
	}
	id := fmt.Sprintf("lease%d", len(f.leases))
	f.leases[id] = count
	return gate.Lease{ID: id, Expires: fetchedAt}, nil
}

func (f *fakeUpstream) Release(ctx context.Context, id string, use gate.LeaseUse) error {
	if err := f.record(ctx, call{method: "release", use: use}); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	count, ok := f.leases[id]
	if !ok {
		return gate.ErrNoLease
	}
	used := use.Used
	if used == gate.AllUsed {
		used = count
	}
	if used < 0 || used > count {
		return gate.ErrLeaseUse
	}
	if use.Unanswered > used {
		return gate.ErrUnanswered
	}
	delete(f.leases, id)
	return nil
}

// remove removes users.
func (f *fakeUpstream) remove(ids ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users = slices.DeleteFunc(f.users, func(u *clerkgatev1.User) bool { return slices.Contains(ids, u.Id) })
}

// userAt returns a user with the number n, created at ms after some time.
func userAt(n int, ms int64) *clerkgatev1.User {
	return &clerkgatev1.User{
		Id:        fmt.Sprintf("user_%04d", n),
		CreatedAt: timestamppb.New(time.UnixMilli(1_700_000_000_000 + ms)),
	}
}

// usersAt returns one user for each time.
func usersAt(ms ...int64) []*clerkgatev1.User {
	var users []*clerkgatev1.User
	for i, at := range ms {
		users = append(users, userAt(i, at))
	}
	return users
}

func idsOf(users []*clerkgatev1.User) []string {
	var ids []string
	for _, u := range users {
		ids = append(ids, u.GetId())
	}
	return ids
}

// fromPeer returns the context of a call from an address.
func fromPeer(ctx context.Context, ip string) context.Context {
	return peer.NewContext(ctx, &peer.Peer{Addr: &net.TCPAddr{IP: net.ParseIP(ip), Port: 1}})
}

// fakeStream receives the messages of a stream.
type fakeStream struct {
	grpc.ServerStream
	ctx      context.Context
	messages []*clerkgatev1.StreamUsersResponse
	onSend   func() error
}

func (s *fakeStream) Context() context.Context { return s.ctx }

// Send is not used: messages are encoded before.
func (s *fakeStream) Send(*clerkgatev1.StreamUsersResponse) error { panic("Send") }

func (s *fakeStream) SendMsg(m any) error {
	message := &clerkgatev1.StreamUsersResponse{}
	buffer := m.(*encoded).take()
	defer buffer.Free()
	if err := proto.Unmarshal(buffer.ReadOnlyData(), message); err != nil {
		return err
	}
	s.messages = append(s.messages, message)
	if s.onSend != nil {
		return s.onSend()
	}
	return nil
}

// holdCalls holds up to n calls until release is closed or they are cancelled. Each is
// announced by entered.
func (f *fakeUpstream) holdCalls(n int) (entered, release chan struct{}) {
	entered, release = make(chan struct{}, n), make(chan struct{})
	f.onCall = func(ctx context.Context, _ call) error {
		entered <- struct{}{}
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return entered, release
}
