package telemetry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeFile returns the path of a new file.
func writeFile(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// keyPair returns the files of a certificate and of its key.
func keyPair(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})),
		writeFile(t, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

// TestEnvironment: an invalid variable is an error that names it and does not show its
// value.
func TestEnvironment(t *testing.T) {
	certificate, _ := keyPair(t)
	text := writeFile(t, "hidden.txt", []byte("no certificate"))
	for _, tt := range []struct {
		name, value string
		want        string // part of the error; empty: it is good
	}{
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", ""},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "OTEL_EXPORTER_OTLP_PROTOCOL: want grpc"},
		{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: want grpc"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example:4317", ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "hidden:4317", "OTEL_EXPORTER_OTLP_ENDPOINT: want a URL"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: want a URL"},
		{"OTEL_EXPORTER_OTLP_INSECURE", "True", ""},
		{"OTEL_EXPORTER_OTLP_INSECURE", "false", ""},
		{"OTEL_EXPORTER_OTLP_TRACES_INSECURE", "1", "OTEL_EXPORTER_OTLP_TRACES_INSECURE: want true or false"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20aGlkZGVu, X-Team = a", ""},
		{"OTEL_EXPORTER_OTLP_HEADERS", "trace-bin=%00%ff", ""},
		{"OTEL_EXPORTER_OTLP_HEADERS", "a=b,hidden", "OTEL_EXPORTER_OTLP_HEADERS: want name=value"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "=hidden", "OTEL_EXPORTER_OTLP_HEADERS: want name=value"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "bad name=hidden", "OTEL_EXPORTER_OTLP_HEADERS: want name=value"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "a=hidden%0Ax", "OTEL_EXPORTER_OTLP_HEADERS: want name=value"},
		{"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=hidden%zz", "OTEL_EXPORTER_OTLP_TRACES_HEADERS: want name=value"},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", ""},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", "none", ""},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "OTEL_EXPORTER_OTLP_COMPRESSION: want gzip or none"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "2500", ""},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "OTEL_EXPORTER_OTLP_TIMEOUT: want 1 to 86400000 milliseconds"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "0", "OTEL_EXPORTER_OTLP_TIMEOUT: want 1 to 86400000 milliseconds"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", certificate, ""},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", "/hidden", "OTEL_EXPORTER_OTLP_CERTIFICATE: want a file"},
		{"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", text, "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE: want a file"},
		{"OTEL_BSP_SCHEDULE_DELAY", "86400000", ""},
		{"OTEL_BSP_SCHEDULE_DELAY", "86400001", "OTEL_BSP_SCHEDULE_DELAY: want 1 to 86400000 milliseconds"},
		{"OTEL_BSP_SCHEDULE_DELAY", "abc", "OTEL_BSP_SCHEDULE_DELAY: want 1 to 86400000 milliseconds"},
		{"OTEL_BSP_SCHEDULE_DELAY", " 1", "OTEL_BSP_SCHEDULE_DELAY: want 1 to 86400000 milliseconds"},
		{"OTEL_BSP_EXPORT_TIMEOUT", "-1", "OTEL_BSP_EXPORT_TIMEOUT: want 1 to 86400000 milliseconds"},
		{"OTEL_BSP_MAX_QUEUE_SIZE", "1", ""},
		{"OTEL_BSP_MAX_QUEUE_SIZE", "-5", "OTEL_BSP_MAX_QUEUE_SIZE: want 1 to 1000000 spans"},
		{"OTEL_BSP_MAX_QUEUE_SIZE", "1000001", "OTEL_BSP_MAX_QUEUE_SIZE: want 1 to 1000000 spans"},
		{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2048", ""},
		{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE: want 1 to 1000000 spans"},
		{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2049", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE: want no more than OTEL_BSP_MAX_QUEUE_SIZE, 2048"},
		{"OTEL_SERVICE_NAME", "users gateway", ""},
		{"OTEL_SERVICE_NAME", "hidden\xff", "OTEL_SERVICE_NAME: want text in UTF-8"},
		{"OTEL_RESOURCE_ATTRIBUTES", "team=caf%C3%A9,zone=a", ""},
		{"OTEL_RESOURCE_ATTRIBUTES", "team=a,hidden", "OTEL_RESOURCE_ATTRIBUTES: want name=value"},
		{"OTEL_RESOURCE_ATTRIBUTES", "team=hidden%zz", "OTEL_RESOURCE_ATTRIBUTES: want name=value"},
		{"OTEL_RESOURCE_ATTRIBUTES", "team=hidden%ff", "OTEL_RESOURCE_ATTRIBUTES: want name=value"},
		{"OTEL_SPAN_LINK_COUNT_LIMIT", "0", ""},
		{"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "-1", ""},
		{"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "1.5", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT: want 0 to 1000000"},
		{"OTEL_ATTRIBUTE_COUNT_LIMIT", "-2", "OTEL_ATTRIBUTE_COUNT_LIMIT: want 0 to 1000000"},
		{"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "x", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT: want 0 to 1000000"},
		{"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "x", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: want 0 to 1000000"},
		{"OTEL_SPAN_EVENT_COUNT_LIMIT", "x", "OTEL_SPAN_EVENT_COUNT_LIMIT: want 0 to 1000000"},
		{"OTEL_SPAN_LINK_COUNT_LIMIT", "x", "OTEL_SPAN_LINK_COUNT_LIMIT: want 0 to 1000000"},
		{"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "x", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT: want 0 to 1000000"},
		{"OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "x", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT: want 0 to 1000000"},
	} {
		t.Run(tt.name+"="+tt.value, func(t *testing.T) {
			t.Setenv(tt.name, tt.value)
			checkEnvironment(t, tt.want)
		})
	}
}

// checkEnvironment checks that NewTracing fails with want in its error, or succeeds if want is
// empty.
func checkEnvironment(t *testing.T, want string) {
	t.Helper()
	_, err := NewTracing(TracingConfig{Sample: 1, Logger: slog.New(slog.DiscardHandler)})
	checkError(t, err, want)
}

// checkError checks that err has want in it and not the value, or is nil if want is empty.
func checkError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Error(err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden")):
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestMetricsEnvironment: the same for metrics, whose variables do not concern spans.
func TestMetricsEnvironment(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "hidden:4317", "OTEL_EXPORTER_OTLP_ENDPOINT: want a URL"},
		{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "hidden:4317", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: want a URL"},
		{"OTEL_EXPORTER_OTLP_METRICS_HEADERS", "hidden", "OTEL_EXPORTER_OTLP_METRICS_HEADERS: want name=value"},
		{"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: want grpc"},
		{"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta", "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: want cumulative"},
		{"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Cumulative", ""},
		{"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram", "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION: want explicit_bucket_histogram"},
		{"OTEL_METRIC_EXPORT_INTERVAL", "1m", "OTEL_METRIC_EXPORT_INTERVAL: want 1 to 86400000 milliseconds"},
		{"OTEL_METRIC_EXPORT_INTERVAL", "15000", ""},
		{"OTEL_METRIC_EXPORT_TIMEOUT", "0", "OTEL_METRIC_EXPORT_TIMEOUT: want 1 to 86400000 milliseconds"},
		{"OTEL_SERVICE_NAME", "hidden\xff", "OTEL_SERVICE_NAME: want text in UTF-8"},
		{"OTEL_BSP_SCHEDULE_DELAY", "abc", ""},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "hidden:4317", ""},
	} {
		t.Run(tt.name+"="+tt.value, func(t *testing.T) {
			t.Setenv(tt.name, tt.value)
			_, err := NewMetricsExport(MetricsExportConfig{Logger: slog.New(slog.DiscardHandler)})
			checkError(t, err, tt.want)
		})
	}
}

// TestClientCertificate: the files of a certificate and its key are valid only together.
func TestClientCertificate(t *testing.T) {
	certificate, key := keyPair(t)
	_, other := keyPair(t)
	const want = "CLIENT_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_KEY: want two files"
	for _, tt := range []struct{ name, certificate, key, want string }{
		{"both", certificate, key, ""},
		{"no key", certificate, "", want},
		{"no certificate", "", key, want},
		{"a file that is missing", "/hidden", key, want},
		{"another's key", certificate, other, want},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", tt.certificate)
			t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", tt.key)
			checkEnvironment(t, tt.want)
		})
	}
}

// TestBatchBesideQueue: a batch as large as the queue is valid, whatever its size.
func TestBatchBesideQueue(t *testing.T) {
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "5000")
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5000")
	checkEnvironment(t, "")
}

// TestDefaultEndpoint: by default the collector is on this host, without TLS.
func TestDefaultEndpoint(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		want        int // number of options
	}{
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "5", 1},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example:4317", 0},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector.example:4317", 0},
		{"OTEL_EXPORTER_OTLP_INSECURE", "false", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(tt.name, tt.value)
			if options, err := tracesOptions(); len(options) != tt.want || err != nil {
				t.Errorf("%d options, error %v", len(options), err)
			}
		})
	}
}
