package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// TestWalkOverOneMillisecond: all users were created in the same millisecond, and
// the last one that was sent is deleted on the way.
func TestWalkOverOneMillisecond(t *testing.T) {
	for _, gone := range []int{1, 5, 99, 100} {
		up := &fakeUpstream{users: usersAt(make([]int64, 600)...)}
		all := idsOf(up.users)
		ids, _ := walk(t, &userService{users: up}, &clerkgatev1.ListUsersRequest{OrderBy: "+created_at", PageSize: 100}, func(page int, sent []string) {
			if page == 3 {
				up.remove(sent[len(sent)-gone:]...)
			}
		})
		slices.Sort(ids)
		if !slices.Equal(ids, all) {
			t.Errorf("%d gone: %d users were sent, %d of them different, want each of %d once", gone, len(ids), len(slices.Compact(ids)), len(all))
		}
	}
}

// TestWalkWithoutAnyAnchorLeft: more users of one millisecond were sent than a
// token remembers, and all that it remembers are deleted. Nobody knows which of the
// others were sent.
func TestWalkWithoutAnyAnchorLeft(t *testing.T) {
	up := &fakeUpstream{users: usersAt(make([]int64, 600)...)}
	s := &userService{users: up}
	first, err := s.ListUsers(t.Context(), &clerkgatev1.ListUsersRequest{OrderBy: "+created_at", PageSize: 300})
	if err != nil {
		t.Fatal(err)
	}
	up.remove(idsOf(first.Users)[300-maxAnchors-1:]...)
	_, err = s.ListUsers(t.Context(), &clerkgatev1.ListUsersRequest{OrderBy: "+created_at", PageSize: 300, PageToken: first.NextPageToken})
	if !errors.Is(err, errTokenOutdated) {
		t.Errorf("got %v, want %v", err, errTokenOutdated)
	}
}

// TestWalksAreExact: whoever is there throughout is sent exactly once, whatever
// others are added, changed and deleted meanwhile.
func TestWalksAreExact(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		times := rapid.SliceOfN(rapid.Int64Range(0, 8), 0, 60).Draw(rt, "created")
		up := &fakeUpstream{users: usersAt(times...)}
		s := &userService{users: up, pageTimeout: time.Minute}
		order := rapid.SampledFrom([]string{"+created_at", "-created_at"}).Draw(rt, "order")
		throughout := make(map[string]bool)
		for _, u := range up.users {
			throughout[u.Id] = true
		}
		var ids []string
		added := 0
		change := func() {
			for range rapid.IntRange(0, 3).Draw(rt, "changes") {
				switch rapid.SampledFrom([]string{"add", "delete", "delete the last", "delete many"}).Draw(rt, "change") {
				case "add":
					n := 1000 + added // nobody has the id of another one
					added++
					u := userAt(n, rapid.Int64Range(0, 9).Draw(rt, "at"))
					u.Id = fmt.Sprintf("user_%d_%d", rapid.IntRange(0, 99).Draw(rt, "place"), n)
					up.change(func() { up.users = append(up.users, u) })
				case "delete":
					if len(up.users) > 0 {
						id := rapid.SampledFrom(up.users).Draw(rt, "who").Id
						delete(throughout, id)
						up.remove(id)
					}
				case "delete the last":
					if len(ids) > 0 {
						delete(throughout, ids[len(ids)-1])
						up.remove(ids[len(ids)-1])
					}
				case "delete many":
					gone := ids[max(0, len(ids)-rapid.IntRange(0, 12).Draw(rt, "many")):]
					for _, id := range gone {
						delete(throughout, id)
					}
					up.remove(gone...)
				}
			}
		}
		req := &clerkgatev1.ListUsersRequest{OrderBy: order}
		for range 500 {
			req.PageSize = rapid.Int32Range(1, 7).Draw(rt, "size")
			resp, err := s.ListUsers(t.Context(), req)
			if err != nil {
				rt.Fatal(err)
			}
			ids = append(ids, idsOf(resp.Users)...)
			if req.PageToken = resp.NextPageToken; req.PageToken == "" {
				break
			}
			change()
		}
		if req.PageToken != "" {
			rt.Fatal("the walk does not end")
		}
		sent := make(map[string]int)
		for _, id := range ids {
			sent[id]++
		}
		for id := range throughout {
			if sent[id] != 1 {
				rt.Errorf("%s was there throughout and sent %d times: %v", id, sent[id], ids)
			}
		}
		for id, n := range sent {
			if n > 1 {
				rt.Errorf("%s was sent %d times", id, n)
			}
		}
	})
}

