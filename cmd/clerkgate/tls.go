package main

import (
	"fmt"

	"github.com/clerkgate/clerkgate/server"
)

// noTLS as the certificate of a listener means that it has none.
const noTLS = "off"

// tlsFlags are the flags of TLS for the listeners of serve.
type tlsFlags struct {
	TLSCertFile  string `name:"tls-cert-file" placeholder:"FILE" group:"TLS" reload:"of its content, within a second or at SIGHUP" help:"The PEM certificate of all listeners, followed by its intermediate certificates. The listeners then accept only TLS 1.2 or later. Unix sockets never use TLS. Default: no TLS."`
	TLSKeyFile   string `name:"tls-key-file" placeholder:"FILE" group:"TLS" reload:"of its content, within a second or at SIGHUP" help:"The PEM private key of the certificate."`
	ClientCAFile string `name:"client-ca-file" placeholder:"FILE" group:"TLS" reload:"of its content, within a second or at SIGHUP" help:"PEM certificates of the authorities that sign client certificates. On the gRPC and HTTP listeners, a client certificate must be signed by one of them."`

	HTTPTLSCertFile    string `name:"http-tls-cert-file" placeholder:"FILE" group:"TLS" reload:"of its content, within a second or at SIGHUP" help:"The certificate of the HTTP listener. off: no TLS there. Default: --tls-cert-file."`
	HTTPTLSKeyFile     string `name:"http-tls-key-file" placeholder:"FILE" group:"TLS" reload:"of its content, within a second or at SIGHUP" help:"The private key of --http-tls-cert-file."`
	WebhookTLSCertFile string `name:"webhook-tls-cert-file" placeholder:"FILE" group:"TLS" reload:"of its content, within a second or at SIGHUP" help:"The certificate of the webhook listener. off: no TLS there, for a proxy that terminates TLS. Default: --tls-cert-file."`
	WebhookTLSKeyFile  string `name:"webhook-tls-key-file" placeholder:"FILE" group:"TLS" reload:"of its content, within a second or at SIGHUP" help:"The private key of --webhook-tls-cert-file."`
}

// listenerTLS is the TLS of each listener.
type listenerTLS struct{ grpc, http, webhooks server.TLSFiles }

// tls returns the TLS that the flags configure. It reads the files.
func (f tlsFlags) tls() (listenerTLS, error) {
	var l listenerTLS
	for _, one := range []struct {
		prefix, cert, key, clients string
		to                         *server.TLSFiles
		orElse                     server.TLSFiles
	}{
		{"--", f.TLSCertFile, f.TLSKeyFile, f.ClientCAFile, &l.grpc, server.TLSFiles{}},
		{"--http-", f.HTTPTLSCertFile, f.HTTPTLSKeyFile, f.ClientCAFile, &l.http,
			server.TLSFiles{Cert: f.TLSCertFile, Key: f.TLSKeyFile, ClientCA: f.ClientCAFile}},
		{"--webhook-", f.WebhookTLSCertFile, f.WebhookTLSKeyFile, "", &l.webhooks, server.TLSFiles{Cert: f.TLSCertFile, Key: f.TLSKeyFile}},
	} {
		switch {
		case one.cert == noTLS && one.key == "" && one.prefix != "--":
			continue
		case one.cert == "" && one.key == "":
			*one.to = one.orElse
			continue
		case one.cert == "" || one.key == "":
			return l, usagef("%stls-cert-file and %stls-key-file: give both", one.prefix, one.prefix)
		}
		*one.to = server.TLSFiles{Cert: one.cert, Key: one.key, ClientCA: one.clients}
		if err := one.to.Check(); err != nil {
			flags := fmt.Sprintf("%[1]stls-cert-file and %[1]stls-key-file", one.prefix)
			if one.clients != "" {
				flags += " with --client-ca-file"
			}
			return l, usagef("%s: %v", flags, err)
		}
	}
	if f.ClientCAFile != "" && l.grpc == (server.TLSFiles{}) {
		return l, usagef("--client-ca-file: needs --tls-cert-file and --tls-key-file")
	}
	return l, nil
}
