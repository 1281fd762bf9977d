package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

func TestJSONForm(t *testing.T) {
	for _, tt := range []struct {
		name    string
		message proto.Message
		want    string
	}{
		{"fields in the contract's order, zeros too", &clerkgatev1.CountUsersResponse{Freshness: &clerkgatev1.Freshness{Stale: true}},
			`{"total_count":0,"freshness":{"origin":"ORIGIN_UNSPECIFIED","served_from":"SERVED_FROM_UNSPECIFIED","stale":true}}`},
		{"large numbers", &clerkgatev1.GetUsageResponse{Totals: &clerkgatev1.Totals{UpstreamRequests: 9007199254740991, Retries: 9007199254740993, UsersPerRequest: 1.5}},
			`{"totals":{"lookups":[],"upstream_requests":9007199254740991,"upstream_rate_limited":0,"retries":"9007199254740993","users_per_request":1.5},"callers":[]}`},
		{"times and durations", &clerkgatev1.Freshness{FetchTime: timestamppb.New(time.Unix(0, 120_000_000)), Age: durationpb.New(-26_935_355)},
			`{"fetch_time":"1970-01-01T00:00:00.120Z","origin":"ORIGIN_UNSPECIFIED","served_from":"SERVED_FROM_UNSPECIFIED","age":"-0.026935355s","stale":false}`},
		{"text that a terminal or a reader of lines would obey", &clerkgatev1.StringList{Values: []string{"\x1b[2J\u009b\u2028\n\"\\"}},
			`{"values":["\u001b[2J\u009b\u2028\n\"\\"]}`},
		{"metadata", &clerkgatev1.VerificationError{MetaJson: proto.String("{\n \"b\": [1.0, 12345678901234567890], \"a\": \"<\u009b\"}")},
			`{"code":"","message":"","meta":{"b":[1.0,12345678901234567890],"a":"<\u009b"}}`},
		{"metadata that is no JSON", &clerkgatev1.VerificationError{MetaJson: proto.String("{")},
			`{"code":"","message":"","meta_json":"{"}`},
	} {
		var out bytes.Buffer
		if err := printJSON(&out, tt.message, false); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != tt.want+"\n" || !json.Valid(out.Bytes()) {
			t.Errorf("%s:\ngot  %swant %s", tt.name, got, tt.want)
		}
	}
}

// TestJSONOfCommands checks that each command that prints JSON prints it in the one
// form: one object, indented, or one on each line; names in snake case; nothing null.
func TestJSONOfCommands(t *testing.T) {
	address, id, _ := serveSim(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"get", id}, `"public_metadata": {`},
		{[]string{"get", id, id}, `"public_metadata":{`},
		{[]string{"list", "--limit", "2"}, `"banned":false`},
		{[]string{"count", "-o", "json"}, `"total_count": 700`},
		{[]string{"quota", "-o", "json"}, `"times_opened": 0`},
		{[]string{"whoami", "-o", "json"}, `"batch_only": false`},
		{[]string{"health", "-o", "json"}, `"status": "SERVING"`},
		{[]string{"version", "-o", "json"}, `"version": "`},
		{[]string{"token", "new", "-o", "json"}, `"sha256": "`},
		{[]string{"config", "check", "--sim", "-o", "json"}, `"settings": [`},
		{[]string{"config", "schema"}, `"properties": {`},
	} {
		args := tt.args
		if !strings.HasPrefix(args[0], "config") && args[0] != "token" && args[0] != "version" {
			args = append(args, "--address", address)
		}
		code, stdout, stderr := runCommand(t, args...)
		if code != 0 || !strings.Contains(stdout, tt.want) || strings.Contains(stdout, "null") {
			t.Errorf("%v: exit code %d, %q is missing or something is null in\n%s%s", tt.args, code, tt.want, stdout, stderr)
		}
		decoder := json.NewDecoder(strings.NewReader(stdout))
		for decoder.More() {
			var object map[string]any
			if err := decoder.Decode(&object); err != nil {
				t.Fatalf("%v: %v in %s", tt.args, err, stdout)
			}
			for name := range object {
				if name != strings.ToLower(name) && name != "additionalProperties" {
					t.Errorf("%v: the name %q", tt.args, name)
				}
			}
		}
	}
}
