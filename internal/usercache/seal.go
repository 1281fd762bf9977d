package usercache

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// Keys encrypt what is written to Redis, with XChaCha20-Poly1305. Nonces are 192 random
// bits: at 10,000 values per second, the probability of a repetition is below 2^-70 after
// a million years. ParseKeys returns Keys. They are safe for concurrent use.
type Keys struct {
	keys []key // the first one encrypts
}

type key struct {
	id     string
	cipher cipher.AEAD
}

var keyID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,32}$`)

// ParseKeys parses keys, one per line: an id of 1 to 32 letters, digits, '.', '_' and
// '-', spaces, and 32 random bytes in base64. Empty lines and lines that begin with # are
// ignored. The first key encrypts, all keys decrypt. The error shows no key.
func ParseKeys(text string) (*Keys, error) {
	k := &Keys{}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 2 || !keyID.MatchString(fields[0]) {
			return nil, fmt.Errorf("line %d: want an id of 1 to 32 letters, digits, '.', '_' and '-', and a key, such as the output of: echo \"k1 $(openssl rand -base64 32)\"", i+1)
		}
		if slices.ContainsFunc(k.keys, func(other key) bool { return other.id == fields[0] }) {
			return nil, fmt.Errorf("line %d: the id %s is given twice", i+1, fields[0])
		}
		secret, err := base64.StdEncoding.DecodeString(fields[1])
		if err != nil || len(secret) != chacha20poly1305.KeySize {
			return nil, fmt.Errorf("line %d: want a key of 32 bytes in base64, such as the output of: openssl rand -base64 32", i+1)
		}
		aead, err := chacha20poly1305.NewX(secret)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		k.keys = append(k.keys, key{fields[0], aead})
	}
	if len(k.keys) == 0 {
		return nil, errors.New("want at least one line with an id and a key")
	}
	return k, nil
}

// sealedVersion is the first byte of an encrypted value, and never of a value in clear.
const sealedVersion = 0xE1

var errSealed = errors.New("a value that can't be decrypted")

// seal encrypts a value. The result is sealedVersion, the length of the key's id, the id,
// the nonce, and the ciphertext. context is authenticated.
func (k *Keys) seal(value []byte, context string) []byte {
	first := k.keys[0]
	b := make([]byte, 0, 2+len(first.id)+chacha20poly1305.NonceSizeX+len(value)+chacha20poly1305.Overhead)
	b = append(b, sealedVersion, byte(len(first.id)))
	b = append(b, first.id...)
	nonce := b[len(b) : len(b)+chacha20poly1305.NonceSizeX]
	_, _ = rand.Read(nonce) // never fails
	b = b[:len(b)+len(nonce)]
	return first.cipher.Seal(b, nonce, value, []byte(context))
}

// open decrypts the result of seal with the same context.
func (k *Keys) open(sealed []byte, context string) ([]byte, error) {
	if len(sealed) < 2 || sealed[0] != sealedVersion {
		return nil, errSealed
	}
	n := int(sealed[1])
	if len(sealed) < 2+n+chacha20poly1305.NonceSizeX {
		return nil, errSealed
	}
	id, rest := sealed[2:2+n], sealed[2+n:]
	for _, key := range k.keys {
		if bytes.Equal([]byte(key.id), id) {
			value, err := key.cipher.Open(nil, rest[:chacha20poly1305.NonceSizeX], rest[chacha20poly1305.NonceSizeX:], []byte(context))
			if err != nil {
				return nil, errSealed
			}
			return value, nil
		}
	}
	return nil, errSealed
}
