package clerksim

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/brianvoe/gofakeit/v7"
)

const (
	organizations = 50                    // the companies of the seeded users
	fullEvery     = 50                    // every 50th user has all nested objects
	importEvery   = 500                   // of each group of this many consecutive users,
	imported      = 20                    // this many were imported together, with one created_at
	history       = 2 * 365 * 24 * 3600e3 // age of the first users, in ms
	day           = 24 * 3600e3           // in ms
)

// seeder generates users. The same seed generates the same users, however many; their
// times are relative to now.
type seeder struct {
	rng   *rand.Rand
	fake  *gofakeit.Faker
	now   int64 // Unix ms
	orgs  []Organization
	taken map[string]bool // email addresses and usernames
	made  int
	batch int64 // created_at of the current import
}

func newSeeder(seed uint64, now time.Time) *seeder {
	src := rand.NewPCG(seed, 1)
	s := &seeder{
		rng:   rand.New(src),
		fake:  gofakeit.NewFaker(src, false),
		now:   now.UnixMilli(),
		taken: map[string]bool{},
	}
	for range organizations {
		s.orgs = append(s.orgs, s.organization())
	}
	return s
}

// user generates the next user.
func (s *seeder) user() *User {
	i := s.made
	s.made++
	created := s.now - 1 - s.rng.Int64N(history)
	if i%importEvery == 0 {
		s.batch = created
	}
	if i%importEvery < imported {
		created = s.batch
	}
	u := &User{
		ID:                        s.id("user"),
		Object:                    "user",
		FirstName:                 s.maybe(0.95, s.fake.FirstName()),
		LastName:                  s.maybe(0.95, s.fake.LastName()),
		ExternalID:                s.maybe(0.4, fmt.Sprintf("customer-%06d", i)),
		Locale:                    s.maybe(0.7, s.pick("en-US", "en-GB", "de-DE", "fr-FR", "pt-BR", "ja-JP", "es-MX")),
		HasImage:                  s.chance(0.3),
		PhoneNumbers:              []PhoneNumber{},
		Web3Wallets:               []Web3Wallet{},
		Passkeys:                  []Passkey{},
		ExternalAccounts:          []ExternalAccount{},
		SAMLAccounts:              []SAMLAccount{},
		EnterpriseAccounts:        []EnterpriseAccount{},
		PasswordEnabled:           s.chance(0.7),
		Banned:                    s.chance(0.02),
		Locked:                    s.chance(0.01),
		Deprovisioned:             s.chance(0.005),
		DeleteSelfEnabled:         s.chance(0.9),
		CreateOrganizationEnabled: s.chance(0.8),
		BypassClientTrust:         s.chance(0.02),
		CreatedAt:                 created,
		UpdatedAt:                 s.between(created, s.now),
	}
	u.ImageURL = s.imageURL()
	u.ProfileImageURL = u.ImageURL
	if s.chance(0.85) {
		active := s.between(created, s.now)
		u.LastActiveAt = &active
		u.LastSignInAt = new(s.between(created, active))
	}
	if u.PasswordEnabled {
		u.PasswordLastUpdatedAt = new(s.between(created, s.now))
	}
	if s.chance(0.6) {
		u.LegalAcceptedAt = &u.CreatedAt
	}
	if s.chance(0.3) {
		u.CreateOrganizationsLimit = new(s.rng.Int64N(6))
	}
	if u.Locked {
		u.LockoutExpiresInSeconds = new(1 + s.rng.Int64N(3600))
		u.VerificationAttemptsRemaining = new(int64(0))
	} else if s.chance(0.5) {
		u.VerificationAttemptsRemaining = new(int64(100))
	}
	s.addEmail(u)
	if s.chance(0.6) {
		u.Username = new(s.username(u))
	}
	if s.chance(0.3) {
		s.addPhone(u, i)
	}
	if s.chance(0.2) {
		s.addExternalAccount(u, "google_account", "oauth_google")
	}
	for range s.rng.IntN(7) - 3 {
		s.join(u)
	}
	s.addMetadata(u)
	if i%fullEvery == 0 {
		s.fill(u, i)
	}
	return u
}

func (s *seeder) addEmail(u *User) {
	name := letters(deref(u.FirstName)+"."+deref(u.LastName), ".")
	if name == "" {
		name = letters(s.fake.Adjective()+"."+s.fake.Noun(), ".")
	}
	domain := s.pick("example.com", "example.net", "example.org", "mail.example", "post.example")
	address := s.untaken(name, "@"+domain)
	e := EmailAddress{
		ID:           s.id("idn"),
		Object:       "email_address",
		EmailAddress: address,
		Verification: &Verification{Object: "verification_otp", Status: "verified", Strategy: "email_code", Attempts: new(1 + s.rng.Int64N(3)), ExpireAt: new(u.CreatedAt + 600e3)},
		LinkedTo:     []LinkedIdentification{},
		CreatedAt:    u.CreatedAt,
		UpdatedAt:    u.CreatedAt,
	}
	if s.chance(0.1) {
		e.Verification = nil
	}
	u.EmailAddresses = append(u.EmailAddresses, e)
	u.PrimaryEmailAddressID = &e.ID
}

// username derives a username from the user's email address.
func (s *seeder) username(u *User) string {
	name, _, _ := strings.Cut(u.EmailAddresses[0].EmailAddress, "@")
	return s.untaken(name, "")
}

