package clerkapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestParseKey(t *testing.T) {
	tests := []struct{ in, instance, err string }{
		{"sk_test_abc", TestInstance, ""},
		{" sk_live_abc\r\n", LiveInstance, ""},
		{"", "", "empty"},
		{" \n", "", "empty"},
		{"pk_live_abc", "", "publishable"},
		{"abc", "", "starts with"},
		{"SK_LIVE_abc", "", "starts with"},
		{"sk_live_", "", "ends after its prefix"},
		{"whsec_abc", "", "webhook signing secret"},
		{"\ufeffsk_live_abc", "", "byte order mark"},
		{"\xff\xfes\x00k\x00", "", "UTF-16"},
		{"s\x00k\x00_\x00", "", "UTF-16"},
		{`"sk_live_abc"`, "", "quotes"},
		{` 'sk_live_abc'` + "\n", "", "quotes"},
		{`sk_live_abc"`, "", "quotes"},
		{"“sk_live_abc”", "", "quotes"},
		{"CLERK_SECRET_KEY=sk_live_abc", "", "name of a variable"},
		{"export KEY = sk_live_abc", "", "name of a variable"},
		{"Bearer sk_live_abc", "", "Bearer"},
		{"\u00a0sk_live_abc\t", LiveInstance, ""},
		{"sk_live_a=b", LiveInstance, ""},
		{"sk_live_a b", "", "no space"},
		{"sk_live_abc\nsk_test_abc", "", "no space"},
		{"sk_live_ä", "", "ASCII"},
	}
	for _, test := range tests {
		key, err := ParseKey(test.in)
		if test.err == "" {
			if err != nil || key.Secret() != strings.TrimSpace(test.in) || key.Instance() != test.instance {
				t.Errorf("%q: got %q of %q, %v", test.in, key.Secret(), key.Instance(), err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.err) || key != (Key{}) {
			t.Errorf("%q: got %v, want an error about %s", test.in, err, test.err)
		} else if strings.Contains(err.Error(), "abc") {
			t.Errorf("%q: the error shows it: %v", test.in, err)
		}
	}
	if k := (Key{}); k.Secret() != "" || k.Instance() != "" {
		t.Error("the zero Key is a key")
	}
}

func TestKeyShowsNothing(t *testing.T) {
	const secret = "sk_live_abcdefgh"
	key, err := ParseKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseKey(secret + "\n")
	if err != nil || key != again {
		t.Errorf("equal keys differ: %v", err)
	}
	var out bytes.Buffer
	nested := struct{ key Key }{key}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
		fmt.Fprintf(&out, verb+verb+verb+"\n", key, &key, nested)
	}
	fmt.Fprintln(&out, key, key.String(), fmt.Errorf("with %v", key))
	logger := slog.New(slog.NewJSONHandler(&out, nil))
	logger.Info("m", "key", key, "in", nested, "any", []any{key})
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "key", key, "in", nested)
	if err := json.NewEncoder(&out).Encode(map[string]any{"key": key, "keys": map[Key]int{key: 1}}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "abcdefgh") || strings.Contains(out.String(), "6162636465666768") {
		t.Errorf("the key shows in\n%s", out.String())
	}
	if !strings.Contains(out.String(), redacted) {
		t.Error("nothing shows that a key was there")
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{"", "nonsense", "sk_live_" + strings.Repeat("a", keyFileSize)} {
		write(bad)
		if _, err := OpenKeyFile(path, nil); err == nil {
			t.Errorf("a file of %q opens", Clean(bad, 20))
		} else if strings.Contains(err.Error(), "nonsense") {
			t.Errorf("the error shows the text: %v", err)
		}
	}
	if _, err := OpenKeyFile(path+"-none", nil); err == nil {
		t.Error("a missing file opens")
	}

	synctest.Test(t, func(t *testing.T) {
		write("sk_test_one\n")
		var reports []error
		file, err := OpenKeyFile(path, func(err error) { reports = append(reports, err) })
		if err != nil {
			t.Fatal(err)
		}
		check := func(want string, wantErr bool) {
			t.Helper()
			if got := file.Secret(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if failing := len(reports) > 0 && reports[len(reports)-1] != nil; failing != wantErr {
				t.Errorf("told of %v", reports)
			}
		}
		check("sk_test_one", false)
		write("sk_test_two\n") // as long as the first
		check("sk_test_one", false)
		time.Sleep(keyFilePeriod)
		check("sk_test_two", false)
		if len(reports) != 1 {
			t.Errorf("told of %v, want the new key", reports)
		}
		write("")
		time.Sleep(keyFilePeriod)
		check("sk_test_two", true)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(keyFilePeriod)
		check("sk_test_two", true)
		write("sk_test_three")
		time.Sleep(keyFilePeriod)
		check("sk_test_three", false)
		if len(reports) != 4 {
			t.Errorf("told of %v, want a new key, two failures and their end", reports)
		}

		write("sk_live_other") // of an instance with other users
		if err := file.Err(); err != nil {
			t.Errorf("within a second: %v", err)
		}
		if err := file.Reload(); err == nil || !strings.Contains(err.Error(), "restart") || strings.Contains(err.Error(), "other\n") {
			t.Errorf("a key of another kind: %v", err)
		}
		check("sk_test_three", true)
		time.Sleep(time.Minute)
		check("sk_test_three", true)
		if err := file.Err(); err == nil {
			t.Error("the key of another kind is forgotten")
		}
		write("sk_test_four")
		if err := file.Reload(); err != nil {
			t.Error(err)
		}
		check("sk_test_four", false)
		if len(reports) != 6 {
			t.Errorf("told of %v", reports)
		}
	})
}

func TestRedact(t *testing.T) {
	tests := []struct{ in, want string }{
		{"plain", "plain"},
		{"a sk_test_abc b sk_live_d,e whsec_f= g", "a [redacted] b [redacted] [redacted] g"},
		{`"sk_live_abc"`, `"[redacted]"`},
		{`{"key":"sk_live_abc"}, (sk_live_a"b), sk_test_x.`, `{"key":"[redacted]"}, ([redacted]), [redacted].`},
		{"sk_live_", "sk_live_"},
		{"a publishable key (pk_…); want sk_test_… or sk_live_…", "a publishable key (pk_…); want sk_test_… or sk_live_…"},
		{"sk_live_)", "[redacted])"},
	}
	for _, test := range tests {
		if got := Redact(test.in); got != test.want {
			t.Errorf("%q: got %q, want %q", test.in, got, test.want)
		}
		if again := Redact(test.want); again != test.want {
			t.Errorf("%q: redacted again it becomes %q", test.want, again)
		}
	}
}

func TestClean(t *testing.T) {
	tests := []struct {
		in    string
		limit int
		want  string
	}{
		{" a\r\nb\x00\x1b[31m ", 20, "a  b  [31m"},
		{"a\u202eb", 20, "a b"},
		{"äöü", 2, "äö…"},
		{"äöü", 3, "äöü"},
		{"x\xff", 3, "x\ufffd"},
		{"key sk_live_ab\x00cdef", 20, "key [redacted]"},
		{"key sk_live_abcdef", 15, "key [redacted]"},
	}
	for _, test := range tests {
		if got := Clean(test.in, test.limit); got != test.want {
			t.Errorf("%q: got %q, want %q", test.in, got, test.want)
		}
	}
}
