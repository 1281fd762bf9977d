package page

import (
	"slices"
	"strings"
	"time"

	"github.com/clerkgate/clerkgate/internal/telemetry"
	"github.com/clerkgate/clerkgate/internal/words"
)

// expiry is a certificate that listeners share, or the authorities of clients' certificates.
type expiry struct {
	kind      string
	at        time.Time
	listeners []string
}

// expiring returns the certificates that expire within a time and have less than a share of
// their life left, the one that expires first at the beginning.
func (v *View) expiring(within time.Duration, share float64) []expiry {
	var all []expiry
	for _, files := range v.Files.TLS {
		for _, c := range files.Certificates {
			left := c.NotAfter.Sub(v.Now)
			if left >= within || float64(left) >= share*float64(c.NotAfter.Sub(c.NotBefore)) {
				continue
			}
			i := slices.IndexFunc(all, func(e expiry) bool { return e.kind == c.Kind && e.at.Equal(c.NotAfter) })
			if i < 0 {
				i, all = len(all), append(all, expiry{kind: c.Kind, at: c.NotAfter})
			}
			all[i].listeners = append(all[i].listeners, files.Listener)
		}
	}
	slices.SortStableFunc(all, func(a, b expiry) int { return a.at.Compare(b.at) })
	return all
}

// certificates returns a sentence about each certificate of expiring.
func (v *View) certificates(within time.Duration, share float64) string {
	var text []string
	for _, e := range v.expiring(within, share) {
		what, refused := "The certificate of "+listeners(e.listeners), "clients can't connect."
		if e.kind == telemetry.ClientCACertificate {
			what, refused = "An authority in --client-ca-file", "clients with a certificate of it can't connect."
		}
		if left := e.at.Sub(v.Now); left > 0 {
			text = append(text, what+" expires at "+v.clock(e.at)+", in "+words.Rounded(left)+".")
		} else {
			text = append(text, what+" expired at "+v.clock(e.at)+": "+refused)
		}
	}
	return strings.Join(text, " ")
}

// howToReplace returns what to do about the certificates of expiring.
func (v *View) howToReplace(within time.Duration, share float64) string {
	var text []string
	kinds := map[string]bool{}
	for _, e := range v.expiring(within, share) {
		if kinds[e.kind] {
			continue
		}
		kinds[e.kind] = true
		if e.kind == telemetry.ClientCACertificate {
			text = append(text, "Add the new authority to --client-ca-file, give clients certificates of it, and take out the old one.")
		} else {
			text = append(text, "Put a new certificate, and its key, into the listener's files.")
		}
	}
	return strings.Join(append(text, "The files are read again within a second."), " ")
}

// unusableTLS returns the listeners whose TLS files can't be used.
func (v *View) unusableTLS() (names []string) {
	for _, files := range v.Files.TLS {
		if files.Err != nil {
			names = append(names, files.Listener)
		}
	}
	return names
}

// tlsFiles returns a sentence about the listeners whose TLS files can't be used.
func (v *View) tlsFiles() string {
	return "The TLS files of " + listeners(v.unusableTLS()) + " can't be used, so the last ones stay in use."
}

// listeners returns listeners in words.
func listeners(names []string) string {
	text := "the " + strings.NewReplacer("grpc", "gRPC", "http", "HTTP").Replace(strings.Join(names, ", "))
	if i := strings.LastIndex(text, ", "); i >= 0 {
		return text[:i] + " and " + text[i+len(", "):] + " listeners"
	}
	return text + " listener"
}
