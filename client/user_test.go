package client

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// TestDecodeMetadata decodes metadata into a caller's types.
func TestDecodeMetadata(t *testing.T) {
	type plan struct{ Plan string }
	for _, tt := range []struct {
		text string
		want plan
		ok   bool
	}{
		{`{"plan":"pro","more":[1]}`, plan{"pro"}, true},
		{`{}`, plan{}, true},
		{``, plan{}, true},
		{`{"plan":7}`, plan{}, false},
		{`{`, plan{}, false},
	} {
		if got, err := DecodeMetadata[plan](tt.text); got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%q: %+v, %v", tt.text, got, err)
		}
	}
	if m, err := DecodeMetadata[map[string]any](`{"a":{"b":1}}`); err != nil || fmt.Sprint(m) != "map[a:map[b:1]]" {
		t.Errorf("%v, %v", m, err)
	}
}

// TestUserString checks that printing a user shows no personal data.
func TestUserString(t *testing.T) {
	u := &User{User: &clerkgatev1.User{
		Id: "user_x", FirstName: new("Ann"), PrimaryEmailAddressId: new("idn_2"),
		EmailAddresses: []*clerkgatev1.UserEmailAddress{{EmailAddress: "a@example.com"}, {Id: new("idn_2"), EmailAddress: "b@example.com"}},
	}}
	for _, format := range []string{"%v", "%+v", "%s"} {
		if got := fmt.Sprintf(format, u); got != "user_x" {
			t.Errorf("%s: %s", format, got)
		}
	}
	if got := fmt.Sprintf("%v %v", []*User{u}, *u); strings.Contains(got, "Ann") {
		t.Error(got)
	}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewJSONHandler(&log, nil), slog.NewTextHandler(&log, nil)} {
		slog.New(h).Info("read", "user", u, "copy", *u)
	}
	if got := log.String(); strings.Contains(got, "Ann") || strings.Count(got, "user_x") != 4 {
		t.Errorf("log: %s", got)
	}
	if got := u.PrimaryEmailAddress(); got != "b@example.com" {
		t.Errorf("primary email address %q", got)
	}
	u.PrimaryEmailAddressId = nil
	if got := u.PrimaryEmailAddress(); got != "" {
		t.Errorf("primary email address %q of none", got)
	}
}
