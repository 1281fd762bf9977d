package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// printJSON writes m to out as JSON, indented or on one line. docs/cli.md describes
// the form, which all commands share.
func printJSON(out io.Writer, m proto.Message, indent bool) error {
	return writeJSON(out, appendMessage(nil, m.ProtoReflect()), indent)
}

// writeJSON writes a JSON object, indented or on one line.
func writeJSON(out io.Writer, text []byte, indent bool) error {
	text = append(text, '\n')
	if indent {
		var b bytes.Buffer
		if err := json.Indent(&b, text, "", "  "); err != nil {
			return err
		}
		text = b.Bytes()
	}
	_, err := out.Write(text)
	return err
}

// printValue writes a value that is not a message of the contract, in the same form.
func printValue(out io.Writer, value any, indent bool) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if indent {
		encoder.SetIndent("", "  ")
	}
	if err := encoder.Encode(value); err != nil {
		return err
	}
	_, err := out.Write(escapeControls(nil, b.Bytes()))
	return err
}

// appendMessage appends m as a JSON object. Its members have the contract's names
// and order. Fields that may be unset are left out if they are; all others are
// always there.
func appendMessage(b []byte, m protoreflect.Message) []byte {
	switch m := m.Interface().(type) {
	case *timestamppb.Timestamp:
		return appendString(b, formatTime(m.AsTime()))
	case *durationpb.Duration:
		return appendString(b, formatSeconds(m))
	}
	b = append(b, '{')
	fields := m.Descriptor().Fields()
	first := true
	for i := range fields.Len() {
		field := fields.Get(i)
		if field.HasPresence() && !m.Has(field) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendMember(b, field, m.Get(field))
	}
	return append(b, '}')
}

// appendMember appends a field with its name. A field that holds JSON text is appended as
// JSON, under its name without the suffix _json. Text that is not JSON remains a string
// under the full name.
func appendMember(b []byte, field protoreflect.FieldDescriptor, value protoreflect.Value) []byte {
	name := string(field.Name())
	if short, ok := strings.CutSuffix(name, "_json"); ok && field.Kind() == protoreflect.StringKind && !field.IsList() {
		var compact bytes.Buffer
		if json.Compact(&compact, []byte(value.String())) == nil {
			return escapeControls(append(appendString(b, short), ':'), compact.Bytes())
		}
	}
	b = append(appendString(b, name), ':')
	if !field.IsList() {
		return appendSingular(b, field, value)
	}
	b = append(b, '[')
	list := value.List()
	for i := range list.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendSingular(b, field, list.Get(i))
	}
	return append(b, ']')
}

// maxSafeInteger is the largest integer that JavaScript and jq read exactly.
const maxSafeInteger = 1<<53 - 1

// appendSingular appends one value of a field.
func appendSingular(b []byte, field protoreflect.FieldDescriptor, value protoreflect.Value) []byte {
	switch field.Kind() {
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, value.Bool())
	case protoreflect.EnumKind:
		if v := field.Enum().Values().ByNumber(value.Enum()); v != nil {
			return appendString(b, string(v.Name()))
		}
		return strconv.AppendInt(b, int64(value.Enum()), 10)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		f := value.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return appendString(b, strconv.FormatFloat(f, 'g', -1, 64))
		}
		return strconv.AppendFloat(b, f, 'g', -1, 64)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		if n := value.Uint(); n > maxSafeInteger {
			return appendString(b, strconv.FormatUint(n, 10))
		}
		return strconv.AppendUint(b, value.Uint(), 10)
	case protoreflect.StringKind:
		return appendString(b, value.String())
	case protoreflect.BytesKind:
		return appendString(b, base64.StdEncoding.EncodeToString(value.Bytes()))
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return appendMessage(b, value.Message())
	}
	if n := value.Int(); n > maxSafeInteger || n < -maxSafeInteger {
		return appendString(b, strconv.FormatInt(n, 10))
	}
	return strconv.AppendInt(b, value.Int(), 10)
}

// formatTime returns t in UTC as RFC 3339 has it, with milliseconds at least.
func formatTime(t time.Time) string {
	if t.Nanosecond()%int(time.Millisecond) == 0 {
		return t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// formatSeconds returns d in seconds, such as 1.5s.
func formatSeconds(d *durationpb.Duration) string {
	sign, n := "", d.AsDuration().Nanoseconds()
	if n < 0 {
		sign, n = "-", -n
	}
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%s%d.%09d", sign, n/1e9, n%1e9), "0"), ".") + "s"
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c < 0x7f:
			b = append(b, c)
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			b = appendRune(b, r)
			i += size
			continue
		}
		i++
	}
	return append(b, '"')
}

// escapeControls appends JSON text, and escapes the characters that a terminal may obey or
// that programs may treat as line ends. In JSON they occur in strings only.
func escapeControls(b, text []byte) []byte {
	for i := 0; i < len(text); {
		if text[i] < 0x7f {
			b = append(b, text[i])
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		b = appendRune(b, r)
		i += size
	}
	return b
}

// appendRune appends r, escaped if it is a control character or ends lines.
func appendRune(b []byte, r rune) []byte {
	if 0x7f <= r && r < 0xa0 || r == '\u2028' || r == '\u2029' {
		return append(b, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
	}
	return utf8.AppendRune(b, r)
}
