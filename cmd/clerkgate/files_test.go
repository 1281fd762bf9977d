package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/caller/callertest"
	"github.com/clerkgate/clerkgate/internal/leaktest"
)

// TestUnusableFilesAreSeen breaks the callers file and the TLS files of a running server, and mends
// them: metrics and the page show each state.
func TestUnusableFilesAreSeen(t *testing.T) {
	dir, ca, token := t.TempDir(), callertest.NewCA(t), caller.NewToken()
	cert, key := ca.Issue("127.0.0.1").Files(t, dir, "server")
	good := fmt.Sprintf("callers:\n  - %s\n  - name: operator\n    identity: {tokens: [{sha256: %s}]}\n    allow: {methods: [GetQuota], metrics: true}\n",
		leaktest.Viewer(), caller.HashToken(token))
	callers := dir + "/callers.yaml"
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(callers, good)
	k := serveKeyed(t, fmt.Sprintf("tls-cert-file: %s\ntls-key-file: %s\nhttp-tls-cert-file: off\ncallers-file: %s\n", cert, key, callers))
	get := func(path string) (code int, text []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, k.http+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("operator", token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if text, err = io.ReadAll(resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, text
	}
	// sees waits until a metric and the page show a state; an empty headline is that of a server
	// of which all is well.
	sees := func(metric, headline string) {
		t.Helper()
		k.within(metric+", "+headline, func() bool {
			code, text := get("/page/state")
			if code == http.StatusServiceUnavailable {
				return false // its first second is not over
			}
			var state struct {
				Tick struct {
					Headline   struct{ Text string }
					Conditions []struct{ Name string }
				}
			}
			if err := json.Unmarshal(text, &state); err != nil {
				t.Fatalf("%d: %v", code, err)
			}
			shown := strings.Contains(state.Tick.Headline.Text, headline)
			if headline == "" {
				shown = len(state.Tick.Conditions) == 0
			}
			_, text = get("/metrics")
			return shown && strings.Contains(string(text), "\n"+metric+"\n")
		})
	}
	const callersMetric, tlsMetric = "clerkgate_callers_file_unusable ", `clerkgate_tls_files_unusable{listener="grpc"} `
	sees(callersMetric+"0", "")
	sees(tlsMetric+"0", "")
	write(callers, strings.Replace(good, "name: operator", "names: operator", 1))
	sees(callersMetric+"1", "The callers file can't be used")
	if err := os.Remove(callers); err != nil {
		t.Fatal(err)
	}
	k.within("the reason is another", func() bool { return strings.Contains(k.log.String(), "callers.yaml: no such file") })
	sees(callersMetric+"1", "The callers file can't be used")
	write(callers, good)
	sees(callersMetric+"0", "")

	write(key, "no key")
	sees(tlsMetric+"1", "The TLS files of the gRPC listener can't be used")
	end := time.Now().Add(4 * time.Minute).Truncate(time.Second)
	ca.IssueUntil(end, "127.0.0.1").Files(t, dir, "server")
	sees(tlsMetric+"0", "The certificate of the gRPC listener expires at "+end.UTC().Format(time.TimeOnly))
	sees(fmt.Sprintf(`clerkgate_certificate_not_after_timestamp_seconds{certificate="server",listener="grpc"} %s`,
		strconv.FormatFloat(float64(end.Unix()), 'g', -1, 64)), "expires at")
	ca.Issue("127.0.0.1").Files(t, dir, "server")
	sees(tlsMetric+"0", "")
}
