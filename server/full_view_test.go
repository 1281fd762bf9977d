package server

import (
	"errors"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
)

// fill sets every field of m, and two elements of lists.
func fill(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		value := func() protoreflect.Value {
			switch f.Kind() {
			case protoreflect.StringKind:
				return protoreflect.ValueOfString("text")
			case protoreflect.BoolKind:
				return protoreflect.ValueOfBool(true)
			case protoreflect.Int64Kind:
				return protoreflect.ValueOfInt64(7)
			case protoreflect.Int32Kind:
				return protoreflect.ValueOfInt32(7)
			}
			panic("no value for " + f.FullName())
		}
		switch {
		case f.IsList() && f.Message() != nil:
			list := m.Mutable(f).List()
			fill(list.AppendMutable().Message())
			fill(list.AppendMutable().Message())
		case f.IsList():
			m.Mutable(f).List().Append(value())
		case f.Message() != nil:
			fill(m.Mutable(f).Message())
		default:
			m.Set(f, value())
		}
	}
}

// countPrivate counts the fields in m that only FULL shows, and the others.
func countPrivate(m protoreflect.Message) (private, others int) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		count := func(v protoreflect.Value) {
			if f.Message() != nil {
				p, o := countPrivate(v.Message())
				private, others = private+p, others+o
				return
			}
			name := string(f.Name())
			secret := f.Parent().Name() == "Verification" &&
				(name == "nonce" || name == "message" || name == "external_verification_redirect_url")
			if strings.Contains(name, "private") || secret || name == "extra_json" {
				private++
			} else {
				others++
			}
		}
		if f.IsList() {
			for i := range v.List().Len() {
				count(v.List().Get(i))
			}
		} else {
			count(v)
		}
		return true
	})
	return private, others
}

func TestApplyView(t *testing.T) {
	u := &clerkgatev1.User{}
	fill(u.ProtoReflect())
	before := proto.CloneOf(u)
	private, others := countPrivate(u.ProtoReflect())
	// The user's own, two memberships with an organization each, two each of seven lists
	// with a verification of three secrets, and the extra fields.
	if want := 1 + 2*2 + 7*2*3 + 1; private != want {
		t.Fatalf("the user holds %d private fields, want %d", private, want)
	}

	basic := applyView(u, clerkgatev1.UserView_USER_VIEW_BASIC, caller.AllParts)
	if p, o := countPrivate(basic.ProtoReflect()); p != 0 || o != others {
		t.Errorf("BASIC shows %d private fields and %d of %d others", p, o, others)
	}
	if full := applyView(u, clerkgatev1.UserView_USER_VIEW_FULL, caller.AllParts); !proto.Equal(full, u) {
		t.Error("FULL shows another user")
	}
	if !proto.Equal(u, before) {
		t.Error("the shared user was changed")
	}
	if again := applyView(basic, clerkgatev1.UserView_USER_VIEW_BASIC, caller.AllParts); again != basic {
		t.Error("a user with nothing private was copied")
	}
	for name, only := range map[string]*clerkgatev1.User{
		"organization": {OrganizationMemberships: []*clerkgatev1.OrganizationMembership{{Organization: &clerkgatev1.Organization{PrivateMetadataJson: proto.String("{}")}}}},
		"redirect":     {EmailAddresses: []*clerkgatev1.UserEmailAddress{{Verification: &clerkgatev1.Verification{ExternalVerificationRedirectUrl: proto.String("u")}}}},
		"message":      {Web3Wallets: []*clerkgatev1.UserWeb3Wallet{{Verification: &clerkgatev1.Verification{Message: proto.String("m")}}}},
		"nonce":        {Passkeys: []*clerkgatev1.Passkey{{Verification: &clerkgatev1.Verification{Nonce: proto.String("n")}}}},
	} {
		if p, _ := countPrivate(applyView(only, clerkgatev1.UserView_USER_VIEW_BASIC, caller.AllParts).ProtoReflect()); p != 0 {
			t.Errorf("BASIC shows a lone private field of the %s", name)
		}
	}
}

