package server

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

func TestPageToken(t *testing.T) {
	want := cursor{After: "user_1", CreatedAt: 1_700_000_000_000, Seen: []string{"user_2", "user_3"}}
	token, err := encodeToken(7, want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeToken("page_token", token, 7); err != nil || !cmp.Equal(got, want) {
		t.Fatalf("got %v, %v", got, err)
	}
	if strings.Trim(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		t.Errorf("token %q is not fit for a URL", token)
	}
	refused := func(name, token string, args uint64) {
		t.Helper()
		var param *clerkapi.ParamError
		if _, err := decodeToken("page_token", token, args); !errors.As(err, &param) || param.Field != "page_token" {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("other arguments", token, 8)
	refused("not base64", "!"+token, 7)
	refused("cut", token[:len(token)-3], 7)
	refused("padded", token+"=", 7)
	for i := range token {
		b := []byte(token)
		b[i] ^= 1
		refused("changed", string(b), 7)
	}
	for name, c := range map[string]cursor{
		"offset below 0": {Offset: -1}, "an id that excludes": {After: "-user_1"}, "too many ids": {Seen: make([]string, maxSeen+1)},
	} {
		forged, err := encodeToken(7, c)
		if err != nil {
			t.Fatal(err)
		}
		refused(name, forged, 7)
	}
}

func TestArgsDigest(t *testing.T) {
	base := func() uint64 {
		return argsDigest("list", &clerkgatev1.UserFilter{Query: proto.String("a")}, "-created_at", clerkgatev1.UserView_USER_VIEW_BASIC)
	}
	if first, second := base(), base(); first != second {
		t.Error("the digest of equal arguments differs")
	}
	for name, other := range map[string]uint64{
		"method": argsDigest("stream", &clerkgatev1.UserFilter{Query: proto.String("a")}, "-created_at", clerkgatev1.UserView_USER_VIEW_BASIC),
		"filter": argsDigest("list", &clerkgatev1.UserFilter{Query: proto.String("b")}, "-created_at", clerkgatev1.UserView_USER_VIEW_BASIC),
		"order":  argsDigest("list", &clerkgatev1.UserFilter{Query: proto.String("a")}, "+created_at", clerkgatev1.UserView_USER_VIEW_BASIC),
		"view":   argsDigest("list", &clerkgatev1.UserFilter{Query: proto.String("a")}, "-created_at", clerkgatev1.UserView_USER_VIEW_FULL),
	} {
		if other == base() {
			t.Errorf("the digest does not depend on the %s", name)
		}
	}
}

// FuzzPageToken gives tokens that nobody made: each is refused with the field's
// name, or stands for a place whose token stands for the same place.
func FuzzPageToken(f *testing.F) {
	for _, c := range []cursor{{}, {Offset: 500}, {After: "user_1", CreatedAt: 1, Seen: []string{"user_2"}}} {
		token, err := encodeToken(0, c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(token)
	}
	f.Add(base64.RawURLEncoding.EncodeToString([]byte(`{"v":1,"a":0}`)))
	f.Fuzz(func(t *testing.T, token string) {
		got, err := decodeToken("page_token", token, 0)
		if err != nil {
			var param *clerkapi.ParamError
			if !errors.As(err, &param) || param.Field != "page_token" {
				t.Fatalf("error %v", err)
			}
			return
		}
		again, err := encodeToken(0, got)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := decodeToken("page_token", again, 0); err != nil || !cmp.Equal(same, got) {
			t.Fatalf("%v became %v, %v", got, same, err)
		}
	})
}
