package usercache

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

func TestParseKeys(t *testing.T) {
	secret := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	for name, c := range map[string]struct{ text, want string }{
		"one":             {"k1 " + secret, ""},
		"several":         {"# the new one\nk2 " + secret + "\n\n  k1\t" + secret + "\r\n", ""},
		"nothing":         {"\n# k1 " + secret, "at least one"},
		"no id":           {secret, "line 1: want an id"},
		"an odd id":       {"k/1 " + secret, "line 1: want an id"},
		"too short a key": {"k1 " + secret[:40], "line 1: want a key of 32 bytes"},
		"no base64":       {"k1 " + strings.Repeat("!", 44), "line 1: want a key of 32 bytes"},
		"an id twice":     {"k1 " + secret + "\nk1 " + secret, "line 2: the id k1 is given twice"},
		"too much":        {"k1 " + secret + " more", "line 1: want an id"},
	} {
		_, err := ParseKeys(c.text)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), secret[:10]) {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
}

func TestSealedValues(t *testing.T) {
	keys, value := testKeys(t, "new", "old"), []byte("a value")
	sealed := keys.seal(value, "a place")
	if again := keys.seal(value, "a place"); bytes.Equal(sealed, again) {
		t.Error("the same value is sealed twice in the same way")
	}
	if bytes.Contains(sealed, value) || !bytes.Contains(sealed, []byte("new")) {
		t.Errorf("sealed as %q", sealed)
	}
	for name, c := range map[string]struct {
		keys    *Keys
		sealed  []byte
		context string
		ok      bool
	}{
		"as it was":        {keys, sealed, "a place", true},
		"among other keys": {testKeys(t, "third", "new"), sealed, "a place", true},
		"by the old key":   {keys, testKeys(t, "old").seal(value, "a place"), "a place", true},
		"in another place": {keys, sealed, "another place", false},
		"without the key":  {testKeys(t, "old"), sealed, "a place", false},
		"changed":          {keys, append(bytes.Clone(sealed[:len(sealed)-1]), sealed[len(sealed)-1]^1), "a place", false},
		"in clear":         {keys, value, "a place", false},
		"nothing":          {keys, nil, "a place", false},
		"an id cut off":    {keys, []byte{sealedVersion, 200, 'x'}, "a place", false},
		"a nonce cut off":  {keys, sealed[:10], "a place", false},
	} {
		got, err := c.keys.open(c.sealed, c.context)
		if (err == nil) != c.ok || c.ok && !bytes.Equal(got, value) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// dump returns all data of a Redis.
func dump(t *testing.T, s *redistest.Server) string {
	t.Helper()
	var all strings.Builder
	keys, err := s.Client().Do(t.Context(), s.Client().B().Keys().Pattern("*").Build()).AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		text, err := s.Client().Do(t.Context(), s.Client().B().Dump().Key(key).Build()).ToString()
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(key + text)
		fields, _ := s.Client().Do(t.Context(), s.Client().B().Hgetall().Key(key).Build()).AsStrMap()
		for name, value := range fields {
			all.WriteString(name + value)
		}
	}
	return all.String()
}

// TestWhatRedisHolds: with a key, nothing of a user is in clear; without one, no private
// part is stored.
func TestWhatRedisHolds(t *testing.T) {
	for name, c := range map[string]struct {
		keys           *Keys
		basic, private bool
	}{
		"with a key":    {testKeys(t, "k1"), false, false},
		"without a key": {nil, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			redis := redistest.Start(t)
			clerk := &fakeClerk{}
			clerk.change("user_1")
			r, stop := newInstance(t, clerk, Config{TTL: time.Minute, RedisURL: redis.URL(), RedisTimeout: patience, RedisKeys: c.keys}, nil)
			t.Cleanup(stop)
			awaitTrust(t, r)
			if v, res := r.get(t, "user_1", Options{View: fullView}); v != 1 {
				t.Fatal(res.Err)
			}
			var found []*Entry
			eventually(t, func() bool {
				var err error
				found, err = r.store.redis.get(t.Context(), []string{"user_1"}, full)
				return err == nil && found[0] != nil
			})
			if found[0].Has(full) != (c.keys != nil) {
				t.Errorf("read for FULL: %v", found[0].Has(full))
			}
			// Also a webhook's copy.
			if err := r.store.Updated(t.Context(), userOf("user_1", clerk.change("user_1")), time.Now()); err != nil {
				t.Fatal(err)
			}
			held := dump(t, redis)
			if !strings.Contains(held, "user_1") {
				t.Error("the user's id is in no name of a key")
			}
			if got := strings.Contains(held, `{"version":`); got != c.basic {
				t.Errorf("public data in clear: %v, want %v", got, c.basic)
			}
			if got := strings.Contains(held, `{"secret":`); got != c.private {
				t.Errorf("private data in clear: %v, want %v", got, c.private)
			}
			if v, res := r.get(t, "user_1", Options{View: fullView}); v != 2 {
				t.Errorf("got version %d (%v)", v, res.Err)
			}
		})
	}
}

