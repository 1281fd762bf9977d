package redislink

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// TestKindOf: the kinds of a real Redis's errors.
func TestKindOf(t *testing.T) {
	s := redistest.Start(t)
	options, err := Options(s.URL(), Access{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Connect(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func(words ...string) error {
		return c.Do(t.Context(), c.B().Arbitrary(words...).Build()).Error()
	}
	if got := KindOf(ask("GET")); got != OtherReply {
		t.Errorf("a wrong number of arguments is %s", got)
	}
	if got := KindOf(ask("AUTH", "nobody", "nothing")); got != WrongPassword {
		t.Errorf("a wrong password is %s", got)
	}
	for err, want := range map[error]Kind{
		context.DeadlineExceeded:                          TimedOut,
		fmt.Errorf("redis: %w", context.DeadlineExceeded): TimedOut,
		errors.New("connection refused"):                  Unreachable,
	} {
		if got := KindOf(err); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
	}
	for _, k := range Kinds() {
		if k.Hint() == "" && k != OtherReply {
			t.Errorf("no hint for %s", k)
		}
	}
}

// TestPlain: an error does not repeat the arguments of a command, and is still the same error.
func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"unknown command `AUTH`, with args beginning with: `user`, `hush`,":       "unknown command `AUTH`",
		"redis: unknown command 'AUTH', with args beginning with: 'user' 'hush' ": "redis: unknown command 'AUTH'",
		"WRONGPASS invalid username-password pair or user is disabled.":           "WRONGPASS invalid username-password pair or user is disabled.",
	} {
		err := errors.New(text)
		if got := Plain(err); got.Error() != want || !errors.Is(got, err) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestErrorsAreNewsOnce: News is called once, and again when no error of the kind has
// occurred for a while.
func TestErrorsAreNewsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var news []Kind
		e := &Errors{News: func(k Kind, _ error) { news = append(news, k) }}
		for range 200 { // for 100 s
			e.Add(context.DeadlineExceeded)
			time.Sleep(500 * time.Millisecond)
		}
		e.Add(errors.New("no connection"))
		if len(news) != 2 || news[0] != TimedOut || news[1] != Unreachable {
			t.Errorf("news: %v", news)
		}
		time.Sleep(quietAfter + time.Second)
		e.Add(context.DeadlineExceeded)
		if len(news) != 3 {
			t.Errorf("news: %v", news)
		}
		if n := e.Counts()[TimedOut]; n != 201 {
			t.Errorf("counted %d", n)
		}
		if len(e.Counts()) != len(Kinds()) {
			t.Errorf("counts: %v", e.Counts())
		}
	})
}
