package server

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

// The numbers of the fields that hold a user.
const (
	userOfGet    protowire.Number = 1 // GetUserResponse.user
	userOfResult protowire.Number = 2 // LookupResult.user
)

// putUser makes an entry's user the field of m with the given number, without
// decoding it. The bytes go among m's unknown fields, which are sent as they
// are, behind the known ones; to whoever receives m they are the field. In this
// process m.GetUser() stays nil.
func putUser(m proto.Message, field protowire.Number, e *usercache.Entry, view clerkgatev1.UserView) error {
	user, err := e.Encoded(view)
	if err != nil {
		return err
	}
	b := make([]byte, 0, protowire.SizeTag(field)+protowire.SizeBytes(len(user)))
	b = protowire.AppendTag(b, field, protowire.BytesType)
	m.ProtoReflect().SetUnknown(protowire.AppendBytes(b, user))
	return nil
}

// hasUser reports whether putUser has put a user into m.
func hasUser(m proto.Message) bool { return len(m.ProtoReflect().GetUnknown()) > 0 }