// Fields of FULL are set in FULL only, even if Clerk has none.
func TestOnlyFullSetsWhatOnlyItShows(t *testing.T) {
	verification := func() *clerkgatev1.Verification { return &clerkgatev1.Verification{Status: "verified"} }
	u := userAt(1, 0)
	u.EmailAddresses = []*clerkgatev1.UserEmailAddress{{Verification: verification()}, {}}
	u.SamlAccounts = []*clerkgatev1.SamlAccount{{Verification: verification()}}
	u.OrganizationMemberships = []*clerkgatev1.OrganizationMembership{{Organization: &clerkgatev1.Organization{}}, {}}
	const want = 2 + 2*3 + 3
	entry := entryOf(u)
	for _, tt := range []struct {
		view clerkgatev1.UserView
		want int
	}{{clerkgatev1.UserView_USER_VIEW_BASIC, 0}, {clerkgatev1.UserView_USER_VIEW_FULL, want}} {
		encoded, err := entry.Encoded(tt.view)
		if err != nil {
			t.Fatal(err)
		}
		kept := &clerkgatev1.User{}
		if err := proto.Unmarshal(encoded, kept); err != nil {
			t.Fatal(err)
		}
		listed := applyView(u, tt.view, caller.AllParts)
		if p, _ := countPrivate(kept.ProtoReflect()); p != tt.want {
			t.Errorf("%v of a kept user sets %d, want %d", tt.view, p, tt.want)
		}
		if !proto.Equal(listed, kept) {
			t.Errorf("%v: listed %v, kept %v", tt.view, listed, kept)
		}
	}
	if p, _ := countPrivate(u.ProtoReflect()); p != 0 {
		t.Error("the shared user was changed")
	}
}

func TestCheckView(t *testing.T) {
	const (
		basic, full = clerkgatev1.UserView_USER_VIEW_BASIC, clerkgatev1.UserView_USER_VIEW_FULL
		istio       = "127.0.0.6" // the address of its sidecar's connections
	)
	for _, tt := range []struct {
		allowed FullView
		peer    string
		view    clerkgatev1.UserView
		want    clerkgatev1.UserView
		err     error
	}{
		{FullViewNone, "192.0.2.1", clerkgatev1.UserView_USER_VIEW_UNSPECIFIED, basic, nil},
		{FullViewNone, "192.0.2.1", basic, basic, nil},
		{FullViewNone, "192.0.2.1", full, 0, errNotAllowed},
		{FullViewNone, "127.0.0.1", full, 0, errNotAllowed},
		{FullViewNone, istio, full, 0, errNotAllowed},
		{FullViewNone, "unix", full, 0, errNotAllowed},
		{FullViewLoopback, "192.0.2.1", full, 0, errNotAllowed},
		{FullViewLoopback, "127.0.0.1", full, full, nil},
		{FullViewLoopback, "::1", full, full, nil},
		{FullViewLoopback, istio, full, full, nil},
		{FullViewLoopback, "unix", full, full, nil},
		{FullViewLoopback, "", full, 0, errNotAllowed},
		{FullViewAny, "192.0.2.1", full, full, nil},
		{FullViewAny, "127.0.0.1", basic, basic, nil},
		{FullViewAny, "", full, full, nil},
	} {
		ctx := t.Context()
		switch tt.peer {
		case "":
		case "unix":
			ctx = peer.NewContext(ctx, &peer.Peer{Addr: &net.UnixAddr{Net: "unix"}})
		default:
			ctx = fromPeer(ctx, tt.peer)
		}
		got, err := (&userService{fullView: tt.allowed}).checkView(ctx, tt.view)
		if !errors.Is(err, tt.err) || err == nil && got != tt.want {
			t.Errorf("%v from %q where %v may have FULL: %v, %v", tt.view, tt.peer, tt.allowed, got, err)
		}
	}
	if _, err := (&userService{fullView: FullViewAny}).checkView(t.Context(), 9); err == nil || classify(err).field != "view" {
		t.Errorf("a view that there is not: %v", err)
	}
}
