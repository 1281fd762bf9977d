package server

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// walk reads a list page by page, and calls between before each page except the first.
func walk(t *testing.T, s *userService, req *clerkgatev1.ListUsersRequest, between func(page int, sent []string)) (ids []string, pages int) {
	t.Helper()
	for {
		resp, err := s.ListUsers(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, idsOf(resp.Users)...)
		pages++
		if resp.NextPageToken == "" {
			return ids, pages
		}
		if pages > 1000 {
			t.Fatal("the list does not end")
		}
		req.PageToken = resp.NextPageToken
		if between != nil {
			between(pages, ids)
		}
	}
}

func TestListUsersPages(t *testing.T) {
	up := &fakeUpstream{users: usersAt(5, 3, 9, 9, 1, 7, 2)}
	s := &userService{users: up}
	for _, tt := range []struct {
		order string
		size  int32
		pages int
		want  string
	}{
		{"", 3, 3, "3 2 5 0 1 6 4"},
		{"-created_at", 7, 2, "3 2 5 0 1 6 4"}, // a full page may be the last; only the next one shows
		{"created_at", 4, 2, "4 6 1 0 5 2 3"},
		{"+created_at", 0, 1, "4 6 1 0 5 2 3"},
		{"last_name", 2, 4, "0 1 2 3 4 5 6"},
		{"-last_name", 1000, 1, "6 5 4 3 2 1 0"},
	} {
		ids, pages := walk(t, s, &clerkgatev1.ListUsersRequest{OrderBy: tt.order, PageSize: tt.size}, nil)
		got := strings.ReplaceAll(strings.Join(ids, " "), "user_000", "")
		if got != tt.want || pages != tt.pages {
			t.Errorf("%q by %d: %s in %d pages, want %s in %d", tt.order, tt.size, got, pages, tt.want, tt.pages)
		}
	}
}

func TestListUsersAsks(t *testing.T) {
	for _, tt := range []struct {
		size  int32
		order string
		want  clerkapi.ListParams
	}{
		{0, "", clerkapi.ListParams{Limit: 50, OrderBy: "-created_at"}},
		{501, "created_at", clerkapi.ListParams{Limit: 500, OrderBy: "+created_at"}},
		{7, "-username", clerkapi.ListParams{Limit: 7, OrderBy: "-username"}},
	} {
		up := &fakeUpstream{}
		if _, err := (&userService{users: up}).ListUsers(t.Context(), &clerkgatev1.ListUsersRequest{PageSize: tt.size, OrderBy: tt.order}); err != nil {
			t.Fatal(err)
		}
		got := up.asked()[0].params
		got.Filter = nil
		if got != tt.want {
			t.Errorf("size %d, order %q: %+v, want %+v", tt.size, tt.order, got, tt.want)
		}
	}
}

// TestListUsersLastUserGone removes, between pages, the user that the next page starts
// after. No user comes twice and no remaining user is missed.
func TestListUsersLastUserGone(t *testing.T) {
	// Times with many ties, also across page boundaries.
	times := []int64{1, 2, 2, 2, 2, 2, 3, 4, 4, 5, 5, 5, 5, 6, 7}
	all := idsOf(usersAt(times...))
	for _, order := range []string{"+created_at", "-created_at"} {
		for size := int32(1); size <= 6; size++ {
			// With only every third page, whole pages by time contain only sent users.
			for every := 1; every <= 3; every++ {
				up := &fakeUpstream{users: usersAt(times...)}
				ids, _ := walk(t, &userService{users: up}, &clerkgatev1.ListUsersRequest{OrderBy: order, PageSize: size}, func(page int, sent []string) {
					if page%every == 0 {
						up.remove(sent[len(sent)-1])
					}
				})
				slices.Sort(ids)
				if diff := cmp.Diff(all, ids); diff != "" {
					t.Errorf("%s by %d, one gone in %d pages (-want +got):\n%s", order, size, every, diff)
				}
			}
		}
	}
}

