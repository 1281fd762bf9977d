package clerkapi

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"
	"unique"

	"github.com/clerkgate/clerkgate/internal/livefile"
)

// The kinds of Clerk instance that a secret key can belong to.
const (
	TestInstance = "test" // development: keys start with sk_test_
	LiveInstance = "live" // production: keys start with sk_live_
)

// Key is a Clerk secret key. Keys can be compared with ==. A Key never shows itself when
// it is printed, logged or encoded; only Secret returns it. The zero Key is no key.
type Key struct {
	// A handle keeps the text behind a pointer, so even a Key in an unexported field,
	// whose methods fmt can't call, prints as an address.
	secret unique.Handle[string]
}

// ParseKey parses a secret key and ignores space around it. Its errors do not show any of
// the text.
func ParseKey(s string) (Key, error) {
	if err := CheckPlain(s); err != nil {
		return Key{}, fmt.Errorf("this is not a secret key as Clerk shows it: %w", err)
	}
	s = strings.TrimSpace(s)
	rest, test := strings.CutPrefix(s, "sk_test_")
	live := false
	if !test {
		rest, live = strings.CutPrefix(s, "sk_live_")
	}
	switch {
	case s == "":
		return Key{}, errors.New("the secret key is empty")
	case strings.HasPrefix(s, "pk_"):
		return Key{}, errors.New("this is a publishable key (pk_…); a secret key is needed, sk_test_… or sk_live_…")
	case strings.HasPrefix(s, "whsec_"):
		return Key{}, errors.New("this is a webhook signing secret; a secret key is needed, sk_test_… or sk_live_…")
	case !test && !live:
		return Key{}, errors.New("a secret key starts with sk_test_ or sk_live_")
	case rest == "":
		return Key{}, errors.New("the secret key ends after its prefix")
	}
	if strings.ContainsFunc(rest, unicode.IsSpace) {
		return Key{}, errors.New("a secret key has no space and no line break in it")
	}
	for _, b := range []byte(rest) {
		if b <= ' ' || b > '~' {
			return Key{}, errors.New("a secret key holds printable ASCII characters only")
		}
	}
	return Key{unique.Make(s)}, nil
}

// Secret returns the key, or "" for the zero Key. As a method value it can be used as
// Config.Key.
func (k Key) Secret() string {
	if k == (Key{}) {
		return ""
	}
	return k.secret.Value()
}

// Instance returns the kind of instance from the prefix of the key: TestInstance or
// LiveInstance, or "" for the zero Key.
func (k Key) Instance() string {
	switch {
	case k == (Key{}):
		return ""
	case strings.HasPrefix(k.Secret(), "sk_test_"):
		return TestInstance
	default:
		return LiveInstance
	}
}

// String returns "[redacted]".
func (k Key) String() string { return redacted }

// Format writes "[redacted]" for every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue returns "[redacted]".
func (k Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]", for encoding/json and others.
func (k Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Limits of reading a key file: at most once per keyFilePeriod, and at most keyFileSize
// bytes.
const (
	keyFilePeriod = time.Second
	keyFileSize   = 4096 // bytes
)

// KeyFile is a secret key in a file. The file may change to another key of the same kind
// of instance. A KeyFile is safe for concurrent use.
type KeyFile struct {
	path   string
	report func(error)

	mu   sync.Mutex
	read time.Time // when the file was last read; guarded by mu
	key  Key       // the last good one; guarded by mu
	err  error     // of the last read; nil if it returned a key; guarded by mu
}

// OpenKeyFile reads the key in the file at path, which must be a regular file. A KeyFile
// need not be closed. report is called with an error when the file stops holding a usable
// key, and again for each other reason, and with nil when the file is usable again or holds
// a new key. report must not use the KeyFile.
func OpenKeyFile(path string, report func(error)) (*KeyFile, error) {
	key, err := readKey(path)
	if err != nil {
		return nil, err
	}
	return &KeyFile{path: path, report: report, key: key, read: time.Now()}, nil
}

// Key returns the key in the file, at most a second old. While the file is missing or
// holds no key, for example during a replacement, Key returns the last good one. It does
// the same if the file holds a key of another kind of instance, which would have other
// users and another quota.
func (f *KeyFile) Key() Key {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh(keyFilePeriod)
	return f.key
}

// Secret returns Key().Secret(). As a method value it can be used as Config.Key.
func (f *KeyFile) Secret() string { return f.Key().Secret() }

// Err returns the error that keeps the key in the file from being used, at most a second old,
// or nil if it is used.
func (f *KeyFile) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh(keyFilePeriod)
	return f.err
}

// Reload reads the file now and returns the same as Err.
func (f *KeyFile) Reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh(0)
	return f.err
}

// refresh reads the file if it was not read within period. f.mu must be held.
func (f *KeyFile) refresh(period time.Duration) {
	now := time.Now()
	if now.Sub(f.read) < period {
		return
	}
	key, err := readKey(f.path)
	if err == nil && key.Instance() != f.key.Instance() {
		err = fmt.Errorf("key file %s: it holds a key of a %s instance, and the key in use is of a %s instance, which has other users and another quota: restart to change",
			f.path, key.Instance(), f.key.Instance())
	}
	f.read = now
	replaced := err == nil && key != f.key
	if err == nil {
		f.key = key
	}
	was := f.err
	f.err = err
	if replaced || (err == nil) != (was == nil) || err != nil && err.Error() != was.Error() {
		f.report(err)
	}
}

func readKey(path string) (Key, error) {
	text, err := livefile.ReadAtMost(path, keyFileSize)
	if err != nil {
		return Key{}, fmt.Errorf("key file: %w", err)
	}
	key, err := ParseKey(string(text))
	if err != nil {
		return Key{}, fmt.Errorf("key file %s: %w", path, err)
	}
	return key, nil
}
