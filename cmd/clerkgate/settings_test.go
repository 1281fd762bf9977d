package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	"github.com/clerkgate/clerkgate/internal/caller/callertest"
)

// tlsName names the files of a certificate and its key.
const tlsName = "tls"

// companions returns the flags without which a setting can't be given.
func companions(name, dir string) []string {
	cert, key := "tls-cert-file="+filepath.Join(dir, tlsName+".crt"), "tls-key-file="+filepath.Join(dir, tlsName+".key")
	if name == "client-ca-file" {
		return []string{"--" + cert, "--" + key}
	}
	if prefix, ok := strings.CutSuffix(name, "tls-cert-file"); ok {
		return []string{"--" + prefix + key}
	}
	if prefix, ok := strings.CutSuffix(name, "tls-key-file"); ok {
		return []string{"--" + prefix + cert}
	}
	return nil
}

// examples are a good and a wrong value of each setting of serve that has values of a
// form of its own, and otherExamples those of the kinds of all others. --sim takes them all.
func examples(t *testing.T, dir string) map[string][2]string {
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	none := filepath.Join(dir, "none")
	_, certificate, err := clerksim.SelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	empty := file("empty.pem", "")
	cert, key := callertest.NewCA(t).Issue("127.0.0.1").Files(t, dir, tlsName)
	return map[string][2]string{
		"callers-file":              {file("callers.yaml", "callers: [{name: a, identity: {label: true}}]"), none},
		"tls-cert-file":             {cert, none},
		"tls-key-file":              {key, none},
		"client-ca-file":            {cert, none},
		"http-tls-cert-file":        {cert, none},
		"http-tls-key-file":         {key, none},
		"webhook-tls-cert-file":     {cert, none},
		"webhook-tls-key-file":      {key, none},
		"grpc-listen":               {"localhost:0", "9090"},
		"http-listen":               {"localhost:0", "localhost:70000"},
		"full-view":                 {"loopback", "all"},
		"clerk-api-url":             {"http://127.0.0.1:1", "ftp://x"},
		"clerk-ca-file":             {file("ca.pem", string(certificate)), empty},
		"redis-ca-file":             {file("ca.pem", string(certificate)), empty},
		"cache-encryption-key-file": {file("keys", "k1 "+base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n"), none},
		"clerk-secret-key-file":     {file("key", "sk_test_inafile"), ""},
		"quota":                     {"7/1s", "many"},
		"max-leased":                {"20%", "0%"},
		"quota-reserve":             {"30%", "30"},
		"state-dir":                 {dir, none},
		"cache-max-bytes":           {"2MiB", "2"},
		"max-unread-bytes":          {"64MiB", "8MiB"},
		"max-request-bytes":         {"2MiB", "17MiB"},
		"max-metadata-bytes":        {"32KiB", "4KiB"},
		"connections-per-address":   {"100%", "0%"},
		"max-timeout":               {"1m", "29s"},
		"read-timeout":              {"2s", "6m"},
		"connection-age":            {"1h", "999ms"},
		"connection-idle-timeout":   {"1h", "25h"},
		"http-idle-timeout":         {"10m", "0s"},
		"keepalive-interval":        {"30s", "-1s"},
		"keepalive-timeout":         {"5s", "6m"},
		"keepalive-min-interval":    {"10s", "500ms"},
		"instance":                  {"acme", "a b"},
		"redis-url":                 {"redis://127.0.0.1:1", "http://127.0.0.1"},
		"redis-url-file":            {file("redis", "redis://127.0.0.1:1\n"), none},
		"webhook-listen":            {"localhost:0", "x"},
		"webhook-secret-file":       {file("secret", simulatedSecret), ""},
		"trace-sample":              {"0.5", "2"},
		"log-level":                 {"error", "loud"},
		"sim-users":                 {"3", "0"},
		"sim-quota-kind":            {"sliding", "odd"},
		"sim-webhook-url":           {"", "http://127.0.0.1:1"}, // needs a secret
		"sim-webhook-drop":          {"0.5", "2"},
		"sim-webhook-forge":         {"0.5", "-1"},
	}
}

// needs are settings that others can't do without.
var needs = map[string]string{"cache-encryption-key-file": "--redis-url=redis://127.0.0.1:1"}

func otherExamples(f *kong.Flag) (good, wrong string) {
	switch {
	case f.PlaceHolder == "FILE":
		return "", "/dev/null/none"
	case f.Enum != "":
		values := f.EnumSlice()
		return values[len(values)-1], "other"
	case f.IsBool():
		return "true", "perhaps"
	case f.Target.Kind() == reflect.Int64: // a duration
		return "2s", "2"
	}
	return "12", "twelve"
}

// TestCheckAndServeAgree gives each setting in each place, good, wrong, empty and
// twice, and runs both config check and serve, which must accept the same, and have
// the same settings in effect.
func TestCheckAndServeAgree(t *testing.T) {
	dir := t.TempDir()
	special := examples(t, dir)
	for _, f := range serveFlags(modelOf(t)) {
		good, wrong := otherExamples(f)
		if e, ok := special[f.Name]; ok {
			good, wrong = e[0], e[1]
		}
		env := f.Envs[0]
		places := map[string]combination{
			"flag/good":                             {flags: []string{good}, accepted: true},
			"flag/wrong":                            {flags: []string{wrong}},
			"flag/twice":                            {flags: []string{good, wrong}},
			"flag/empty":                            {flags: []string{""}},
			"environment/good":                      {env: " " + good + "\n", accepted: true},
			"environment/wrong":                     {env: wrong},
			"environment/empty":                     {env: " ", accepted: true},
			"file/good":                             {file: []string{good}, accepted: true},
			"file/wrong":                            {file: []string{wrong}},
			"file/twice":                            {file: []string{good, good}},
			"file/empty":                            {file: []string{`""`}},
			"file/nothing":                          {file: []string{""}},
			"file/good, and an empty variable":      {file: []string{good}, env: " ", accepted: true},
			"file/wrong, environment/good":          {file: []string{"x"}, env: good, accepted: true},
			"file/good, environment/wrong":          {file: []string{good}, env: wrong},
			"file and environment/wrong, flag/good": {file: []string{"x"}, env: "y", flags: []string{good}, accepted: true},
		}
		for place, c := range places {
			if strings.Contains(place, "good") && good == "" || strings.Contains(place, "wrong") && wrong == "" {
				continue
			}
			if c.accepted && place != "environment/empty" {
				c.want = good
			}
			c.name, c.variable = f.Name, env
			t.Run(f.Name+"/"+place, func(t *testing.T) { c.try(t, dir) })
		}
	}
	off := []string{"--http-listen=off"}
	for place, c := range map[string]combination{
		"flag":             {name: "http-listen", flags: []string{"off"}, accepted: true, want: "off"},
		"environment":      {name: "http-listen", env: "off", accepted: true, want: "off"},
		"file":             {name: "http-listen", file: []string{"off"}, accepted: true, want: "off"},
		"otherwise spelt":  {name: "http-listen", flags: []string{"OFF"}},
		"gRPC":             {name: "grpc-listen", flags: []string{"off"}},
		"webhooks":         {name: "webhook-listen", flags: []string{"off"}},
		"certificate":      {name: "http-tls-cert-file", flags: []string{special["http-tls-cert-file"][0]}, beside: off},
		"no TLS":           {name: "http-tls-cert-file", env: "off", beside: off},
		"key":              {name: "http-tls-key-file", file: []string{special["http-tls-key-file"][0]}, beside: off},
		"profiles":         {name: "pprof", env: "true", beside: off},
		"no profiles":      {name: "pprof", env: "false", beside: off, accepted: true, want: "false"},
		"TLS":              {name: "tls-cert-file", flags: []string{special["tls-cert-file"][0]}, beside: off, accepted: true, want: special["tls-cert-file"][0]},
		"Prometheus":       {name: "metrics", flags: []string{"prometheus"}, beside: off, accepted: true, want: "prometheus"},
		"idle connections": {name: "http-idle-timeout", flags: []string{"2m0s"}, beside: off, accepted: true, want: "2m"},
		"callers":          {name: "callers-file", flags: []string{special["callers-file"][0]}, beside: off, accepted: true, want: special["callers-file"][0]},
	} {
		c.variable = "CLERKGATE_" + strings.ToUpper(strings.ReplaceAll(c.name, "-", "_"))
		t.Run("HTTP off/"+place, func(t *testing.T) { c.try(t, dir) })
	}
	misspelt := combination{name: "quota", variable: "CLERKGATE_QOUTA", env: "5/1s"}
	t.Run("misspelt", func(t *testing.T) { misspelt.try(t, dir) })
}

// combination is a setting in some places.
type combination struct {
	name     string
	variable string
	flags    []string
	env      string // empty: not set
	file     []string
	beside   []string // flags given besides
	accepted bool
	want     string // in effect, if accepted; empty: the default
}

// listensAtDefault reports whether c leaves a listener its default address.
func (c combination) listensAtDefault() bool {
	return c.accepted && c.want == "" && strings.HasSuffix(c.name, "-listen")
}

func (c combination) try(t *testing.T, dir string) {
	t.Helper()
	var args []string
	given := map[string]bool{c.name: true}
	for _, flag := range c.beside {
		name, _, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
		given[name] = true
	}
	for _, v := range c.flags {
		args = append(args, "--"+c.name+"="+v)
	}
	if c.env != "" {
		t.Setenv(c.variable, c.env)
	}
	if len(c.file) > 0 {
		text := ""
		for _, v := range c.file {
			text += fmt.Sprintf("%s: %s\n", c.name, v)
		}
		path := filepath.Join(dir, "settings.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	for _, f := range [][2]string{{"sim", "true"}, {"sim-users", "1"}, {"grpc-listen", "127.0.0.1:0"}, {"http-listen", "127.0.0.1:0"}, {"drain-delay", "0s"}} {
		if !given[f[0]] {
			args = append(args, "--"+f[0]+"="+f[1])
		}
	}
	args = append(args, c.beside...)
	if flag := needs[c.name]; flag != "" {
		args = append(args, flag)
	}
	if len(c.flags)+len(c.file) > 0 || strings.TrimSpace(c.env) != "" {
		args = append(args, companions(c.name, dir)...)
	}
	if c.name == "sim" {
		t.Setenv(secretKeyEnv, secret)
		args = append(args, "--clerk-api-url=http://127.0.0.1:1")
	}
	os.Unsetenv("CLERKGATE_DRAIN_DELAY") // TestMain's
	if c.variable == "CLERKGATE_DRAIN_DELAY" && c.env != "" {
		t.Setenv(c.variable, c.env)
	}
	checkCode, shown, checkErr := runCommand(t, append([]string{"config", "check", "-o", "json"}, args...)...)
	var out, log output
	ctx, stop := context.WithCancel(t.Context())
	stop() // it starts, and stops at once
	serveCode := run(ctx, append([]string{"serve"}, args...), streams{&out, &log})
	if c.listensAtDefault() && strings.Contains(log.String(), "address already in use") {
		// The default's port is another program's: serve has accepted the setting, and logs
		// settings only once it listens.
		if checkCode != 0 {
			t.Errorf("config check ends with %d: %s", checkCode, checkErr)
		}
		return
	}
	if checkCode != serveCode || checkCode != 0 && checkErr != log.String() {
		t.Fatalf("config check ends with %d: %s\nserve ends with %d: %s", checkCode, checkErr, serveCode, &log)
	}
	if want := map[bool]int{true: 0, false: exitUsage}[c.accepted]; checkCode != want {
		t.Errorf("ends with %d, want %d: %s", checkCode, want, checkErr)
	}
	if checkCode != 0 {
		if !strings.Contains(checkErr, c.name) && !strings.Contains(checkErr, c.variable) {
			t.Errorf("the error does not name %s: %s", c.name, checkErr)
		}
		return
	}
	var effective checkResult
	if err := json.Unmarshal([]byte(shown), &effective); err != nil {
		t.Fatal(err)
	}
	for _, s := range effective.Settings {
		logged := strings.Contains(log.String(), "msg=setting name="+s.Name+" ")
		if isDefault := strings.HasPrefix(s.From, "default"); logged == isDefault && !strings.HasPrefix(s.Name, "(") && c.name != "log-level" && c.name != "log-format" {
			t.Errorf("%s is from %s, and logged: %v", s.Name, s.From, logged)
		}
		if s.Name != c.name || c.want == "" {
			continue
		}
		want := map[bool]string{true: "flag", false: "$" + c.variable}[len(c.flags) > 0]
		if len(c.flags) == 0 && strings.TrimSpace(c.env) == "" {
			want = filepath.Join(dir, "settings.yaml") + ", line 1"
		}
		if s.Value != c.want || s.From != want {
			t.Errorf("%s is %q from %q, want %q from %q", s.Name, s.Value, s.From, c.want, want)
		}
	}
	for _, w := range effective.Warnings {
		if c.name != "log-level" && c.name != "log-format" && !strings.Contains(log.String(), w[:min(len(w), 20)]) {
			t.Errorf("serve does not log the warning %s", w)
		}
	}
}
