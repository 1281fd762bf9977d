package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	svix "github.com/svix/svix-webhooks/go"

	"github.com/clerkgate/clerkgate/clerkapi"
)

const (
	secretPrefix = "whsec_"
	minSecret    = 24              // characters after the prefix, 16 bytes in base64
	tolerance    = 5 * time.Minute // between a signature's time and ours
	maxID        = 256             // characters of a svix-id
)

// CheckSecret says what is wrong with a signing secret. It wants what Clerk's
// dashboard shows: "whsec_" and at least 16 bytes in base64. While one secret
// replaces another there may be several, with white space or commas between
// them; events signed with any of them are taken. The error shows nothing of it.
func CheckSecret(text string) error {
	_, err := parseSecret(text)
	return err
}

// parseSecret gives a verifier for each of the secrets.
func parseSecret(text string) ([]*svix.Webhook, error) {
	secrets := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	if len(secrets) == 0 {
		return nil, errors.New("there is none")
	}
	var verifiers []*svix.Webhook
	for i, secret := range secrets {
		if err := clerkapi.CheckPlain(secret); err != nil {
			return nil, fmt.Errorf("number %d: %w", i+1, err)
		}
		encoded, ok := strings.CutPrefix(secret, secretPrefix)
		if !ok || len(encoded) < minSecret {
			return nil, fmt.Errorf("number %d is not %s and then at least %d characters of base64", i+1, secretPrefix, minSecret)
		}
		v, err := svix.NewWebhook(secret)
		if err != nil {
			return nil, fmt.Errorf("number %d: %w", i+1, err)
		}
		verifiers = append(verifiers, v)
	}
	return verifiers, nil
}

// verify reports whether any of the secrets has signed the delivery.
func verify(verifiers []*svix.Webhook, d delivery) bool {
	header := http.Header{}
	header.Set("svix-id", d.id)
	header.Set("svix-timestamp", d.timestamp)
	header.Set("svix-signature", d.signature)
	for _, v := range verifiers {
		if v.VerifyIgnoringTimestamp(d.body, header) == nil {
			return true
		}
	}
	return false
}

// delivery is an event as it was sent this time.
type delivery struct {
	id        string    // the same each time it is sent
	sent      time.Time // when it was signed, in whole seconds
	timestamp string    // the same, as it was signed
	signature string
	body      []byte
}

// headerPrefixes begin the names of the headers of a delivery: Svix's own, and those
// of https://www.standardwebhooks.com, which count if there are none of Svix's.
var headerPrefixes = []string{"svix-", "webhook-"}

// parseHeader reads what the header says of a delivery.
func parseHeader(header http.Header) (delivery, bool) {
	prefix := headerPrefixes[0]
	if !hasAny(header, prefix) {
		prefix = headerPrefixes[1]
	}
	values := map[string]string{}
	for _, name := range headerNames {
		all := header.Values(prefix + name)
		if len(all) != 1 {
			return delivery{}, false
		}
		values[name] = all[0]
	}
	seconds, err := strconv.ParseInt(values["timestamp"], 10, 64)
	if err != nil {
		return delivery{}, false
	}
	id := values["id"]
	if id == "" || len(id) > maxID || strings.ContainsFunc(id, unfit) {
		return delivery{}, false
	}
	return delivery{id: id, sent: time.Unix(seconds, 0), timestamp: values["timestamp"], signature: values["signature"]}, true
}

var headerNames = []string{"id", "timestamp", "signature"}

// hasAny reports whether there is a header of a delivery that begins with prefix.
func hasAny(header http.Header, prefix string) bool {
	return slices.ContainsFunc(headerNames, func(name string) bool { return len(header.Values(prefix+name)) > 0 })
}

// unfit says whether an id may not hold r. What is signed is the id, the time
// and the body with a full stop between them: one inside the id would let
// somebody else's text in the body pass for the body.
func unfit(r rune) bool { return r <= ' ' || r > '~' || r == '.' }

// fresh says whether the delivery was signed at about now.
func (d delivery) fresh(now time.Time) bool {
	return now.Sub(d.sent).Abs() <= tolerance
}
