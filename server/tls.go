package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/clerkgate/clerkgate/internal/livefile"
	"github.com/clerkgate/clerkgate/internal/telemetry"
)

// TLSFiles names the PEM files of a listener's TLS. They are read again when they
// change. The zero TLSFiles means no TLS.
type TLSFiles struct {
	Cert string // the certificate, and intermediate ones behind it
	Key  string // its private key
	// ClientCA holds the authorities of clients' certificates. A client that sends a
	// certificate must send one of theirs. Default: no certificate is requested.
	ClientCA string
}

// Check returns an error if the files can't be used now.
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
	parse := func(contents [][]byte) (tlsContents, error) { return parseTLS(paths, contents, protocols, time.Now()) }
	files, err := livefile.Open(paths, parse, func(err error) {
		if err != nil {
			logger.Error("the TLS files can't be used: the last ones stay in use", "listener", listener, "error", err)
			return
		}
		logger.Info("the TLS files are in use", "listener", listener)
	})
	if err != nil {
		return nil, err
	}
	return &liveTLS{files}, nil
}

// tlsContents is the parsed content of the TLS files of a listener.
type tlsContents struct {
	config       *tls.Config
	certificates []telemetry.Certificate
}

// liveTLS is the TLS of a listener, as its files have it at the time.
type liveTLS struct{ *livefile.Value[tlsContents] }

// config returns a configuration that follows the files: each handshake uses what
// they hold by then.
func (l *liveTLS) config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         l.Get().config.NextProtos,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return l.Get().config, nil },
	}
}

// parseTLS makes a configuration of the contents of a certificate, its key and, if
// there is a third file, the clients' authorities.
func parseTLS(paths []string, contents [][]byte, protocols []string, now time.Time) (tlsContents, error) {
	pair, err := tls.X509KeyPair(contents[0], contents[1])
	if err != nil {
		// The error holds no byte of the files.
		return tlsContents{}, fmt.Errorf("%s and %s: %w", paths[0], paths[1], err)
	}
	if pair.Leaf.NotAfter.Before(now) {
		return tlsContents{}, fmt.Errorf("%s: the certificate has expired at %s", paths[0], pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: protocols}
	certificates := []telemetry.Certificate{firstToExpire(telemetry.ServerCertificate, contents[0])}
	if len(contents) > 2 {
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(contents[2]) {
			return tlsContents{}, fmt.Errorf("%s: holds no PEM certificate", paths[2])
		}
		// Probes come without one; who may call without one is decided for each call.
		config.ClientAuth = tls.VerifyClientCertIfGiven
		certificates = append(certificates, firstToExpire(telemetry.ClientCACertificate, contents[2]))
	}
	return tlsContents{config, certificates}, nil
}

// firstToExpire returns the certificate that expires first of those in a PEM file, which has at
// least one that can be parsed.
func firstToExpire(kind string, file []byte) telemetry.Certificate {
	first := telemetry.Certificate{Kind: kind}
	for block, rest := pem.Decode(file); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes) // what is no certificate is skipped by crypto/tls, too
		if err == nil && (first.NotAfter.IsZero() || cert.NotAfter.Before(first.NotAfter)) {
			first.NotBefore, first.NotAfter = cert.NotBefore, cert.NotAfter
		}
	}
	return first
}

// overTCP returns f for an address with a port, and no TLS for others: the mode of a Unix
// socket's file guards it, and an address of NoListener or "" has no listener.
func (f TLSFiles) overTCP(address string) TLSFiles {
	if strings.HasPrefix(address, unixPrefix) || address == NoListener || address == "" {
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

// liveFiles returns the values that are read from files that may change.
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

// Files returns the state of the files that the server reads again when they change.
func (s *Server) Files() telemetry.Files {
	var f telemetry.Files
	if s.guard.callers != nil {
		f.Callers = s.guard.callers.Err()
	}
	for _, l := range []struct {
		name string
		tls  *liveTLS
	}{{"grpc", s.tls.grpc}, {"http", s.tls.http}, {"webhook", s.tls.webhooks}} {
		if l.tls != nil {
			f.TLS = append(f.TLS, telemetry.TLSFiles{Listener: l.name, Err: l.tls.Err(), Certificates: l.tls.Get().certificates})
		}
	}
	return f
}

// Reload reads the TLS files and the callers file again, at once. The new content is used from
// the next connection or call on. If it can't be used, Reload logs and returns an error, and the
// previous content stays in use.
func (s *Server) Reload() error {
	var all error
	for _, files := range s.liveFiles() {
		all = errors.Join(all, files.Reload())
	}
	return all
}