// oddUpstream changes what the fake answers.
type oddUpstream struct {
	*fakeUpstream
	list func(p clerkapi.ListParams, page *gate.Page) *gate.Page
}

func (o oddUpstream) List(ctx context.Context, p clerkapi.ListParams, walk bool, opts gate.Options) (*gate.Page, error) {
	page, err := o.fakeUpstream.List(ctx, p, walk, opts)
	if err == nil {
		page = o.list(p, page)
	}
	return page, err
}

// TestPagesThatContradictTheWalk end it with an error, and never as if it were done.
func TestPagesThatContradictTheWalk(t *testing.T) {
	times := make([]int64, 1500)
	for i := range times {
		times[i] = int64(i)
	}
	all := usersAt(times...)
	for name, list := range map[string]func(p clerkapi.ListParams, page *gate.Page) *gate.Page{
		"starting_after is ignored": func(clerkapi.ListParams, *gate.Page) *gate.Page { return &gate.Page{Users: all[:500]} },
		"one user, far behind": func(p clerkapi.ListParams, page *gate.Page) *gate.Page {
			if p.StartingAfter == "user_0499" {
				return &gate.Page{Users: all[1200:1201]}
			}
			return page
		},
		"one user, sent before": func(p clerkapi.ListParams, page *gate.Page) *gate.Page {
			if p.StartingAfter == "user_0499" {
				return &gate.Page{Users: all[17:18]}
			}
			return page
		},
		"the same user again": func(p clerkapi.ListParams, page *gate.Page) *gate.Page {
			if p.StartingAfter == "user_0499" {
				return &gate.Page{Users: all[499:500]}
			}
			return page
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &userService{users: oddUpstream{&fakeUpstream{users: all}, list}, pageTimeout: time.Minute}
			stream := &fakeStream{ctx: t.Context()}
			stream.onSend = func() error {
				if len(stream.messages) > 20 {
					return errors.New("it does not end")
				}
				return nil
			}
			err := s.StreamUsers(&clerkgatev1.StreamUsersRequest{}, stream)
			if !errors.Is(err, clerkapi.ErrBadAnswer) {
				t.Errorf("got %v, want %v", err, clerkapi.ErrBadAnswer)
			}
			if len(stream.messages) != 1 {
				t.Errorf("%d messages were sent, want the first only", len(stream.messages))
			}
		})
	}
}

// TestAShortPageIsConfirmed: once too short a page, and an empty one, must not end a walk.
func TestAShortPageIsConfirmed(t *testing.T) {
	times := make([]int64, 1200)
	for i := range times {
		times[i] = int64(i)
	}
	for _, n := range []int{0, 1, 100} {
		odd := false
		up := &fakeUpstream{users: usersAt(times...)}
		s := &userService{users: oddUpstream{up, func(p clerkapi.ListParams, page *gate.Page) *gate.Page {
			if p.StartingAfter == "user_0499" && !odd {
				odd = true
				return &gate.Page{Users: page.Users[:n]}
			}
			return page
		}}, pageTimeout: time.Minute}
		stream := &fakeStream{ctx: t.Context()}
		if err := s.StreamUsers(&clerkgatev1.StreamUsersRequest{}, stream); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, m := range stream.messages {
			ids = append(ids, idsOf(m.Users)...)
		}
		if !slices.Equal(ids, idsOf(up.users)) {
			t.Errorf("a page of %d: %d users were sent, want %d", n, len(ids), len(up.users))
		}
	}
}
