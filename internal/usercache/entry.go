package usercache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// Entry is an encoded copy of a user, or of the fact that there is none, in the form in
// which it is stored and sent. It is immutable.
//
// A user's encoded fields are in two parts, to separate the private ones. public contains
// the fields of BASIC; its first `shared` bytes are the fields that are equal in FULL.
// FULL is these followed by private. Encoded messages can be concatenated, so each view
// is one or two runs of bytes.
type Entry struct {
	public  []byte
	private []byte
	shared  int
	// hasPrivate is false for an entry that was read for BASIC only.
	hasPrivate bool
	// outdated is set when an invalidation, or a webhook with a newer version, has made
	// the copy old. The copy is kept so that nothing older replaces it: see place.
	outdated bool

	Missing   bool               // there is no such user
	Deleted   bool               // ... because it was deleted, according to a webhook
	UpdatedAt int64              // the user's updated_at, in Unix ms
	Stamp     uint64             // the last known number when the request left
	Origin    clerkgatev1.Origin // the origin of the copy
	// fetched is when the request left, or when the webhook's event happened. It has a
	// monotonic reading, so setting the clock changes no age.
	fetched time.Time
	// asOf is when the copy was last known to be good: when the request to Clerk or Redis
	// left, or when a webhook was received.
	asOf time.Time
	// origin is the stamp of the request that fetched the entry, if known. Stamp is
	// higher once a webhook has confirmed the copy. It is 0 for a copy from a webhook or
	// from Redis.
	origin uint64

	reads      atomic.Uint32 // since it entered memory
	refreshing atomic.Bool   // a refresh was requested
}

// FetchTime returns when the request left, or when the webhook's event happened.
func (e *Entry) FetchTime() time.Time { return e.fetched }

// outdatedBy reports whether an invalidation or an event with the number seq has made the
// entry old. That may be so even if the entry's stamp is higher: numbers are drawn before
// the change that they stand for, so two concurrent changes can overtake each other. Only
// the departure of a request is certain to come after a lower number.
func (e *Entry) outdatedBy(seq uint64) bool {
	return !e.Deleted && e.Stamp != seq && e.origin < seq
}

// clone returns a copy of the entry that has not been read yet.
func (e *Entry) clone() *Entry {
	return &Entry{
		public: e.public, private: e.private, shared: e.shared, hasPrivate: e.hasPrivate, outdated: e.outdated,
		Missing: e.Missing, Deleted: e.Deleted, UpdatedAt: e.UpdatedAt, Stamp: e.Stamp, Origin: e.Origin,
		fetched: e.fetched, asOf: e.asOf, origin: e.origin,
	}
}

// stamped returns the entry with another stamp.
func (e *Entry) stamped(stamp uint64) *Entry {
	c := e.clone()
	c.Stamp = stamp
	return c
}

// madeOld returns the entry marked as outdated.
func (e *Entry) madeOld() *Entry {
	c := e.clone()
	c.outdated = true
	return c
}

// confirmedBy returns the entry after a later request to Clerk returned an older version:
// Clerk lags behind, and the entry is the newest version.
func (e *Entry) confirmedBy(later *Entry) *Entry {
	c := e.clone()
	c.outdated = false
	c.Stamp, c.origin = max(e.Stamp, later.Stamp), max(e.origin, later.origin)
	if later.fetched.After(e.fetched) {
		c.fetched = later.fetched
	}
	if later.asOf.After(e.asOf) {
		c.asOf = later.asOf
	}
	return c
}

