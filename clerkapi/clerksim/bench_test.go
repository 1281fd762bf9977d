package clerksim

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// BenchmarkLookup100 answers lookups of 100 users without a network.
func BenchmarkLookup100(b *testing.B) {
	s := newSim(b, Config{Users: 10_000})
	r := httptest.NewRequest(http.MethodGet, "/v1/users?"+lookup(s).Encode(), nil)
	r.Header.Set("Authorization", "Bearer "+testKey)
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		s.ServeHTTP(w, r)
	}
	b.SetBytes(w.size)
	b.ReportMetric(float64(b.N)*100/b.Elapsed().Seconds(), "users/s")
}

// BenchmarkLookup100OverSockets is BenchmarkLookup100 with a client over loopback.
func BenchmarkLookup100OverSockets(b *testing.B) {
	for _, p := range protocols {
		b.Run(p.name, func(b *testing.B) {
			s := newSim(b, Config{Users: 10_000})
			url, client := serve(b, s, p.tls)
			target := url + "/v1/users?" + lookup(s).Encode()
			b.ReportAllocs()
			for b.Loop() {
				resp, body, err := fetch(b.Context(), client, target)
				if err != nil || resp.StatusCode != http.StatusOK {
					b.Fatal(err, resp)
				}
				b.SetBytes(int64(len(body)))
			}
			b.ReportMetric(float64(b.N)*100/b.Elapsed().Seconds(), "users/s")
		})
	}
}

// BenchmarkNew generates the users of the default configuration.
func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(Config{}); err != nil {
			b.Fatal(err)
		}
	}
}

func lookup(s *Sim) url.Values { return url.Values{"limit": {"100"}, "user_id": s.UserIDs(100)} }

// discard is a ResponseWriter that counts the last answer's bytes.
type discard struct {
	header http.Header
	size   int64
}

func (d *discard) Header() http.Header { return d.header }
func (d *discard) WriteHeader(int)     { d.size = 0 }
func (d *discard) Write(p []byte) (int, error) {
	d.size += int64(len(p))
	return len(p), nil
}
