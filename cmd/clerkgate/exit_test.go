package main

import (
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
)

func TestExitCode(t *testing.T) {
	for code, want := range map[codes.Code]int{
		codes.OK: 0, codes.Unknown: exitFailed, codes.Internal: exitFailed, codes.Unimplemented: exitFailed, codes.DataLoss: exitFailed,
		codes.NotFound: exitNotFound, codes.InvalidArgument: exitInvalid, codes.OutOfRange: exitInvalid, codes.Aborted: exitInvalid,
		codes.ResourceExhausted: exitRefused, codes.Unavailable: exitUnavailable, codes.DeadlineExceeded: exitUnavailable,
		codes.Canceled: exitUnavailable, codes.FailedPrecondition: exitUnavailable,
		codes.PermissionDenied: exitDenied, codes.Unauthenticated: exitDenied,
	} {
		if got := exitCode(code); got != want {
			t.Errorf("%v: %d, want %d", code, got, want)
		}
	}
}

// TestExitCodesOfCommands runs commands that fail in each of the ways.
func TestExitCodesOfCommands(t *testing.T) {
	address, id, _ := serveSim(t, "--full-view", "none")
	for _, tt := range []struct {
		args []string
		want int
	}{
		{[]string{"get", id}, 0},
		{[]string{"get", "user_none"}, exitNotFound},
		{[]string{"get", id, "user_none"}, exitNotFound},
		{[]string{"get", "-user_x"}, exitUsage}, // it is taken for a flag
		{[]string{"get", "../x"}, exitInvalid},
		{[]string{"get", "user_none", "../x"}, exitInvalid},
		{[]string{"get", "--view", "full", id}, exitDenied},
		{[]string{"list", "--order-by", "shoe_size"}, exitInvalid},
		{[]string{"list", "--view", "full"}, exitDenied},
		{[]string{"count", "--address", "127.0.0.1:1"}, exitUnavailable},
		{[]string{"count", "--timeout", "0s"}, exitUsage},
		{[]string{"count", "--address="}, exitUsage},
	} {
		args := tt.args
		if !strings.Contains(strings.Join(args, " "), "--address") {
			args = append(args, "--address", address)
		}
		if code, stdout, stderr := runCommand(t, args...); code != tt.want || code != 0 && stderr == "" {
			t.Errorf("%v: exit code %d, want %d: %s%s", tt.args, code, tt.want, stdout, stderr)
		}
	}
}

func TestParseFilter(t *testing.T) {
	got, err := parseFilter([]string{"email_addresses=a@b.c", "email_addresses=d@e.f\nbanned=true", "query=x=y"})
	if err != nil || len(got.GetEmailAddresses().GetValues()) != 2 || !got.GetBanned() || got.GetQuery() != "x=y" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := parseFilter(nil); err != nil || got != nil {
		t.Errorf("no condition: %v, %v", got, err)
	}
	if got, err := parseFilter([]string{"", "query=x"}); err == nil {
		t.Errorf("an empty condition: %v", got)
	}
}

// TestBusyPort: that a port is taken is found before users are made.
func TestBusyPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, args := range [][]string{
		{"--grpc-listen", taken.Addr().String(), "--http-listen", "127.0.0.1:0"},
		{"--grpc-listen", "127.0.0.1:0", "--http-listen", taken.Addr().String()},
	} {
		code, stdout, stderr := runCommand(t, append([]string{"serve", "--sim", "--sim-users", "2"}, args...)...)
		if code != exitFailed || stdout != "" || strings.Contains(stderr, "SIMULATED") || !strings.Contains(stderr, taken.Addr().String()) {
			t.Errorf("%v: exit code %d: %s%s", args, code, stdout, stderr)
		}
	}
}

// TestSimulatorsKey: the simulator refuses other keys as Clerk would.
func TestSimulatorsKey(t *testing.T) {
	flags := simFlags{Users: 1, QuotaHeaders: "all", key: "sk_live_right"}
	config, err := flags.config("", "", clerksim.Quota{})
	if err != nil || config.SecretKey != "sk_live_right" {
		t.Errorf("%q, %v", config.SecretKey, err)
	}
}