// TestListUsersGoneKeepsFilter: the caller's own bounds apply when the walk continues by
// time.
func TestListUsersGoneKeepsFilter(t *testing.T) {
	at := func(ms int64) *timestamppb.Timestamp { return timestamppb.New(time.UnixMilli(1_700_000_000_000 + ms)) }
	for _, order := range []string{"+created_at", "-created_at"} {
		up := &fakeUpstream{users: usersAt(1, 2, 3, 4, 5, 6, 7, 8)}
		filter := &clerkgatev1.UserFilter{CreatedAtAfter: at(2), CreatedAtBefore: at(7), Query: proto.String("x")}
		ids, _ := walk(t, &userService{users: up}, &clerkgatev1.ListUsersRequest{OrderBy: order, PageSize: 1, Filter: filter}, func(_ int, sent []string) {
			up.remove(sent[len(sent)-1])
		})
		slices.Sort(ids)
		if diff := cmp.Diff([]string{"user_0002", "user_0003", "user_0004", "user_0005"}, ids); diff != "" {
			t.Errorf("%s (-want +got):\n%s", order, diff)
		}
		for _, c := range up.asked() {
			if c.method == "list" && c.params.Filter.GetQuery() != "x" {
				t.Errorf("a request lost the rest of the filter: %v", c.params)
			}
		}
	}
}

