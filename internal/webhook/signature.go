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
	tolerance    = 5 * time.Minute // maximum difference between the time of a signature and now
	maxID        = 256             // characters of a svix-id
)

// CheckSecret returns an error if text is not a valid signing secret: "whsec_" and at
// least 16 bytes in base64, as Clerk's dashboard shows it. During a rotation there may be
// several, separated by white space or commas; events signed with any of them are
// accepted. The error does not show the secret.
func CheckSecret(text string) error {
	_, err := parseSecret(text)
	return err
}

// parseSecret returns a verifier for each secret.
func parseSecret(text string) ([]*svix.Webhook, error) {
	secrets := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	if len(secrets) == 0 {
		return nil, errors.New("it is empty")
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

// verify reports whether the delivery is signed with any of the secrets.
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

// delivery is one sending of an event.
type delivery struct {
	id        string    // the same in every sending of an event
	sent      time.Time // time of the signature, in whole seconds
	timestamp string    // the same, in the signed form
	signature string
	body      []byte
}

// headerPrefixes are the prefixes of a delivery's headers: Svix's own, and those of
// https://www.standardwebhooks.com, which are used if there are none of Svix.
var headerPrefixes = []string{"svix-", "webhook-"}

// parseHeader parses the headers of a delivery.
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

// hasAny reports whether a delivery's header has the prefix.
func hasAny(header http.Header, prefix string) bool {
	return slices.ContainsFunc(headerNames, func(name string) bool { return len(header.Values(prefix+name)) > 0 })
}

// unfit reports whether an id must not contain r. The signed text is the id, the time and
// the body, separated by full stops; a full stop in the id would let a part of a body
// pass for a body.
func unfit(r rune) bool { return r <= ' ' || r > '~' || r == '.' }

// fresh reports whether the delivery was signed at about now.
func (d delivery) fresh(now time.Time) bool {
	return now.Sub(d.sent).Abs() <= tolerance
}
