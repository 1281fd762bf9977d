package server

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

// Numbers of the fields that contain a user.
const (
	userOfGet    protowire.Number = 1 // GetUserResponse.user
	userOfResult protowire.Number = 2 // LookupResult.user
)

// putUser sets the field of m with the given number to an entry's user, without decoding
// it unless the caller may see only some parts of FULL. The bytes become an unknown field
// of m, which protobuf sends unchanged; receivers decode it as the field. In this process
// m.GetUser() stays nil.
func putUser(m proto.Message, field protowire.Number, e *usercache.Entry, view clerkgatev1.UserView, parts caller.Parts) error {
	user, err := e.Encoded(view)
	if err == nil && view == clerkgatev1.UserView_USER_VIEW_FULL && parts != caller.AllParts {
		user, err = encodedParts(user, parts)
	}
	if err != nil {
		return err
	}
	b := make([]byte, 0, protowire.SizeTag(field)+protowire.SizeBytes(len(user)))
	b = protowire.AppendTag(b, field, protowire.BytesType)
	m.ProtoReflect().SetUnknown(protowire.AppendBytes(b, user))
	return nil
}

// encodedParts returns an encoded user without the fields of FULL outside parts.
func encodedParts(encoded []byte, parts caller.Parts) ([]byte, error) {
	var u clerkgatev1.User
	if err := proto.Unmarshal(encoded, &u); err != nil {
		return nil, err
	}
	hide(&u, parts)
	return proto.Marshal(&u)
}

// hasUser reports whether putUser was called for m.
func hasUser(m proto.Message) bool { return len(m.ProtoReflect().GetUnknown()) > 0 }
