package server

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

func TestPageToken(t *testing.T) {
	want := cursor{After: "user_1", CreatedAt: 1_700_000_000_000, Tied: 2, Anchors: []string{"user_2", "user_3"}}
	token, err := encodeToken(binding{Args: 7}, want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeToken("page_token", token, binding{Args: 7}); err != nil || !cmp.Equal(got, want) {
		t.Fatalf("got %v, %v", got, err)
	}
	if strings.Trim(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		t.Errorf("token %q is not fit for a URL", token)
	}
	refused := func(name, token string, args uint64) {
		t.Helper()
		var param *clerkapi.ParamError
		if _, err := decodeToken("page_token", token, binding{Args: args}); !errors.As(err, &param) || param.Field != "page_token" {
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
		"offset below 0": {Offset: -1}, "an id that excludes": {After: "-user_1"}, "too many ids": {After: "user_x", Anchors: idsOf(usersAt(make([]int64, maxAnchors+1)...))},
		"an anchor that is no id": {After: "user_1", Anchors: []string{"-user_2"}}, "an anchor twice": {After: "user_1", Anchors: []string{"user_2", "user_2"}},
		"the last among the anchors": {After: "user_1", Anchors: []string{"user_1"}}, "anchors of nothing": {Anchors: []string{"user_1"}},
	} {
		forged, err := encodeToken(binding{Args: 7}, c)
		if err != nil {
			t.Fatal(err)
		}
		refused(name, forged, 7)
	}
}

func TestTokenOfAnotherVersionOrInstance(t *testing.T) {
	other, err := encodeToken(binding{7, 1}, cursor{Offset: 3})
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"v":99,"where":"unknown"}`)
	later := base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(body, crc32.ChecksumIEEE(body)))
	for name, token := range map[string]string{"instance": other, "version": later} {
		_, err := decodeToken("page_token", token, binding{7, 2})
		if f := classify(err); f.code != codes.Aborted || f.reasonName() != "TOKEN_OUTDATED" || f.field != "" {
			t.Errorf("of another %s: %+v", name, f)
		}
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

// FuzzPageToken decodes arbitrary tokens: each is refused with the field's name, or has a
// cursor whose token has the same cursor.
func FuzzPageToken(f *testing.F) {
	for _, c := range []cursor{{}, {Offset: 500}, {After: "user_1", CreatedAt: 1, Anchors: []string{"user_2"}}} {
		token, err := encodeToken(binding{}, c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(token)
	}
	f.Add(base64.RawURLEncoding.EncodeToString([]byte(`{"v":1,"a":0}`)))
	f.Fuzz(func(t *testing.T, token string) {
		got, err := decodeToken("page_token", token, binding{})
		if err != nil {
			var param *clerkapi.ParamError
			if !errors.Is(err, errTokenOutdated) && (!errors.As(err, &param) || param.Field != "page_token") {
				t.Fatalf("error %v", err)
			}
			return
		}
		again, err := encodeToken(binding{}, got)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := decodeToken("page_token", again, binding{}); err != nil || !cmp.Equal(same, got) {
			t.Fatalf("%v became %v, %v", got, same, err)
		}
	})
}
