package server

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"

	"google.golang.org/protobuf/proto"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// tokenVersion is the version of tokens. Raise it when their meaning changes.
const tokenVersion = 2

// maxAnchors is the maximum of cursor.Anchors: as many ids as one lookup can carry.
const maxAnchors = clerkapi.MaxLookup

// cursor is a position in a list, after the last user that was sent. The zero value is
// the beginning.
type cursor struct {
	// After is the id of the last user, in lists by created_at.
	After string `json:"i,omitempty"`
	// CreatedAt is that user's created_at, in Unix milliseconds.
	CreatedAt int64 `json:"c,omitempty"`
	// Tied is the number of users sent with that created_at.
	Tied int `json:"t,omitempty"`
	// Anchors are the ids of the last maxAnchors users sent before, oldest first. The
	// list can continue after any of them.
	Anchors []string `json:"s,omitempty"`
	// Offset is the number of users sent, in lists by other orders.
	Offset int `json:"o,omitempty"`
}

// valid reports whether the cursor has no duplicate or invalid ids.
func (c cursor) valid() bool {
	if c.After == "" {
		return len(c.Anchors) == 0
	}
	seen := map[string]bool{c.After: true}
	for _, id := range c.Anchors {
		if seen[id] || !clerkapi.ValidUserID(id) {
			return false
		}
		seen[id] = true
	}
	return clerkapi.ValidUserID(c.After) && len(c.Anchors) <= maxAnchors
}

// binding identifies the list and the instance that a token is valid for.
type binding struct {
	Args     uint64 `json:"a"` // digest of the list's arguments
	Instance uint32 `json:"n"` // digest of the Clerk instance's name
}

// pageToken is the content of a token.
type pageToken struct {
	Version int `json:"v"`
	binding
	cursor
}

// encodeToken returns the token of a cursor: JSON and a checksum, in URL-safe base64
// without padding.
func encodeToken(b binding, c cursor) (string, error) {
	body, err := json.Marshal(pageToken{tokenVersion, b, c})
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(body, crc32.ChecksumIEEE(body))), nil
}

// decodeToken returns the cursor in a token. field is the token's name in errors. For a
// token of another version or instance the error is errTokenOutdated, so that neither a
// rolling upgrade nor a new instance looks like the caller's mistake.
func decodeToken(field, token string, b binding) (cursor, error) {
	damaged := invalid(field, "is damaged; send the token as it was received")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) < crc32.Size {
		return cursor{}, damaged
	}
	body, sum := raw[:len(raw)-crc32.Size], raw[len(raw)-crc32.Size:]
	if binary.BigEndian.Uint32(sum) != crc32.ChecksumIEEE(body) {
		return cursor{}, damaged
	}
	var version struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal(body, &version); err == nil && version.Version != tokenVersion {
		return cursor{}, errTokenOutdated
	}
	var t pageToken
	if err := json.Unmarshal(body, &t); err != nil || t.Offset < 0 || !t.cursor.valid() {
		return cursor{}, damaged
	}
	if t.Instance != b.Instance {
		return cursor{}, errTokenOutdated
	}
	if t.Args != b.Args {
		return cursor{}, invalid(field, "was made for another method, filter, order or view; send the same as before")
	}
	return t.cursor, nil
}

// instanceDigest returns a digest of the name of a Clerk instance.
func instanceDigest(name string) uint32 { return crc32.ChecksumIEEE([]byte(name)) }

// argsDigest returns a digest of the arguments that a token is bound to.
func argsDigest(method string, filter *clerkgatev1.UserFilter, order string, view clerkgatev1.UserView) uint64 {
	h := sha256.New()
	h.Write([]byte(method + "\x00" + order + "\x00" + view.String() + "\x00"))
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(filter)
	if err != nil {
		// Only invalid UTF-8 fails, which received messages can't contain.
		panic(err)
	}
	h.Write(encoded)
	return binary.BigEndian.Uint64(h.Sum(nil))
}
