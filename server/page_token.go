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

// tokenVersion is raised when tokens change their meaning.
const tokenVersion = 2

// maxAnchors is the maximum of cursor.Anchors: as many ids as one lookup can carry.
const maxAnchors = clerkapi.MaxLookup

// cursor is a place in a list: behind the last user that was sent. The zero
// value is the beginning.
type cursor struct {
	// After is the id of the last user, in lists by created_at.
	After string `json:"i,omitempty"`
	// CreatedAt is when that user was created, in Unix milliseconds.
	CreatedAt int64 `json:"c,omitempty"`
	// Tied is how many users were sent who were created at that time.
	Tied int `json:"t,omitempty"`
	// Anchors are the ids of the users sent before, the latest maxAnchors of them,
	// the latest last. The list can go on behind any of them.
	Anchors []string `json:"s,omitempty"`
	// Offset is how many users were sent, in lists by other orders.
	Offset int `json:"o,omitempty"`
}

// valid reports whether the cursor holds ids of different users, or none.
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

// binding is what a token is good for.
type binding struct {
	Args     uint64 `json:"a"` // digest of the list's arguments
	Instance uint32 `json:"n"` // digest of the Clerk instance's name
}

// pageToken is what a token holds.
type pageToken struct {
	Version int `json:"v"`
	binding
	cursor
}

// encodeToken returns the token of a place in a list: JSON and a checksum, in
// URL-safe base64 without padding.
func encodeToken(b binding, c cursor) (string, error) {
	body, err := json.Marshal(pageToken{tokenVersion, b, c})
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(body, crc32.ChecksumIEEE(body))), nil
}

// decodeToken returns the place that a token stands for. field names the token in
// errors. A token of another version or instance is errTokenOutdated, so that
// neither a rolling upgrade nor a new instance looks like the caller's mistake.
func decodeToken(field, token string, b binding) (cursor, error) {
	damaged := invalid(field, "is damaged; give the token as it was received")
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
		return cursor{}, invalid(field, "was made for another method, filter, order or view; give the same as before")
	}
	return t.cursor, nil
}

// instanceDigest stands for the name of a Clerk instance.
func instanceDigest(name string) uint32 { return crc32.ChecksumIEEE([]byte(name)) }

// argsDigest stands for the arguments that a token is bound to.
func argsDigest(method string, filter *clerkgatev1.UserFilter, order string, view clerkgatev1.UserView) uint64 {
	h := sha256.New()
	h.Write([]byte(method + "\x00" + order + "\x00" + view.String() + "\x00"))
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(filter)
	if err != nil {
		// Only bad UTF-8 fails, which no message that was received can hold.
		panic(err)
	}
	h.Write(encoded)
	return binary.BigEndian.Uint64(h.Sum(nil))
}
