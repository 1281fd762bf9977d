package telemetry

import "time"

// Files is the state of the files that a server reads again when they change.
type Files struct {
	// Callers is why the callers file can't be used and the last one stays in use. It is nil if
	// the file is in use, or there is none.
	Callers error
	TLS     []TLSFiles // of each listener with TLS
}

// TLSFiles is the state of the TLS files of a listener.
type TLSFiles struct {
	Listener     string // grpc, http or webhook
	Err          error  // why the files can't be used and the last ones stay in use; nil: they are in use
	Certificates []Certificate
}

// Kinds of Certificate.
const (
	ServerCertificate   = "server"    // the listener's own, with its intermediate ones
	ClientCACertificate = "client_ca" // the authorities of clients' certificates
)

// Certificate is the certificate in use that expires first, of those in one file.
type Certificate struct {
	Kind                string
	NotBefore, NotAfter time.Time
}

// readCertificates reads a metric with a series for each certificate.
func readCertificates(read func(Certificate) time.Time) func(*snapshot, emit) {
	return func(f *snapshot, e emit) {
		for _, files := range f.files.TLS {
			for _, c := range files.Certificates {
				e.value(float64(read(c).Unix()), files.Listener, c.Kind)
			}
		}
	}
}
