package caller

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// maxIssuerAnswer is the maximum size of an issuer's answer, in bytes.
const maxIssuerAnswer = 1 << 20

// issuerTransport makes requests to an issuer. It adds the server's own token, trusts
// ca_file, limits the size of answers, and limits how often the keys are fetched. It is
// safe for concurrent use.
type issuerTransport struct {
	config issuerConfig
	state  *issuerState

	mu   sync.Mutex
	ca   []byte          // content of ca_file that base trusts; guarded by mu
	base *http.Transport // nil before readCA; guarded by mu
}

var (
	errTooOften  = errors.New("the issuer's keys have just been fetched")
	errRedirect  = errors.New("the issuer redirects, which is not followed")
	errPlaintext = errors.New("the issuer's keys are not at an https:// URL")
	errNoPEM     = errors.New("holds no PEM certificate")
)

// tooOften reports whether a verifier's error is due to errTooOften, which it does not wrap.
func tooOften(err error) bool {
	return err != nil && strings.Contains(err.Error(), errTooOften.Error())
}

// refuseRedirect is a CheckRedirect: the server's own token must reach nobody else, and
// keys must not come from elsewhere.
func refuseRedirect(*http.Request, []*http.Request) error { return errRedirect }

// mayAsk reports whether a URL may be an issuer's: by TLS, or on this machine.
func mayAsk(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname())
}

func (t *issuerTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !mayAsk(req.URL) {
		return nil, errPlaintext
	}
	if !strings.HasSuffix(req.URL.Path, "/.well-known/openid-configuration") {
		t.state.mu.Lock()
		now := time.Now()
		soon := now.Sub(t.state.lastFetch) < retryDiscovery
		if !soon {
			t.state.lastFetch = now
		}
		t.state.mu.Unlock()
		if soon {
			return nil, errTooOften
		}
	}
	if t.config.tokenFile != "" {
		b, err := readFile(t.config.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("token_file: %w", err)
		}
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(b)))
	}
	_ = t.readCA() // or the last one stays in use
	t.mu.Lock()
	base := t.base
	t.mu.Unlock()
	resp, err := base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxIssuerAnswer)
	return resp, nil
}

// readCA reads ca_file and trusts what it holds from now on.
func (t *issuerTransport) readCA() error {
	var ca []byte
	if t.config.caFile != "" {
		var err error
		if ca, err = readFile(t.config.caFile); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.base != nil && bytes.Equal(ca, t.ca) {
		return nil
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil // the environment's proxies are for requests to Clerk only
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	transport.IdleConnTimeout = discoverTimeout
	if t.config.caFile != "" {
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(ca) {
			return errNoPEM
		}
	}
	t.ca, t.base = ca, transport // idle connections of the old one end by themselves
	return nil
}

// causeOf returns why a request to an issuer failed, without anything that the issuer
// answered: that may repeat the server's own token.
func causeOf(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return errors.New("it does not answer as OpenID Connect discovery does, or names another issuer")
}
