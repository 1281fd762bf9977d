//go:build unix

package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

// hangUp sends this process SIGHUP, and waits until the server has said n times that it
// has read what it can.
func (k *keyed) hangUp(n int) {
	k.t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		k.t.Fatal(err)
	}
	k.within("read again", func() bool { return strings.Count(k.log.String(), "were read again") >= n })
}

// TestKeyOfAnotherKind replaces the key of a development instance by one of a
// production instance, which has other users and another quota: it is not taken.
func TestKeyOfAnotherKind(t *testing.T) {
	k := serveKeyed(t, "")
	const metric = "clerkgate_key_file_unusable "
	if code, text := k.answer("/readyz"); code != http.StatusOK || text != "ready\n" {
		k.within("ready", func() bool { code, text = k.answer("/readyz"); return code == http.StatusOK && text == "ready\n" })
	}
	k.write("key", "sk_live_other\n")
	k.hangUp(1)
	code, text := k.answer("/readyz")
	if code != http.StatusOK || !strings.HasPrefix(text, "ready\nnote: the secret key's file") || !strings.Contains(text, "live instance") {
		t.Errorf("%d: %s", code, text)
	}
	if _, text := k.answer("/metrics"); !strings.Contains(text, metric+"1\n") {
		t.Error("no metric tells of the key of another kind")
	}
	if n := strings.Count(k.log.String(), "the secret key's file can't be used"); n != 1 {
		t.Errorf("%d lines about the key:\n%s", n, k.log)
	}
	code, stdout, stderr := runCommand(t, "quota", "--address", k.grpc, "-o", "json")
	var quota struct{ Limit int }
	if err := json.Unmarshal([]byte(stdout), &quota); code != 0 || err != nil || quota.Limit != 100 {
		t.Errorf("the quota is %s%s, %v", stdout, stderr, err)
	}
	if code, _, stderr := runCommand(t, "get", "--address", k.grpc, k.simulated.UserIDs(1)[0]); code != 0 {
		t.Errorf("a lookup with the old key: %s", stderr)
	}
	k.write("key", "sk_test_second\n")
	k.hangUp(2)
	if _, text := k.answer("/readyz"); text != "ready\n" {
		t.Errorf("with a key of the same kind: %s", text)
	}
	if _, text := k.answer("/metrics"); !strings.Contains(text, metric+"0\n") {
		t.Error("the metric does not know that it is over")
	}
}

// TestHangUp changes files and sends SIGHUP, which ends nothing.
func TestHangUp(t *testing.T) {
	k := serveKeyed(t, "quota: 5/10s\n")
	k.write("settings.yaml", "quota: 6/10s\nlog-level: warning\n")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	k.within("the level is taken, and the quota is told of", func() bool {
		return strings.Contains(k.log.String(), `"msg":"a changed setting takes effect after a restart","name":"quota","in_effect":"5/10s","changed_to":"6/10s"`)
	})
	if strings.Contains(k.log.String(), "were read again") {
		t.Error("the level warning lets info through")
	}
	k.write("settings.yaml", "quota: 6/10s\nlog-level: info\n")
	k.hangUp(1)
	k.write("settings.yaml", "qouta: 6/10s\n")
	k.hangUp(2)
	if !strings.Contains(k.log.String(), "the settings can't be read again") || !strings.Contains(k.log.String(), `"ok":false`) {
		t.Errorf("a file with a fault:\n%s", k.log)
	}
	if code, _, stderr := runCommand(t, "get", "--address", k.grpc, k.simulated.UserIDs(1)[0]); code != 0 {
		t.Errorf("after SIGHUP: %s", stderr)
	}
}
