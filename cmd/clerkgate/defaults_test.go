package main

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/usercache"
	"github.com/clerkgate/clerkgate/server"
)

// TestDefaultsOfFlags compares the defaults in the flags' struct tags with those of the
// packages that the flags configure.
func TestDefaultsOfFlags(t *testing.T) {
	cache, queue, served := usercache.DefaultConfig(), gate.DefaultConfig(), server.DefaultConfig()
	want := map[string]any{
		"grpc-listen":             served.GRPCListen,
		"http-listen":             served.HTTPListen,
		"default-timeout":         served.DefaultTimeout,
		"drain-timeout":           served.DrainTimeout,
		"send-timeout":            served.SendTimeout,
		"max-connections":         served.MaxConnections,
		"max-streams-per-caller":  served.MaxStreamsPerCaller,
		"max-unread-bytes":        served.MaxUnreadBytes,
		"connections-per-address": fmt.Sprintf("%v%%", 100*served.Limits.AddressShare),
		"max-metadata-bytes":      int64(served.Limits.MaxMetadataBytes),
		"max-request-bytes":       int64(served.Limits.MaxRequestBytes),
		"read-timeout":            served.Limits.ReadTimeout,
		"max-timeout":             served.Limits.MaxTimeout,
		"connection-age":          served.Limits.ConnectionAge,
		"connection-idle-timeout": served.Limits.ConnectionIdle,
		"http-idle-timeout":       served.Limits.HTTPIdle,
		"keepalive-interval":      served.Limits.KeepaliveInterval,
		"keepalive-timeout":       served.Limits.KeepaliveTimeout,
		"keepalive-min-interval":  served.Limits.KeepaliveMinInterval,
		"cache-ttl":               cache.TTL,
		"stale-if-error":          cache.StaleIfError,
		"cache-max-bytes":         cache.MaxBytes,
		"breaker-failures":        queue.BreakerFailures,
		"breaker-open":            queue.BreakerOpen,
		"queue-limit":             queue.QueueLimit,
		"caller-queue-limit":      queue.CallerQueueLimit,
		"max-in-flight":           queue.MaxInFlight,
		"max-leased":              fmt.Sprintf("%v%%", 100*quota.DefaultConfig().MaxLeased),
		"clerk-api-url":           clerkapi.DefaultBaseURL,
		"upstream-timeout":        clerkapi.DefaultTimeout,
	}
	for _, f := range serveFlags(modelOf(t)) {
		w, ok := want[f.Name]
		if !ok {
			continue
		}
		delete(want, f.Name)
		var got any
		var err error
		switch w.(type) {
		case string:
			got = f.Default
		case int:
			got, err = strconv.Atoi(f.Default)
		case int64:
			got, err = parseBytes(f.Default, 1, maxBytes)
		case time.Duration:
			got, err = time.ParseDuration(f.Default)
		}
		if err != nil || got != w {
			t.Errorf("--%s: the default is %q, that of its package %v (%v)", f.Name, f.Default, w, err)
		}
	}
	for name := range want {
		t.Errorf("there is no flag --%s", name)
	}
	if c := quota.DefaultConfig(); c.LostHold != 2*clerkapi.DefaultTimeout {
		t.Errorf("quota's LostHold is %v by default, want twice the timeout of a request", c.LostHold)
	}
}
