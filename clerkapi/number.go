package clerkapi

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Unix milliseconds of the first and last moment that a Timestamp can hold:
// the beginning of the year 1 and the end of 9999.
const (
	minTime = -62135596800000
	maxTime = 253402300799999
)

// decodeTime reads Unix milliseconds. A time that a Timestamp can't hold
// becomes the nearest that it can, so that "never" stays far away.
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

// decodeInteger reads a number without a fraction, even if it is written with a
// point or an exponent; null is 0. One that an int64 can't hold becomes the
// nearest that it can.
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

// decodeInt32 is decodeInteger for an int32, which also becomes the nearest.
func decodeInt32(dec *jsontext.Decoder, n *int32) error {
	var wide int64
	err := decodeInteger(dec, &wide)
	*n = int32(min(max(wide, math.MinInt32), math.MaxInt32))
	return err
}

// parseInteger is decodeInteger for a JSON number.
func parseInteger(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err == nil {
		return n, nil
	}
	// The error can only be that the number is too large, or written otherwise;
	// ParseFloat then gives the nearest float, or an infinity.
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
