package clerkapi

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// The range of a Timestamp in Unix milliseconds: the start of the year 1 to the end of
// the year 9999.
const (
	minTime = -62135596800000
	maxTime = 253402300799999
)

// decodeTime decodes Unix milliseconds. A time outside the range of a Timestamp becomes
// the nearest in it, so "never" remains far in the future.
func decodeTime(dec *jsontext.Decoder, t *timestamppb.Timestamp) error {
	var ms int64
	if err := decodeInteger(dec, &ms); err != nil {
		return err
	}
	ms = min(max(ms, minTime), maxTime)
	seconds := ms / 1000
	rest := ms % 1000
	if rest < 0 {
		seconds, rest = seconds-1, rest+1000
	}
	t.Seconds, t.Nanos = seconds, int32(rest)*1e6
	return nil
}

// decodeInteger decodes a whole number, also with a point or an exponent; null is 0. A
// number outside the range of int64 becomes the nearest in it.
func decodeInteger(dec *jsontext.Decoder, n *int64) error {
	value, err := dec.ReadValue()
	if err != nil {
		return err
	}
	switch value.Kind() {
	case 'n':
		*n = 0
		return nil
	case '0':
		*n, err = parseInteger(string(value))
		return err
	default:
		return fmt.Errorf("a JSON %v must be a number", value.Kind())
	}
}

// decodeInt32 is decodeInteger for an int32.
func decodeInt32(dec *jsontext.Decoder, n *int32) error {
	var wide int64
	err := decodeInteger(dec, &wide)
	*n = int32(min(max(wide, math.MinInt32), math.MaxInt32))
	return err
}

// parseInteger is decodeInteger for the text of a JSON number.
func parseInteger(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err == nil {
		return n, nil
	}
	// ParseInt fails if the number is too large or has a point or exponent. ParseFloat
	// then returns the nearest float, or an infinity.
	f, _ := strconv.ParseFloat(s, 64)
	switch {
	case f >= math.MaxInt64:
		return math.MaxInt64, nil
	case f <= math.MinInt64:
		return math.MinInt64, nil
	case f != math.Trunc(f):
		return 0, errors.New("a whole number is needed")
	}
	return int64(f), nil
}