// untaken returns name and end, with a number between them if that is taken.
func (s *seeder) untaken(name, end string) string {
	text := name + end
	for n := 2; s.taken[text]; n++ {
		text = name + strconv.Itoa(n) + end
	}
	s.taken[text] = true
	return text
}

func (s *seeder) addPhone(u *User, i int) {
	p := PhoneNumber{
		ID:           s.id("idn"),
		Object:       "phone_number",
		PhoneNumber:  fmt.Sprintf("+1%03d555%04d", 201+i/10000%799, i%10000), // unique
		Verification: &Verification{Object: "verification_otp", Status: "verified", Strategy: "phone_code", Channel: "sms", Attempts: new(int64(1)), ExpireAt: new(u.CreatedAt + 600e3)},
		LinkedTo:     []LinkedIdentification{},
		CreatedAt:    u.CreatedAt,
		UpdatedAt:    u.CreatedAt,
	}
	u.PhoneNumbers = append(u.PhoneNumbers, p)
	u.PrimaryPhoneNumberID = &p.ID
}

// addExternalAccount adds an account that is linked to the user's primary email address.
func (s *seeder) addExternalAccount(u *User, object, provider string) {
	a := ExternalAccount{
		Object:               object,
		ID:                   s.id("eac"),
		Provider:             provider,
		IdentificationID:     s.id("idn"),
		ProviderUserID:       fmt.Sprint(1e17 + s.rng.Int64N(9e17)),
		ApprovedScopes:       "email openid profile",
		EmailAddress:         u.EmailAddresses[0].EmailAddress,
		EmailAddressVerified: new(true),
		FirstName:            deref(u.FirstName),
		LastName:             deref(u.LastName),
		AvatarURL:            "https://avatars.example/" + s.text(16),
		PublicMetadata:       json.RawMessage(`{}`),
		CreatedAt:            u.CreatedAt,
		UpdatedAt:            u.UpdatedAt,
		Verification:         &Verification{Object: "verification_oauth", Status: "verified", Strategy: provider, ExpireAt: new(u.CreatedAt + 600e3)},
	}
	u.ExternalAccounts = append(u.ExternalAccounts, a)
	e := &u.EmailAddresses[0]
	e.LinkedTo = append(e.LinkedTo, LinkedIdentification{Type: provider, ID: a.IdentificationID})
}

// join adds a membership in an organization, unless the user has one.
func (s *seeder) join(u *User) {
	org := s.orgs[s.rng.IntN(len(s.orgs))]
	for _, id := range u.OrganizationIDs {
		if id == org.ID {
			return
		}
	}
	u.OrganizationIDs = append(u.OrganizationIDs, org.ID)
}

func (s *seeder) addMetadata(u *User) {
	u.PublicMetadata = raw(map[string]any{"plan": s.pick("free", "team", "business"), "onboarded": s.chance(0.8)})
	u.PrivateMetadata = raw(map[string]any{"billing_id": "cus_" + s.text(14), "score": s.rng.IntN(1000)})
	u.UnsafeMetadata = json.RawMessage(`{}`)
	if s.chance(0.5) {
		u.UnsafeMetadata = raw(map[string]any{"theme": s.pick("dark", "light"), "city": s.fake.City(), "job": s.fake.JobTitle()})
	}
}

func (s *seeder) organization() Organization {
	name := s.fake.Company()
	created := s.now - s.rng.Int64N(history)
	return Organization{
		ID:                                   s.id("org"),
		Object:                               "organization",
		Name:                                 name,
		Slug:                                 letters(name, "-"),
		ImageURL:                             new(s.imageURL()),
		HasImage:                             s.chance(0.5),
		MembersCount:                         new(1 + s.rng.Int64N(200)),
		PendingInvitationsCount:              new(s.rng.Int64N(5)),
		MissingMemberWithElevatedPermissions: new(false),
		MaxAllowedMemberships:                s.rng.Int64N(3) * 100,
		AdminDeleteEnabled:                   s.chance(0.5),
		RoleSetKey:                           new("role_set:default"),
		PublicMetadata:                       raw(map[string]any{"industry": s.fake.BuzzWord()}),
		PrivateMetadata:                      raw(map[string]any{"contract": "C-" + s.text(8)}),
		CreatedBy:                            new(s.id("user")),
		CreatedAt:                            created,
		UpdatedAt:                            s.between(created, s.now),
		LastActiveAt:                         new(s.between(created, s.now)),
	}
}

func (s *seeder) id(of string) string { return randomID(s.rng, of) }

func (s *seeder) text(n int) string { return randomText(s.rng, n) }

func (s *seeder) imageURL() string { return "https://img.clerk.com/" + s.text(32) }

func (s *seeder) chance(p float64) bool { return s.rng.Float64() < p }

// maybe returns v with probability p, otherwise nil.
func (s *seeder) maybe(p float64, v string) *string {
	if s.chance(p) {
		return &v
	}
	return nil
}

func (s *seeder) pick(of ...string) string { return of[s.rng.IntN(len(of))] }

// between returns a random time from a to b, in Unix ms.
func (s *seeder) between(a, b int64) int64 { return a + s.rng.Int64N(b-a+1) }

// letters returns text in lower case, with each run of other characters than ASCII
// letters and digits replaced by sep.
func letters(text, sep string) string {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	return strings.Join(words, sep)
}

func deref(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

func raw(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // called with literals of this package only
	}
	return text
}