// TestListUsersRejected: Clerk's rejection of the first page is passed on, and of a later
// one if continuing by time fails too.
func TestListUsersRejected(t *testing.T) {
	up := &fakeUpstream{users: usersAt(1, 2, 3)}
	s := &userService{users: up}
	req := &clerkgatev1.ListUsersRequest{PageSize: 2}
	first, err := s.ListUsers(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	up.listErr = &clerkapi.Error{Kind: clerkapi.ErrRejected, Status: 422}
	for _, token := range []string{"", first.NextPageToken} {
		req.PageToken = token
		if _, err := s.ListUsers(t.Context(), req); !errors.Is(err, errListRejected) {
			t.Errorf("with token %q: %v", token, err)
		}
	}
}

func TestListUsersTokenOfAnotherList(t *testing.T) {
	up := &fakeUpstream{users: usersAt(1, 2, 3)}
	s := &userService{users: up, fullView: FullViewAny}
	first, err := s.ListUsers(t.Context(), &clerkgatev1.ListUsersRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	asked := len(up.asked())
	for name, req := range map[string]*clerkgatev1.ListUsersRequest{
		"filter": {Filter: &clerkgatev1.UserFilter{Banned: proto.Bool(true)}},
		"order":  {OrderBy: "+created_at"},
		"view":   {View: clerkgatev1.UserView_USER_VIEW_FULL},
	} {
		req.PageToken = first.NextPageToken
		if _, err := s.ListUsers(t.Context(), req); err == nil || classify(err).field != "page_token" {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if err := s.StreamUsers(&clerkgatev1.StreamUsersRequest{ResumeToken: first.NextPageToken, OrderBy: "-created_at"}, &fakeStream{ctx: t.Context()}); err == nil || classify(err).field != "resume_token" {
		t.Errorf("a stream: %v", err)
	}
	if len(up.asked()) != asked {
		t.Error("the upstream was asked")
	}
	for name, req := range map[string]*clerkgatev1.ListUsersRequest{
		"page size":         {PageSize: 2},
		"explicit defaults": {OrderBy: "-created_at", View: clerkgatev1.UserView_USER_VIEW_BASIC},
	} {
		req.PageToken = first.NextPageToken
		if _, err := s.ListUsers(t.Context(), req); err != nil {
			t.Errorf("the %s may differ: %v", name, err)
		}
	}
}

// TestListUsersFits: pages end early if users are large, in both ways of paging.
func TestListUsersFits(t *testing.T) {
	up := &fakeUpstream{}
	for i := range 100 {
		u := userAt(i, int64(i))
		u.UnsafeMetadataJson = proto.String(strings.Repeat("x", 100<<10))
		up.users = append(up.users, u)
	}
	up.users[50].UnsafeMetadataJson = proto.String(strings.Repeat("x", maxAnswer))
	s := &userService{users: up}
	for _, order := range []string{"created_at", "username"} {
		req := &clerkgatev1.ListUsersRequest{OrderBy: order, PageSize: 500}
		var ids []string
		for {
			resp, err := s.ListUsers(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if size := proto.Size(resp); size > maxAnswer {
				t.Errorf("%s: a page of %d users has %d bytes", order, len(resp.Users), size)
			}
			ids = append(ids, idsOf(resp.Users)...)
			for _, u := range resp.Unreadable {
				ids = append(ids, u.GetUserId()+" "+u.GetReason().String())
			}
			if req.PageToken = resp.NextPageToken; req.PageToken == "" || len(ids) > len(up.users) || len(resp.Users) == 0 {
				break
			}
		}
		slices.Sort(ids)
		want := idsOf(up.users)
		want[50] += " ERROR_REASON_ANSWER_TOO_LARGE" // too large even alone
		if diff := cmp.Diff(want, ids); diff != "" {
			t.Errorf("%s (-want +got):\n%s", order, diff)
		}
	}
}

func TestAdvanceRemembersNoMoreThanMaxAnchors(t *testing.T) {
	l := &listing{order: "+created_at"}
	c := l.advance(cursor{}, entriesOf(&gate.Page{Users: usersAt(make([]int64, 150)...)}))
	c = l.advance(c, entriesOf(&gate.Page{Users: []*clerkgatev1.User{userAt(150, 0), userAt(151, 0)}}))
	if len(c.Anchors) != maxAnchors || c.After != "user_0151" || c.Anchors[maxAnchors-1] != "user_0150" || c.Anchors[maxAnchors-2] != "user_0149" || c.Tied != 152 {
		t.Errorf("%+v", c)
	}
	if c = l.advance(c, entriesOf(&gate.Page{Users: []*clerkgatev1.User{userAt(152, 1)}})); len(c.Anchors) != maxAnchors || c.Anchors[maxAnchors-1] != "user_0151" || c.Tied != 1 {
		t.Errorf("%+v", c)
	}
}

func TestStreamUsers(t *testing.T) {
	times := make([]int64, 1000)
	for i := range times {
		times[i] = int64(i / 3)
	}
	all := idsOf(usersAt(times...))
	for _, tt := range []struct {
		name     string
		users    []*clerkgatev1.User
		order    string
		want     []string
		requests int
	}{
		// Another request confirms the end.
		{"nobody", nil, "", nil, 2},
		{"one page", usersAt(times[:499]...), "", all[:499], 2},
		{"a full page", usersAt(times[:500]...), "created_at", all[:500], 3},
		{"several", usersAt(times...), "+created_at", all, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up := &fakeUpstream{users: tt.users}
			stream := &fakeStream{ctx: t.Context()}
			if err := (&userService{users: up, pageTimeout: time.Minute}).StreamUsers(&clerkgatev1.StreamUsersRequest{OrderBy: tt.order}, stream); err != nil {
				t.Fatal(err)
			}
			var got []string
			for i, m := range stream.messages {
				got = append(got, idsOf(m.Users)...)
				if last := i == len(stream.messages)-1; (m.ResumeToken == "") != last {
					t.Errorf("message %d of %d has the token %q", i, len(stream.messages), m.ResumeToken)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, c := range up.asked() {
				if c.options.Priority != gate.Batch || c.params.Limit != 500 && c.params.Limit != 1 || c.params.OrderBy != "+created_at" {
					t.Errorf("asked %+v", c)
				}
			}
			if n := len(up.asked()); n != tt.requests || len(stream.messages) == 0 {
				t.Errorf("%d requests and %d messages, want %d requests", n, len(stream.messages), tt.requests)
			}
		})
	}
}

// TestStreamUsersResumes breaks a stream after each message, removes the last user sent,
// and resumes with the token.
func TestStreamUsersResumes(t *testing.T) {
	up := &fakeUpstream{}
	for i := range 60 {
		u := userAt(i, int64(i/4))
		u.UnsafeMetadataJson = proto.String(strings.Repeat("x", 100<<10))
		up.users = append(up.users, u)
	}
	want := idsOf(up.users)
	slices.Reverse(want)
	s := &userService{users: up, pageTimeout: time.Minute}
	broken := errors.New("connection lost")
	var got []string
	req := &clerkgatev1.StreamUsersRequest{OrderBy: "-created_at"}
	for range 100 {
		stream := &fakeStream{ctx: t.Context(), onSend: func() error { return broken }}
		if err := s.StreamUsers(req, stream); !errors.Is(err, broken) || !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v", err)
		}
		m := stream.messages[0]
		if size := proto.Size(m); size > 2<<20 {
			t.Errorf("a message of %d bytes", size)
		}
		got = append(got, idsOf(m.Users)...)
		if req.ResumeToken = m.ResumeToken; req.ResumeToken == "" {
			break
		}
		up.remove(got[len(got)-1])
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestWalksPassUsersThatCannotBeRead: wherever they are in a page, a list and a stream
// return all other users once and in order, and name those left out.
func TestWalksPassUsersThatCannotBeRead(t *testing.T) {
	up := &fakeUpstream{users: usersAt(make([]int64, 1200)...), garbled: map[string]bool{}}
	for i, u := range up.users {
		u.CreatedAt = timestamppb.New(time.UnixMilli(int64(i / 3)))
	}
	for _, i := range []int{0, 1, 7, 48, 49, 50, 99, 100, 498, 499, 500, 999, 1198, 1199} {
		up.garbled[up.users[i].Id] = false
	}
	for _, i := range []int{20, 149, 150, 750} {
		up.garbled[up.users[i].Id] = true
	}
	var want, wantOut []string
	for _, u := range up.users {
		if nameless, garbled := up.garbled[u.Id]; !garbled {
			want = append(want, u.Id)
		} else if !nameless {
			wantOut = append(wantOut, u.Id)
		}
	}
	s := &userService{users: up, pageTimeout: time.Second}
	check := func(name string, users []*clerkgatev1.User, out []*clerkgatev1.UnreadableUser) {
		t.Helper()
		if diff := cmp.Diff(want, idsOf(users)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		var ids []string
		for _, u := range out {
			if u.GetReason() != clerkgatev1.ErrorReason_ERROR_REASON_USER_UNREADABLE || u.GetMessage() == "" {
				t.Errorf("%s: left out: %v", name, u)
			}
			if u.UserId != nil {
				ids = append(ids, u.GetUserId())
			}
		}
		if diff := cmp.Diff(wantOut, ids); diff != "" {
			t.Errorf("%s: left out (-want +got):\n%s", name, diff)
		}
		if nameless := len(out) - len(ids); nameless < 4 {
			t.Errorf("%s: %d without an id are named, want 4 at least", name, nameless)
		}
	}
	for _, order := range []string{"created_at", "username"} {
		req := &clerkgatev1.ListUsersRequest{OrderBy: order, PageSize: 50}
		var users []*clerkgatev1.User
		var out []*clerkgatev1.UnreadableUser
		for range 100 {
			resp, err := s.ListUsers(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			users, out = append(users, resp.Users...), append(out, resp.Unreadable...)
			if req.PageToken = resp.NextPageToken; req.PageToken == "" {
				break
			}
		}
		check("a list by "+order, users, out)
	}
	stream := &fakeStream{ctx: t.Context()}
	if err := s.StreamUsers(&clerkgatev1.StreamUsersRequest{}, stream); err != nil {
		t.Fatal(err)
	}
	var users []*clerkgatev1.User
	var out []*clerkgatev1.UnreadableUser
	for _, m := range stream.messages {
		users, out = append(users, m.Users...), append(out, m.Unreadable...)
	}
	check("a stream", users, out)
}
