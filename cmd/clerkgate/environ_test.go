package main

import (
	"strings"
	"testing"
)

func TestCheckEnvironment(t *testing.T) {
	known := knownVariables(modelOf(t))
	for _, tt := range []struct {
		variable string
		want     string // part of the error; empty: none
	}{
		{"CLERKGATE_QUOTA=5/10s", ""},
		{"CLERKGATE_SIM_USERS=5", ""},
		{"CLERKGATE_ADDRESS=x:1", ""}, // of the client
		{"CLERK_SECRET_KEY=x", ""},
		{"CLERK_PUBLISHABLE_KEY=x", ""}, // other programs'
		{"PATH=/bin", ""},
		{"CLERKGATE_QOUTA=", ""},
		{"CLERKGATE_QOUTA= \n", ""},
		{"CLERKGATE_QOUTA=5/10s", "CLERKGATE_QOUTA (did you mean CLERKGATE_QUOTA?)"},
		{"CLERKGATE_REDIS_ULR=redis://x", "CLERKGATE_REDIS_ULR (did you mean CLERKGATE_REDIS_URL?)"},
		{"clerkgate_quota=5/10s", "clerkgate_quota (did you mean CLERKGATE_QUOTA?)"},
		{"CLERKGATEQUOTA=5/10s", "CLERKGATE_QUOTA"},
		{"CLERKGATE_SECRET_KEY=x", "CLERK_SECRET_KEY"},
		{"CLERKGATE_CLERK_SECRET_KEY=x", "CLERK_SECRET_KEY"},
		{"CLERKGATE_WEBHOOK_SIGNING_SECRET=x", "CLERK_WEBHOOK_SIGNING_SECRET"},

		// A service called clerkgate, one called clerkgate-redis, and a named port.
		{"CLERKGATE_SERVICE_HOST=10.0.171.239", ""},
		{"CLERKGATE_SERVICE_HOST=fd00::12", ""},
		{"CLERKGATE_SERVICE_PORT=9090", ""},
		{"CLERKGATE_SERVICE_PORT_GRPC=9090", ""},
		{"CLERKGATE_PORT=tcp://10.0.171.239:9090", ""},
		{"CLERKGATE_PORT=tcp://[fd00::12]:9090", ""},
		{"CLERKGATE_PORT_9090_TCP=tcp://10.0.171.239:9090", ""},
		{"CLERKGATE_PORT_9090_TCP_PROTO=tcp", ""},
		{"CLERKGATE_PORT_9090_TCP_PORT=9090", ""},
		{"CLERKGATE_PORT_9090_TCP_ADDR=10.0.171.239", ""},
		{"CLERKGATE_REDIS_SERVICE_HOST=10.0.171.240", ""},
		{"CLERKGATE_REDIS_SERVICE_PORT=6379", ""},
		{"CLERKGATE_REDIS_SERVICE_PORT_REDIS=6379", ""},
		{"CLERKGATE_REDIS_PORT=tcp://10.0.171.240:6379", ""},
		{"CLERKGATE_REDIS_PORT_6379_TCP=tcp://10.0.171.240:6379", ""},
		{"CLERKGATE_REDIS_PORT_6379_TCP_PROTO=tcp", ""},
		{"CLERKGATE_REDIS_PORT_6379_TCP_PORT=6379", ""},
		{"CLERKGATE_REDIS_PORT_6379_TCP_ADDR=10.0.171.240", ""},
		// What only looks like those by its name.
		{"CLERKGATE_SERVICE_HOST=example.com", "CLERKGATE_SERVICE_HOST"},
		{"CLERKGATE_SERVICE_PORT=0", "CLERKGATE_SERVICE_PORT"},
		{"CLERKGATE_SERVICE_PORT=tcp://10.0.0.1:1", "CLERKGATE_SERVICE_PORT"},
		{"CLERKGATE_GRPC_PORT=9090", "CLERKGATE_GRPC_PORT"},
		{"CLERKGATE_PORT=tcp://example.com:9090", "CLERKGATE_PORT"},
		{"CLERKGATE_PORT=http://10.0.0.1:9090", "CLERKGATE_PORT"},
		{"CLERKGATE_PORT_9090_TCP_PROTO=http", "CLERKGATE_PORT_9090_TCP_PROTO"},
	} {
		err := checkEnvironment([]string{"A=b", tt.variable}, known)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.variable, err, tt.want)
		}
	}
	many := []string{"CLERKGATE_A=" + secret, "CLERKGATE_B=1", "CLERKGATE_C=1", "CLERKGATE_D=1", "CLERKGATE_E=1", "CLERKGATE_F=1", "CLERKGATE_G=1"}
	if err := checkEnvironment(many, known); err == nil || !strings.Contains(err.Error(), "and 2 more") || strings.Contains(err.Error(), secret) {
		t.Errorf("seven unknown variables: %v", err)
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"quota", "quota", 0}, {"qouta", "quota", 1}, {"quot", "quota", 1},
		{"quotas", "quota", 1}, {"quoto", "quota", 1}, {"", "quota", 5}, {"ulr", "url", 1},
	} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q, %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
