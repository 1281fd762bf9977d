package clerksim

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"
)

// stopGrace is how long a stopping Serve waits for requests in flight.
const stopGrace = time.Second

// Serve serves the simulator on ln, and sends events as SendWebhooks does, until ctx
// ends. It then closes ln, waits up to a second for requests in flight, aborts the rest,
// and returns nil. With a tlsConfig, such as SelfSigned returns, it serves HTTP/2 and
// HTTP/1.1 over TLS; without, HTTP/1.1 in clear. It returns an error if it can't
// continue.
func (s *Sim) Serve(ctx context.Context, ln net.Listener, tlsConfig *tls.Config) error {
	ctx, cancelSending := context.WithCancel(ctx)
	var sending sync.WaitGroup
	sending.Go(func() { s.SendWebhooks(ctx) })
	defer sending.Wait()
	defer cancelSending()
	server := &http.Server{Handler: s, TLSConfig: tlsConfig, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() {
		if tlsConfig == nil {
			served <- server.Serve(ln)
		} else {
			served <- server.ServeTLS(ln, "", "")
		}
	}()
	select {
	case err := <-served:
		return errors.Join(err, server.Close())
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	_ = <-served // it only reports that the server was closed
	return err
}

// SelfSigned generates a certificate for loopback addresses, "localhost" and hosts (names
// or addresses), valid for a year, with a key that stays in memory. It returns the
// server's configuration and, as PEM, the certificate for clients to trust.
func SelfSigned(hosts ...string) (*tls.Config, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: "simulated Clerk"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(1, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("make a certificate: %w", err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		MinVersion:   tls.VersionTLS12,
	}
	return config, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
