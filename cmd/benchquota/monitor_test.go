package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPurpose(t *testing.T) {
	tests := []struct{ line, want string }{
		{`+1795526574.981808 [0 127.0.0.1:58334] "EVALSHA" "8f0c" "1" "clerkgate:{test}:quota1" "5" "clerkgate:x:cache"`, "quota EVALSHA"},
		{`+1795526574.981808 [3 [::1]:58334] "hmget" "{clerkgate:test}:quota" "n"`, "quota HMGET"},
		{`+1795526574.981808 [0 unix:/tmp/redis] "EVALSHA" "8f0c" "1" "clerkgate:test:cache1:user:user_1" "\xff\"\n"`, "cache EVALSHA"},
		{`+1795526574.981808 [0 127.0.0.1:58334] "SUBSCRIBE" "clerkgate:test:cache1:told"`, "cache SUBSCRIBE"},
		{`+1795526574.981808 [0 127.0.0.1:58334] "PING"`, "connection PING"},
		{`+1795526574.981808 [0 127.0.0.1:58334] "HELLO" "3"`, "connection HELLO"},
		{`+1795526574.981845 [0 lua] "HSET" "clerkgate:test:cache1:user:user_1" "b" "1"`, "scripts HSET"},
		{`-ERR unknown command`, "unknown"},
	}
	for _, test := range tests {
		if got := purpose(test.line + "\r\n"); got != test.want {
			t.Errorf("%s is for %q, want %q", test.line, got, test.want)
		}
	}
}

func TestCommands(t *testing.T) {
	before := commands{"quota EVALSHA": 2, "connection PING": 1}
	c := commands{"quota EVALSHA": 5, "cache EVALSHA": 7, "connection PING": 1, "scripts HSET": 20}.since(before)
	if diff := cmp.Diff(commands{"quota EVALSHA": 3, "cache EVALSHA": 7, "scripts HSET": 20}, c); diff != "" {
		t.Errorf("since (-want +got):\n%s", diff)
	}
	if got := c.sum(forQuota); got != 3 {
		t.Errorf("%d for the quota", got)
	}
	if got := c.sent(); got != 10 {
		t.Errorf("%d sent", got)
	}
	if got, want := c.String(), "7 cache EVALSHA, 3 quota EVALSHA, 20 scripts HSET"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
