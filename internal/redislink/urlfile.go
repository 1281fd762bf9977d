package redislink

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"

	"github.com/clerkgate/clerkgate/internal/livefile"
)

// maxURLFile is the maximum size of the file, in bytes.
const maxURLFile = 16 << 10

// URLFile is a Redis URL in a file, since it contains a password. It is safe for
// concurrent use.
type URLFile struct {
	path   string
	report func(error)

	mu   sync.Mutex
	url  string        // the last good one, at first; guarded by mu
	user *url.Userinfo // the last good one; guarded by mu
	err  error         // why the last read failed or needs a restart; guarded by mu
}

// OpenURLFile reads the URL in the regular file at path, in the form of Options. A URLFile need
// not be closed. report is called with an error when the file becomes unusable, and again
// for each other reason, and with nil when it is usable again. report must not use the
// URLFile. Errors do not show the URL.
func OpenURLFile(path string, report func(error)) (*URLFile, error) {
	f := &URLFile{path: path, report: report}
	text, u, err := f.read()
	if err != nil {
		return nil, err
	}
	f.url, f.user = text, u.User
	return f, nil
}

// URL returns the URL that was in the file when it was opened.
func (f *URLFile) URL() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.url
}

// Credentials reads the file and returns its user and password. While the file is
// unusable it returns the last ones. It is meant for Access.
func (f *URLFile) Credentials() (user, password string) {
	_ = f.Reload()
	f.mu.Lock()
	defer f.mu.Unlock()
	password, _ = f.user.Password()
	return f.user.Username(), password
}

// Reload reads the file and returns an error if its content is not in use: the file is
// unusable, or something other than the user and password has changed, which needs a
// restart.
func (f *URLFile) Reload() error {
	text, u, err := f.read()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.user = u.User
		if withoutUser(text) != withoutUser(f.url) {
			err = fmt.Errorf("%s: more than the user and the password has changed: restart to use it", f.path)
		}
	}
	was := f.err
	f.err = err
	if (err == nil) != (was == nil) || err != nil && err.Error() != was.Error() {
		f.report(err)
	}
	return err
}

// Err returns the result of the last Reload.
func (f *URLFile) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *URLFile) read() (string, *url.URL, error) {
	b, err := livefile.ReadAtMost(f.path, maxURLFile)
	if err != nil {
		return "", nil, err
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return "", nil, fmt.Errorf("%s is empty", f.path)
	}
	if _, err := Options(text, Access{}); err != nil {
		return "", nil, fmt.Errorf("%s: %w", f.path, err)
	}
	u, err := url.Parse(text)
	if err != nil { // Options has parsed the same text
		return "", nil, errors.New("the Redis URL can't be read")
	}
	return text, u, nil
}

// withoutUser returns a URL without user and password.
func withoutUser(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	u.User = nil
	return u.String()
}
