package clerksim

import (
	"encoding/hex"
	"math/rand/v2"
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// randomID returns an id in Clerk's form: a prefix, and 27 letters and digits.
func randomID(rng *rand.Rand, of string) string { return of + "_" + randomText(rng, 27) }

// randomText returns n random letters and digits.
func randomText(rng *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = base62[rng.IntN(len(base62))]
	}
	return string(b)
}

// randomHex returns n random bytes in hexadecimal.
func randomHex(rng *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return hex.EncodeToString(b)
}