// TestChangedValuesAreIgnored changes each byte string of a user in Redis. A changed value is as
// good as none: nothing of it is served, and the log says so.
func TestChangedValuesAreIgnored(t *testing.T) {
	redis := redistest.Start(t)
	keys := testKeys(t, "k1")
	writer := startRedisReplica(t, redisConfig{URL: redis.URL(), Keys: keys})
	writer.mustPut("user_1", copyAt(5, 1, 1), time.Hour)
	c, name := redis.Client(), writer.userKey("user_1")
	fields, err := c.Do(t.Context(), c.B().Hgetall().Key(name).Build()).AsStrMap()
	if err != nil {
		t.Fatal(err)
	}
	sealed := 0
	for field, value := range fields {
		if len(value) < 40 { // times, in clear
			continue
		}
		sealed++
		changed := value[:len(value)-1] + string(value[len(value)-1]^1)
		if err := c.Do(t.Context(), c.B().Hset().Key(name).FieldValue().FieldValue(field, changed).Build()).Error(); err != nil {
			t.Fatal(err)
		}
		reader := startRedisReplica(t, redisConfig{URL: redis.URL(), Keys: keys})
		if e := reader.mustGet(full, "user_1")[0]; e != nil && e.Has(full) {
			t.Errorf("%s changed: read as %+v", field, e)
		}
		if !strings.Contains(reader.log.String(), "can't be read") {
			t.Errorf("%s changed: the log has nothing of it:\n%s", field, reader.log)
		}
		if err := c.Do(t.Context(), c.B().Hset().Key(name).FieldValue().FieldValue(field, value).Build()).Error(); err != nil {
			t.Fatal(err)
		}
	}
	if sealed != 2 {
		t.Errorf("%d sealed values, want the basic and the private one", sealed)
	}
}

// TestAKeyIsReplaced: several keys decrypt during a rotation; values without a known key
// are ignored.
func TestAKeyIsReplaced(t *testing.T) {
	redis := redistest.Start(t)
	old := startRedisReplica(t, redisConfig{URL: redis.URL(), Keys: testKeys(t, "old")})
	old.mustPut("user_1", copyAt(5, 1, 1), time.Hour)
	both := startRedisReplica(t, redisConfig{URL: redis.URL(), Keys: testKeys(t, "new", "old")})
	if e := both.mustGet(full, "user_1")[0]; e == nil || e.UpdatedAt != 5 || string(e.private) != "private u5 f1" {
		t.Errorf("the old key's value is read as %+v", e)
	}
	both.mustPut("user_1", copyAt(6, 1, 1), time.Hour)
	for range 3 {
		if e := old.mustGet(basic, "user_1")[0]; e != nil {
			t.Errorf("without the key it is read as %+v", e)
		}
	}
	if n := strings.Count(old.log.String(), "can't be read"); n != 1 {
		t.Errorf("%d lines of it:\n%s", n, old.log)
	}
	fresh := startRedisReplica(t, redisConfig{URL: redis.URL(), Keys: testKeys(t, "new")})
	if e := fresh.mustGet(full, "user_1")[0]; e == nil || e.UpdatedAt != 6 {
		t.Errorf("the new key's value is read as %+v", e)
	}
	// A value can't be moved to another user.
	c := redis.Client()
	if err := c.Do(t.Context(), c.B().Copy().Source(fresh.userKey("user_1")).Destination(fresh.userKey("user_2")).Build()).Error(); err != nil {
		t.Fatal(err)
	}
	if e := fresh.mustGet(full, "user_2")[0]; e != nil {
		t.Errorf("another user's value is read as %+v", e)
	}
}
