package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
)

// FuzzEvent posts any body with any header. Nothing unsigned may be accepted, and of
// signed events only users' ids may reach the sink.
func FuzzEvent(f *testing.F) {
	for _, body := range []string{
		eventText("user.created", user(), `,"timestamp":1716883200000`),
		eventText("user.updated", user("locked"), `,"timestamp":1716883200`),
		eventText("user.deleted", `{"object":"user","id":"user_1","deleted":true}`, ""),
		eventText("user.updated", `{"id":"user_1","unsafe_metadata":{"a":1,"a":"\ud800","b":[[[1e400]]]}}`, `,"timestamp":1e400`),
		`{"type":"session.created","data":{"id":"sess_1"}}`,
		`{"type":"user.deleted","type":"user.updated","data":null,"data":{"id":"user_1","id":"user_2"}}`,
	} {
		f.Add([]byte(body), "msg_1", "v1,AAAA v1,")
	}
	const letter = "a"
	key := []byte(strings.Repeat(letter, 24))
	f.Fuzz(func(t *testing.T, body []byte, id, signatures string) {
		s := &recorder{}
		h := handler(s, secret(letter))
		now := time.Now()
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%d.%s", id, now.Unix(), body)
		right := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))

		r := httptest.NewRequest(http.MethodPost, Path, bytes.NewReader(body))
		r.Header.Set("svix-id", id)
		r.Header.Set("svix-timestamp", fmt.Sprint(now.Unix()))
		r.Header.Set("svix-signature", signatures)
		if w := serve(h, r); w.Code < 300 && !slices.Contains(strings.Split(signatures, " "), right) || len(s.calls) > 0 {
			t.Fatalf("status %d, and the sink was told %q", w.Code, s.calls)
		}
		r.Body = http.NoBody
		r.Header.Set("svix-signature", right)
		if w := serve(h, r); w.Code < 300 {
			t.Fatalf("without the body that was signed: status %d", w.Code)
		}

		r = httptest.NewRequest(http.MethodPost, Path, bytes.NewReader(body))
		r.Header.Set("svix-id", id)
		r.Header.Set("svix-timestamp", fmt.Sprint(now.Unix()))
		r.Header.Set("svix-signature", right)
		w := serve(h, r)
		if w.Code != http.StatusNoContent && w.Code != http.StatusBadRequest && w.Code != http.StatusRequestEntityTooLarge {
			t.Fatalf("signed: status %d", w.Code)
		}
		if len(s.calls) == 0 {
			return
		}
		words := strings.Fields(s.calls[0])
		if len(s.calls) != 2 || s.calls[1] != "record "+id || w.Code != http.StatusNoContent || !clerkapi.ValidUserID(words[1]) {
			t.Fatalf("signed: status %d, and the sink was told %q", w.Code, s.calls)
		}
	})
}
