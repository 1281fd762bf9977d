package telemetry

import (
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
)

// otlpVariables are the OTEL_EXPORTER_OTLP_… variables, without that prefix,
// that OpenTelemetry would pass over with no more than a line on stderr, and
// what makes each of them good. Any of them may also be for traces alone:
// OTEL_EXPORTER_OTLP_TRACES_….
var otlpVariables = []struct {
	name, want string
	good       func(string) bool
}{
	{"PROTOCOL", "grpc, which is the only one that is spoken here", func(s string) bool { return s == "grpc" }},
	{"ENDPOINT", "a URL such as http://localhost:4317, or https:// for TLS", goodEndpoint},
	{"HEADERS", "name=value, several with commas between, percent-encoded", goodHeaders},
	{"TIMEOUT", "a number of milliseconds", func(s string) bool { n, err := strconv.Atoi(s); return err == nil && n > 0 }},
}

// exporterOptions checks the environment, and gives what it leaves open. Its
// errors name the variable, but show no value: headers hold secrets.
func exporterOptions() ([]otlptracegrpc.Option, error) {
	given := false
	for _, v := range otlpVariables {
		for _, prefix := range []string{"OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_"} {
			value := strings.TrimSpace(os.Getenv(prefix + v.name))
			if value == "" {
				continue
			}
			if !v.good(value) {
				return nil, fmt.Errorf("%s%s: want %s", prefix, v.name, v.want)
			}
			given = given || v.name == "ENDPOINT"
		}
	}
	if given {
		return nil, nil
	}
	// OpenTelemetry's specification has this default; its Go library uses TLS.
	return []otlptracegrpc.Option{otlptracegrpc.WithEndpointURL("http://localhost:4317")}, nil
}

func goodEndpoint(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

func goodHeaders(s string) bool {
	for header := range strings.SplitSeq(s, ",") {
		name, value, found := strings.Cut(header, "=")
		if _, err := url.PathUnescape(value); err != nil || !found || strings.TrimSpace(name) == "" {
			return false
		}
	}
	return true
}
