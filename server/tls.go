package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/clerkgate/clerkgate/internal/livefile"
)

// TLSFiles names the PEM files of a listener's TLS. They are read again when they
// change. The zero TLSFiles means no TLS.
type TLSFiles struct {
	Cert string // the certificate, and intermediate ones behind it
	Key  string // its private key
	// ClientCA holds the authorities of clients' certificates. A client that shows a
	// certificate must show one of theirs. Default: no certificate is asked for.
	ClientCA string
}

// Check reports what is wrong with the files, as far as it can be seen now.
func (f TLSFiles) Check() error {
	_, err := f.open("", nil, slog.New(slog.DiscardHandler))
	return err
}

// open reads the files. Protocols are those of ALPN, the best first.
func (f TLSFiles) open(listener string, protocols []string, logger *slog.Logger) (*liveTLS, error) {
	if f == (TLSFiles{}) {
		return nil, nil
	}
	if f.Cert == "" || f.Key == "" {
		return nil, errors.New("TLS needs a certificate and its key")
	}
	paths := []string{f.Cert, f.Key}
	if f.ClientCA != "" {
		paths = append(paths, f.ClientCA)
	}
	parse := func(contents [][]byte) (*tls.Config, error) { return parseTLS(paths, contents, protocols, time.Now()) }
	files, err := livefile.Open(paths, parse, func(err error) {
		if err != nil {
			logger.Error("the new TLS files can't be used: the old ones stay in use", "listener", listener, "error", err)
			return
		}
		logger.Info("the new TLS files are in use", "listener", listener)
	})
	if err != nil {
		return nil, err
	}
	return &liveTLS{files}, nil
}

// liveTLS is the TLS of a listener, as its files have it at the time.
type liveTLS struct{ *livefile.Value[*tls.Config] }

// config returns a configuration that follows the files: each handshake uses what
// they hold by then.
func (l *liveTLS) config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         l.Get().NextProtos,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return l.Get(), nil },
	}
}

// parseTLS makes a configuration of the contents of a certificate, its key and, if
// there is a third file, the clients' authorities.
func parseTLS(paths []string, contents [][]byte, protocols []string, now time.Time) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(contents[0], contents[1])
	if err != nil {
		// The error holds no byte of the files.
		return nil, fmt.Errorf("%s and %s: %w", paths[0], paths[1], err)
	}
	if pair.Leaf.NotAfter.Before(now) {
		return nil, fmt.Errorf("%s: the certificate has expired at %s", paths[0], pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: protocols}
	if len(contents) > 2 {
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(contents[2]) {
			return nil, fmt.Errorf("%s: holds no PEM certificate", paths[2])
		}
		// Probes come without one; who may call without one is decided for each call.
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return config, nil
}

// overTCP returns f for an address with a port. A Unix socket has no TLS: its file's
// mode guards it.
func (f TLSFiles) overTCP(address string) TLSFiles {
	if strings.HasPrefix(address, unixPrefix) || address == NoListener {
		return TLSFiles{}
	}
	return f
}

// openTLS reads the TLS files of all listeners.
func (s *Server) openTLS() error {
	for _, l := range []struct {
		name, address string
		files         TLSFiles
		to            **liveTLS
		protocols     []string
	}{
		{"gRPC", s.cfg.GRPCListen, s.cfg.TLS, &s.tls.grpc, []string{"h2"}},
		{"HTTP", s.cfg.HTTPListen, s.cfg.HTTPTLS, &s.tls.http, []string{"h2", "http/1.1"}},
		{"webhook", s.cfg.WebhookListen, s.cfg.WebhookTLS, &s.tls.webhooks, []string{"http/1.1"}},
	} {
		var err error
		if *l.to, err = l.files.overTCP(l.address).open(l.name, l.protocols, s.cfg.Logger); err != nil {
			return fmt.Errorf("%s listener: TLS: %w", l.name, err)
		}
	}
	return nil
}

// reloader is a value that is read from files and follows them.
type reloader interface {
	Run(ctx context.Context)
	Reload() error
}

// liveFiles returns what is read from files that may change.
func (s *Server) liveFiles() []reloader {
	var all []reloader
	for _, l := range []*liveTLS{s.tls.grpc, s.tls.http, s.tls.webhooks} {
		if l != nil {
			all = append(all, l)
		}
	}
	if s.guard.callers != nil {
		all = append(all, s.guard.callers)
	}
	return all
}

// Reload reads again the files of TLS and of callers, at once. What they hold now is used from the
// next connection or call on; if it can't be used, that is logged and returned, and what was in
// use stays.
func (s *Server) Reload() error {
	var all error
	for _, files := range s.liveFiles() {
		all = errors.Join(all, files.Reload())
	}
	return all
}