// Encode returns an entry of a user that was fetched at the given time. It does not keep
// u.
func Encode(u *clerkgatev1.User, stamp uint64, fetched time.Time, by clerkgatev1.Origin) (*Entry, error) {
	e := &Entry{
		hasPrivate: true,
		UpdatedAt:  u.GetUpdatedAt().AsTime().UnixMilli(),
		Stamp:      stamp,
		fetched:    fetched,
		asOf:       fetched,
		Origin:     by,
	}
	if by == clerkgatev1.Origin_ORIGIN_CLERK {
		e.origin = stamp
	}
	shared, basic, full := split(u)
	var err error
	if e.public, err = proto.Marshal(shared); err != nil {
		return nil, err
	}
	e.shared = len(e.public)
	if basic != nil {
		if e.public, err = (proto.MarshalOptions{}).MarshalAppend(e.public, basic); err != nil {
			return nil, err
		}
		if e.private, err = proto.Marshal(full); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// missing returns an entry for the fact that there is no such user.
func missing(stamp uint64, fetched time.Time) *Entry {
	return &Entry{
		Missing: true, hasPrivate: true, Stamp: stamp, origin: stamp,
		fetched: fetched, asOf: fetched, Origin: clerkgatev1.Origin_ORIGIN_CLERK,
	}
}

// tombstone returns an entry for a deletion that was received at the given time.
func tombstone(stamp uint64, received time.Time) *Entry {
	return &Entry{
		Missing: true, Deleted: true, hasPrivate: true, Stamp: stamp,
		fetched: received, asOf: received, Origin: clerkgatev1.Origin_ORIGIN_WEBHOOK,
	}
}

// Has reports whether the entry has all fields of the view.
func (e *Entry) Has(view clerkgatev1.UserView) bool {
	return e.hasPrivate || view != clerkgatev1.UserView_USER_VIEW_FULL
}

// Encoded returns the encoded clerkgate.v1.User of the view. It may be shared and must
// not be modified. BASIC, the view of nearly all calls, costs nothing. FULL is decoded
// and encoded again, to set private fields that are empty; storing them set would use
// memory for a rarely used view.
func (e *Entry) Encoded(view clerkgatev1.UserView) ([]byte, error) {
	if view != clerkgatev1.UserView_USER_VIEW_FULL {
		return e.public, nil
	}
	u := &clerkgatev1.User{}
	stored := append(append(make([]byte, 0, e.shared+len(e.private)), e.public[:e.shared]...), e.private...)
	if err := proto.Unmarshal(stored, u); err != nil {
		return nil, err
	}
	setFull(u)
	return proto.Marshal(u)
}

// split splits a user into the fields that are equal in both views and, if there are
// others, those fields in BASIC and in FULL.
func split(u *clerkgatev1.User) (shared, basic, full *clerkgatev1.User) {
	public := Basic(u)
	if public == u {
		return u, nil, nil
	}
	// public is a copy of this function: fields that differ move from it into the parts.
	basic = &clerkgatev1.User{}
	full = &clerkgatev1.User{PrivateMetadataJson: u.PrivateMetadataJson, ExtraJson: u.ExtraJson}
	move(u.EmailAddresses, &public.EmailAddresses, &basic.EmailAddresses, &full.EmailAddresses)
	move(u.PhoneNumbers, &public.PhoneNumbers, &basic.PhoneNumbers, &full.PhoneNumbers)
	move(u.Web3Wallets, &public.Web3Wallets, &basic.Web3Wallets, &full.Web3Wallets)
	move(u.Passkeys, &public.Passkeys, &basic.Passkeys, &full.Passkeys)
	move(u.ExternalAccounts, &public.ExternalAccounts, &basic.ExternalAccounts, &full.ExternalAccounts)
	move(u.SamlAccounts, &public.SamlAccounts, &basic.SamlAccounts, &full.SamlAccounts)
	move(u.EnterpriseAccounts, &public.EnterpriseAccounts, &basic.EnterpriseAccounts, &full.EnterpriseAccounts)
	if privateMemberships(u.OrganizationMemberships) {
		full.OrganizationMemberships = u.OrganizationMemberships
		basic.OrganizationMemberships, public.OrganizationMemberships = public.OrganizationMemberships, nil
	}
	return public, basic, full
}

// move moves a list into the parts if any of its verifications has a secret.
func move[T interface {
	GetVerification() *clerkgatev1.Verification
}](list []T, shared, basic, full *[]T) {
	if !each(list, func(v *clerkgatev1.Verification) bool { return !secret(v) }) {
		*full, *basic, *shared = list, *shared, nil
	}
}

// entryVersion is the version of the stored form.
const entryVersion = 3

const (
	flagMissing = 1 << iota
	flagDeleted
	flagWebhook
)

var errEntry = errors.New("not a stored entry")

// marshal returns the stored form of the entry: the part for BASIC, and the part for FULL
// only. The stamp and age are stored separately.
func (e *Entry) marshal() (public, private []byte) {
	b := make([]byte, 0, 32+len(e.public))
	var flags byte
	if e.Missing {
		flags |= flagMissing
	}
	if e.Deleted {
		flags |= flagDeleted
	}
	if e.Origin == clerkgatev1.Origin_ORIGIN_WEBHOOK {
		flags |= flagWebhook
	}
	b = append(b, entryVersion, flags)
	b = binary.AppendVarint(b, e.UpdatedAt)
	b = binary.AppendUvarint(b, uint64(e.shared))
	return append(b, e.public...), e.private
}

// unmarshal is the reverse of marshal. With a nil private it returns an entry for BASIC
// only.
func unmarshal(public, private []byte) (*Entry, error) {
	if len(public) < 2 || public[0] != entryVersion {
		return nil, errEntry
	}
	flags, b := public[1], public[2:]
	e := &Entry{
		Missing:    flags&flagMissing != 0,
		Deleted:    flags&flagDeleted != 0,
		Origin:     clerkgatev1.Origin_ORIGIN_CLERK,
		private:    private,
		hasPrivate: private != nil,
	}
	if flags&flagWebhook != 0 {
		e.Origin = clerkgatev1.Origin_ORIGIN_WEBHOOK
	}
	var shared uint64
	var n [2]int
	e.UpdatedAt, n[0] = binary.Varint(b)
	b = b[max(0, n[0]):]
	shared, n[1] = binary.Uvarint(b)
	b = b[max(0, n[1]):]
	if min(n[0], n[1]) <= 0 || shared > uint64(len(b)) {
		return nil, fmt.Errorf("%w: cut off", errEntry)
	}
	e.shared, e.public = int(shared), b
	if e.Missing {
		e.hasPrivate = true
	}
	return e, nil
}
