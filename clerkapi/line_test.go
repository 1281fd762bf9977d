package clerkapi

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// TestLongFiltersNeverLeave: a filter whose request line is longer than MaxRequestLine is
// the caller's error, and nothing is sent.
func TestLongFiltersNeverLeave(t *testing.T) {
	longest := 0
	client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		longest = max(longest, len("GET ")+len(r.RequestURI)+len(" HTTP/1.1"))
		_, _ = io.WriteString(w, "[]")
	})
	emails := func(n, size int) *clerkgatev1.UserFilter {
		values := make([]string, n)
		for i := range values {
			values[i] = fmt.Sprintf("%0*d@x.example", size-len("@x.example"), i)
		}
		return &clerkgatev1.UserFilter{EmailAddresses: list(values...)}
	}
	wantField(t, ListParams{Filter: emails(100, 900), Limit: 1}.Validate(), "filter")
	wantField(t, ValidateFilter(emails(100, 900)), "filter")
	wantField(t, ListParams{Filter: &clerkgatev1.UserFilter{Query: ptr(strings.Repeat("ü", 500)),
		EmailAddresses: emails(60, 100).EmailAddresses}, Limit: 1}.Validate(), "filter") // by its escaped form
	accepted := 0
	for n := 1; n <= 100; n++ {
		p := ListParams{Filter: emails(n, 100), Limit: 1}
		if p.Validate() != nil {
			continue
		}
		accepted = n
		if _, err := client.ListUsers(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if accepted < 50 || longest > MaxRequestLine || longest < MaxRequestLine-200 {
		t.Errorf("%d addresses and lines of %d bytes were accepted, want up to %d", accepted, longest, MaxRequestLine)
	}
}

// TestLookupLine: the length by which batches are cut is that of the line that is sent.
func TestLookupLine(t *testing.T) {
	got := 0
	client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		got = len("GET ") + len(r.RequestURI) + len(" HTTP/1.1")
		_, _ = io.WriteString(w, "[]")
	})
	ids := make([]string, 100)
	for i := range ids {
		ids[i] = fmt.Sprintf("user_%0*d", maxUserTail, i)
	}
	_, err := client.LookupUsers(t.Context(), ids)
	wantField(t, err, "ids")
	ids = ids[:50]
	if _, err := client.LookupUsers(t.Context(), ids); err != nil {
		t.Fatal(err)
	}
	if want := LookupLine(ids...); got != want || want > MaxRequestLine {
		t.Errorf("the line has %d bytes, LookupLine says %d", got, want)
	}
}

// TestHeadersThatClerkDoesNotTake: a request exceeds the header limit that an HTTP/2
// server advertises: it was not sent, and implies nothing about Clerk.
func TestHeadersThatClerkDoesNotTake(t *testing.T) {
	cfg, roots := certificate(t)
	address := serveConns(t, func(conn net.Conn) {
		secure := tls.Server(conn, cfg)
		if _, err := io.ReadFull(secure, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(secure, secure)
		_ = f.WriteSettings(http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 2000})
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch fr := frame.(type) {
			case *http2.SettingsFrame:
				if !fr.IsAck() {
					_ = f.WriteSettingsAck()
				}
			case *http2.HeadersFrame:
				h2Conn{f, t}.answer(fr.StreamID)
			}
		}
	})
	var dialer net.Dialer
	client := clientOf(t, Config{BaseURL: "https://example.com", RootCAs: roots, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", address)
	}})
	if _, err := client.CountUsers(t.Context(), nil); err != nil { // the settings have arrived with it
		t.Fatal(err)
	}
	_, err := client.CountUsers(t.Context(), &clerkgatev1.UserFilter{Query: ptr(strings.Repeat("a", 900)), NameQuery: ptr(strings.Repeat("b", 900))})
	wantError(t, err, ErrRejected, true)
}

func ptr[T any](v T) *T { return &v }
