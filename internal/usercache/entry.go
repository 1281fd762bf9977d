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

// Entry is a copy of a user, or the knowledge that there is none, as it is kept
// and sent: encoded. It is immutable.
//
// A user's encoded fields are in two pieces, so that what only FULL shows is
// apart: public is what BASIC shows, and its first `shared` bytes are those
// fields that FULL shows just so; FULL is these and then private. Encoded
// messages may be joined, so each view is one run of bytes or two.
type Entry struct {
	public  []byte
	private []byte
	shared  int
	// hasPrivate tells an entry that has all FULL needs from one that was read
	// for BASIC only.
	hasPrivate bool
	// outdated: an invalidation, or a webhook of a newer version, has made the
	// copy old. It is kept so that nothing older takes its place: see place.
	outdated bool

	Missing   bool               // there is no such user
	Deleted   bool               // ... and never will be: a webhook has told of its deletion
	UpdatedAt int64              // the user's updated_at, in Unix ms
	Stamp     uint64             // the sequence number when the request left that brought it
	Origin    clerkgatev1.Origin // who brought it
	// fetched is when that request left, or the webhook's event happened. It has a
	// monotonic reading, so that setting the clock changes no age.
	fetched time.Time
	// asOf is when the copy was last known to be good: when the request left that
	// brought it from Clerk or from Redis, or when a webhook told of it.
	asOf time.Time
	// origin is the stamp of the request that brought the entry, where that is
	// known: Stamp is higher once a webhook has confirmed the copy. 0: a webhook
	// brought it, or it was read from Redis.
	origin uint64

	reads      atomic.Uint32 // since it came into memory
	refreshing atomic.Bool   // a newer copy has been asked for
}

// FetchTime returns when the request left that brought the entry, or when the event
// happened that told of it.
func (e *Entry) FetchTime() time.Time { return e.fetched }

// outdatedBy reports whether an invalidation or an event with the number seq has
// made the entry old. One with a higher stamp may all the same: numbers are drawn
// before what they stand for is done, so two that come together can overtake each
// other, and only a request's own departure surely came after a lower number.
func (e *Entry) outdatedBy(seq uint64) bool {
	return !e.Deleted && e.Stamp != seq && e.origin < seq
}

// clone returns a copy of the entry that nobody has read yet.
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

// madeOld returns the entry as an outdated one.
func (e *Entry) madeOld() *Entry {
	c := e.clone()
	c.outdated = true
	return c
}

// confirmedBy returns the entry after Clerk, asked later, has answered with an older
// version: Clerk lags behind what it told before, and the entry is the newest that
// there is.
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

// Encode makes an entry of a user that was fetched, or told of, at the given time.
// u is not kept.
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

// missing makes an entry of the knowledge that there is no such user.
func missing(stamp uint64, fetched time.Time) *Entry {
	return &Entry{
		Missing: true, hasPrivate: true, Stamp: stamp, origin: stamp,
		fetched: fetched, asOf: fetched, Origin: clerkgatev1.Origin_ORIGIN_CLERK,
	}
}

// tombstone makes an entry of a user's deletion, told at the time given.
func tombstone(stamp uint64, told time.Time) *Entry {
	return &Entry{
		Missing: true, Deleted: true, hasPrivate: true, Stamp: stamp,
		fetched: told, asOf: told, Origin: clerkgatev1.Origin_ORIGIN_WEBHOOK,
	}
}

// Has reports whether the entry has all that the view needs.
func (e *Entry) Has(view clerkgatev1.UserView) bool {
	return e.hasPrivate || view != clerkgatev1.UserView_USER_VIEW_FULL
}

// Encoded returns the encoded clerkgate.v1.User that the view shows. It may be
// shared: never change it. BASIC, the view of nearly all calls, costs nothing.
// FULL is decoded and encoded again, to set what Clerk has none of: to keep it so
// would take memory for what is seldom read.
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

// split takes a user apart into the fields that both views show alike, and, if
// there are any others, those fields as BASIC and as FULL shows them.
func split(u *clerkgatev1.User) (shared, basic, full *clerkgatev1.User) {
	public := Basic(u)
	if public == u {
		return u, nil, nil
	}
	// public is a copy of ours: fields that differ move from it into parts.
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

// move moves a list into the parts if any of its verifications holds a secret.
func move[T interface {
	GetVerification() *clerkgatev1.Verification
}](list []T, shared, basic, full *[]T) {
	if !each(list, func(v *clerkgatev1.Verification) bool { return !secret(v) }) {
		*full, *basic, *shared = list, *shared, nil
	}
}

// entryVersion is the version of the form in which entries are stored.
const entryVersion = 3

const (
	flagMissing = 1 << iota
	flagDeleted
	flagWebhook
)

var errEntry = errors.New("not a stored entry")

// marshal returns the entry in the form in which it is stored: what BASIC needs,
// and apart from it what only FULL needs. Its stamp and age are stored beside it.
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

// unmarshal reads what marshal returned. A nil private makes an entry for BASIC only.
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
