package telemetry

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// variable is an environment variable of OpenTelemetry, which silently ignores invalid
// values.
type variable struct {
	name, want string
	good       func(string) bool
}

// exporterVariables are the OTEL_EXPORTER_OTLP_… variables, without that prefix. Each may
// also be for one signal only: OTEL_EXPORTER_OTLP_TRACES_…, OTEL_EXPORTER_OTLP_METRICS_….
var exporterVariables = []variable{
	{"PROTOCOL", "grpc, which is the only one that is spoken here", oneOf("grpc")},
	{"ENDPOINT", "a URL such as http://localhost:4317, or https:// for TLS", goodEndpoint},
	{"INSECURE", "true or false", func(s string) bool { return oneOf("true", "false")(strings.ToLower(s)) }},
	{"HEADERS", "name=value, several with commas between; names of letters, digits, '-', '_' and '.', values of printable ASCII, percent-encoded", goodHeaders},
	{"COMPRESSION", "gzip or none", oneOf("gzip", "none")},
	atLeastOne("TIMEOUT", maxMilliseconds, "milliseconds"),
	{"CERTIFICATE", "a file of PEM certificates that can be read", goodCertificates},
}

// resourceVariables are those of the resource.
var resourceVariables = []variable{
	{"OTEL_SERVICE_NAME", "text in UTF-8", utf8.ValidString},
	{"OTEL_RESOURCE_ATTRIBUTES", "name=value, several with commas between, percent-encoded UTF-8", goodAttributes},
}

// metricsVariables are those of the export of metrics. Prometheus's counters and histograms can't be
// sent in another form.
var metricsVariables = []variable{
	atLeastOne("OTEL_METRIC_EXPORT_INTERVAL", maxMilliseconds, "milliseconds"),
	atLeastOne("OTEL_METRIC_EXPORT_TIMEOUT", maxMilliseconds, "milliseconds"),
	{"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative, which is the only one that is sent here", isFold("cumulative")},
	{"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram, which is the only one that is sent here", isFold("explicit_bucket_histogram")},
}

// tracesVariables are those of the batch processor and the limits of a span.
var tracesVariables = []variable{
	atLeastOne("OTEL_BSP_SCHEDULE_DELAY", maxMilliseconds, "milliseconds"),
	atLeastOne("OTEL_BSP_EXPORT_TIMEOUT", maxMilliseconds, "milliseconds"),
	atLeastOne(queueVariable, maxQueue, "spans"),
	atLeastOne(batchVariable, maxQueue, "spans"),
	limit("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
	limit("OTEL_ATTRIBUTE_COUNT_LIMIT"),
	limit("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
	limit("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"),
	limit("OTEL_SPAN_EVENT_COUNT_LIMIT"),
	limit("OTEL_SPAN_LINK_COUNT_LIMIT"),
	limit("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"),
	limit("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"),
}

const (
	queueVariable = "OTEL_BSP_MAX_QUEUE_SIZE"
	batchVariable = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"

	maxQueue        = 1_000_000
	maxMilliseconds = 86_400_000 // a day
	maxLimit        = 1_000_000
)

// defaultEndpoint is the specification's. It is without TLS; the Go library's default is TLS.
const defaultEndpoint = "http://localhost:4317"

// checkExporter checks the environment of the exporter of a signal, TRACES or METRICS, and others.
// It reports whether the environment sets an endpoint or TLS. Its errors name the variable and do
// not show the value: headers contain secrets.
func checkExporter(signal string, others []variable) (isSet bool, err error) {
	for _, prefix := range []string{"OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_" + signal + "_"} {
		for _, v := range exporterVariables {
			value := strings.TrimSpace(os.Getenv(prefix + v.name))
			if value != "" && !v.good(value) {
				return false, fmt.Errorf("%s%s: want %s", prefix, v.name, v.want)
			}
			isSet = isSet || value != "" && (v.name == "ENDPOINT" || v.name == "INSECURE")
		}
		if !goodKeyPair(os.Getenv(prefix+"CLIENT_CERTIFICATE"), os.Getenv(prefix+"CLIENT_KEY")) {
			return false, fmt.Errorf("%[1]sCLIENT_CERTIFICATE, %[1]sCLIENT_KEY: want two files that can be read, of a PEM certificate and of its key", prefix)
		}
	}
	for _, v := range slices.Concat(resourceVariables, others) {
		if value := os.Getenv(v.name); value != "" && !v.good(value) {
			return false, fmt.Errorf("%s: want %s", v.name, v.want)
		}
	}
	return isSet, nil
}

// tracesOptions checks the environment and returns defaults for what it does not set.
func tracesOptions() ([]otlptracegrpc.Option, error) {
	isSet, err := checkExporter("TRACES", tracesVariables)
	if err != nil {
		return nil, err
	}
	if number(batchVariable, 0) > queueSize() {
		return nil, fmt.Errorf("%s: want no more than %s, %d", batchVariable, queueVariable, queueSize())
	}
	if isSet {
		return nil, nil
	}
	return []otlptracegrpc.Option{otlptracegrpc.WithEndpointURL(defaultEndpoint)}, nil
}

// queueSize returns the maximum of spans that wait for export.
func queueSize() int { return number(queueVariable, sdktrace.DefaultMaxQueueSize) }

// number returns the value of a valid variable, or unset if it is not set.
func number(name string, unset int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return unset
}

// atLeastOne describes a variable from 1 to most, in the given unit.
func atLeastOne(name string, most int, unit string) variable {
	return variable{name, fmt.Sprintf("1 to %d %s", most, unit), from(1, most)}
}

// limit describes a variable that limits a span.
func limit(name string) variable {
	return variable{name, fmt.Sprintf("0 to %d, or -1 for no limit", maxLimit), from(-1, maxLimit)}
}

func from(least, most int) func(string) bool {
	return func(s string) bool {
		n, err := strconv.Atoi(s)
		return err == nil && least <= n && n <= most
	}
}

func oneOf(values ...string) func(string) bool {
	return func(s string) bool { return slices.Contains(values, s) }
}

func isFold(value string) func(string) bool {
	return func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), value) }
}

func goodEndpoint(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// headerName matches a metadata key that gRPC can send.
var headerName = regexp.MustCompile(`^[0-9A-Za-z_.-]+$`)

func goodHeaders(s string) bool {
	return goodPairs(s, func(name, value string) bool {
		unprintable := func(r rune) bool { return r < ' ' || r > '~' }
		binary := strings.HasSuffix(strings.ToLower(name), "-bin") // gRPC encodes these
		return headerName.MatchString(name) && (binary || !strings.ContainsFunc(value, unprintable))
	})
}

func goodAttributes(s string) bool {
	return goodPairs(s, func(name, value string) bool {
		return name != "" && utf8.ValidString(name) && utf8.ValidString(value)
	})
}

// goodPairs reports whether s is a comma-separated list of name=value pairs that are all
// good after decoding.
func goodPairs(s string, good func(name, value string) bool) bool {
	for pair := range strings.SplitSeq(s, ",") {
		name, value, found := strings.Cut(pair, "=")
		value, err := url.PathUnescape(value)
		if !found || err != nil || !good(strings.TrimSpace(name), strings.TrimSpace(value)) {
			return false
		}
	}
	return true
}

func goodCertificates(path string) bool {
	pem, err := os.ReadFile(path) //nolint:gosec // named by the operator
	return err == nil && x509.NewCertPool().AppendCertsFromPEM(pem)
}

// goodKeyPair reports whether both files are set and match, or neither is set.
func goodKeyPair(certificate, key string) bool {
	certificate, key = strings.TrimSpace(certificate), strings.TrimSpace(key)
	if certificate == "" && key == "" {
		return true
	}
	_, err := tls.LoadX509KeyPair(certificate, key)
	return err == nil
}
