package clerkapi

import (
	"bytes"
	stdjson "encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

func readTestdata(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestDecodeUser compares users with the result of a generic conversion of their JSON.
func TestDecodeUser(t *testing.T) {
	for _, name := range []string{"user.json", "user_plain.json"} {
		t.Run(name, func(t *testing.T) {
			text := readTestdata(t, name)
			user, err := DecodeUser(text)
			if err != nil {
				t.Fatal(err)
			}
			encoded, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(user)
			if err != nil {
				t.Fatal(err)
			}
			want, got := contractForm(decodeAny(t, text)), decodeAny(t, encoded)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestDecodeUserFillsEveryField fails if the contract has a field that DecodeUser never
// sets.
func TestDecodeUserFillsEveryField(t *testing.T) {
	text := bytes.Replace(readTestdata(t, "user.json"), []byte("{"), []byte(`{"added_later":1,`), 1)
	user, err := DecodeUser(text)
	if err != nil {
		t.Fatal(err)
	}
	unset := map[protoreflect.FullName]bool{}
	var declare func(protoreflect.MessageDescriptor)
	declare = func(d protoreflect.MessageDescriptor) {
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			if unset[f.FullName()] {
				continue
			}
			unset[f.FullName()] = true
			if m := f.Message(); m != nil && m.FullName() != "google.protobuf.Timestamp" {
				declare(m)
			}
		}
	}
	declare(user.ProtoReflect().Descriptor())
	var visit func(protoreflect.Message)
	visit = func(m protoreflect.Message) {
		m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			delete(unset, f.FullName())
			switch {
			case f.Message() == nil:
			case f.IsList():
				for i := range v.List().Len() {
					visit(v.List().Get(i).Message())
				}
			default:
				visit(v.Message())
			}
			return true
		})
	}
	visit(user.ProtoReflect())
	for name := range unset {
		t.Errorf("%s is never set", name)
	}
}

// contractForm converts Clerk's JSON to the contract's protobuf JSON without empty
// values.
func contractForm(v any) any {
	object, ok := v.(map[string]any)
	if !ok {
		if list, ok := v.([]any); ok {
			for i := range list {
				list[i] = contractForm(list[i])
			}
		}
		return v
	}
	out := map[string]any{}
	for name, v := range object {
		number, isNumber := v.(stdjson.Number)
		list, isList := v.([]any)
		switch {
		case v == nil, name == "backup_codes", isList && len(list) == 0:
		case name == "object" && object["strategy"] == nil && object["identification_id"] == nil:
			// Equal for all objects of the type.
		case strings.HasSuffix(name, "_metadata"), name == "meta":
			text, err := stdjson.Marshal(v)
			if err != nil {
				panic(err)
			}
			out[name+"_json"] = string(text)
		case isNumber && strings.HasSuffix(name, "_at"):
			ms, err := number.Int64()
			if err != nil {
				panic(err)
			}
			out[name] = time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
		default:
			out[name] = contractForm(v)
		}
	}
	return out
}

func decodeAny(t *testing.T, text []byte) any {
	t.Helper()
	dec := stdjson.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestDecodeUserMetadata(t *testing.T) {
	deep := strings.Repeat(`{"a":[`, 1000) + strings.Repeat(`]}`, 1000)
	tests := []struct{ name, in, want string }{
		{"compact", "{ \"a\" : [ 1 , 2 ] }", `{"a":[1,2]}`},
		{"null", `null`, ""},
		{"empty", `{}`, `{}`},
		{"numbers stay", `{"a":1e400,"b":-0,"c":1.50,"d":123456789012345678901234567890}`, `{"a":1e400,"b":-0,"c":1.50,"d":123456789012345678901234567890}`},
		{"order stays", `{"b":1,"a":2}`, `{"b":1,"a":2}`},
		{"duplicate names", `{"a":1,"a":2}`, `{"a":1,"a":2}`},
		{"lone surrogates", `{"a":"\ud800","\udc00":1}`, "{\"a\":\"\ufffd\",\"\ufffd\":1}"},
		{"pair of surrogates", `{"a":"\ud83d\ude00"}`, `{"a":"😀"}`},
		{"bad UTF-8", "{\"a\":\"x\xff\xc0y\"}", "{\"a\":\"x\ufffd\ufffdy\"}"},
		{"control characters", `{"a":"\u0000\n"}`, `{"a":"\u0000\n"}`},
		{"deep", deep, deep},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, kind := range []string{"public", "private", "unsafe"} {
				user, err := DecodeUser(fmt.Appendf(nil, `{"id":"user_a","%s_metadata":%s}`, kind, test.in))
				if err != nil {
					t.Fatal(err)
				}
				want := &clerkgatev1.User{Id: "user_a"}
				field := want.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(kind + "_metadata_json"))
				if test.want != "" {
					want.ProtoReflect().Set(field, protoreflect.ValueOfString(test.want))
				}
				if !proto.Equal(user, want) {
					t.Errorf("%s: got %v, want %v", kind, user, want)
				}
			}
		})
	}
}

func TestDecodeUserExtra(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"none", ``, ""},
		{"sorted", `"zebra":{"y":1,"x":2.0},"alpha":[ 1e400 ]`, `{"alpha":[1e400],"zebra":{"x":2.0,"y":1}}`},
		{"name of the contract's", `"public_metadata_json":"x","extra_json":"y"`, ""},
		{"bad UTF-8", "\"new\":\"\xff\"", "{\"new\":\"\ufffd\"}"},
		{"other case", `"First_Name":"x"`, `{"First_Name":"x"}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := `{` + test.in
			if test.in != "" {
				text += ","
			}
			user, err := DecodeUser([]byte(text + `"id":"user_a"}`))
			if err != nil {
				t.Fatal(err)
			}
			want := &clerkgatev1.User{Id: "user_a", ExtraJson: metadata(test.want).optional()}
			if !proto.Equal(user, want) {
				t.Errorf("got %v, want %v", user, want)
			}
		})
	}
}

func TestDecodeUserLenient(t *testing.T) {
	tests := []struct{ name, in, same string }{
		{"null for what is never null", `"object":null,"banned":null,"created_at":null,"email_addresses":null`, ``},
		{"null in lists", `"email_addresses":[null,{"id":"idn_a","linked_to":[null]}]`, `"email_addresses":[{"id":"idn_a"}]`},
		{"times as floats", `"created_at":1.7e12,"updated_at":1700000000000.0`, `"created_at":1700000000000,"updated_at":1700000000000`},
		{"numbers as floats", `"create_organizations_limit":5.0`, `"create_organizations_limit":5`},
		{"unknown nested fields", `"scim":{"new":1}`, `"scim":{}`},
		{"bad UTF-8", "\"first_name\":\"a\xff\"", `"first_name":"a\ufffd"`},
		{"lone surrogate", `"first_name":"a\ud800"`, `"first_name":"a\ufffd"`},
		{"duplicate name", `"first_name":"a","first_name":"b"`, `"first_name":"b"`},
		{"far future", `"updated_at":1e400,"created_at":253402300800000`, `"updated_at":253402300799999,"created_at":253402300799999`},
		{"far past", `"updated_at":-1e400,"created_at":-62135596800001`, `"updated_at":-62135596800000,"created_at":-62135596800000`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := DecodeUser([]byte(`{"id":"user_a",` + test.in + `}`))
			if err != nil {
				t.Fatal(err)
			}
			same := `{"id":"user_a"}`
			if test.same != "" {
				same = `{"id":"user_a",` + test.same + `}`
			}
			want, err := DecodeUser([]byte(same))
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if _, err := proto.Marshal(got); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDecodeUserTime(t *testing.T) {
	for _, ms := range []int64{0, 1, 999, 1700000000123, -1, -1000, -1001, minTime, maxTime} {
		user, err := DecodeUser([]byte(`{"id":"user_a","created_at":` + strconv.FormatInt(ms, 10) + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if err := user.CreatedAt.CheckValid(); err != nil {
			t.Errorf("%d: %v", ms, err)
		}
		if got := user.CreatedAt.AsTime().UnixMilli(); got != ms {
			t.Errorf("got %d, want %d", got, ms)
		}
	}
}

func TestDecodeUserRefuses(t *testing.T) {
	tests := []struct{ name, in string }{
		{"nothing", ``},
		{"null", `null`},
		{"a list", `[{"id":"user_a"}]`},
		{"no id", `{"object":"user"}`},
		{"empty id", `{"id":""}`},
		{"number as id", `{"id":1}`},
		{"another kind of id", `{"id":"org_a"}`},
		{"id with a slash", `{"id":"user_/../organizations"}`},
		{"trailing rubbish", `{"id":"user_a"}x`},
		{"cut off", `{"id":"user_a"`},
		{"object as id", `{"id":{"user_a":1}}`},
		{"text for the time of an update", `{"id":"user_a","updated_at":"sk_live_secret"}`},
		{"number for banned", `{"id":"user_a","banned":2}`},
		{"object for locked", `{"id":"user_a","locked":{}}`},
		{"list for deprovisioned", `{"id":"user_a","deprovisioned":[]}`},
		{"too deep", `{"id":"user_a","unsafe_metadata":{"a":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `}}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			user, err := DecodeUser([]byte(test.in))
			if err == nil {
				t.Fatalf("got %v", user)
			}
			if user != nil {
				t.Error("a user beside an error")
			}
			if strings.Contains(err.Error(), "sk_live") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

func FuzzDecodeUser(f *testing.F) {
	f.Add(readTestdata(f, "user.json"))
	f.Add(readTestdata(f, "user_plain.json"))
	f.Add([]byte(`{"id":"user_a","unsafe_metadata":{"a":"\ud800` + "\xff" + `","a":1e400},"new":[{"b":1,"b":-0}]}`))
	f.Add([]byte(`{"id":"user_a","created_at":1.7e12,"phone_numbers":[{"backup_codes":["a"]},null]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		user, err := DecodeUser(text)
		if err != nil {
			if user != nil {
				t.Error("a user beside an error")
			}
			if !utf8.ValidString(err.Error()) || len(err.Error()) > 8*maxMessage {
				t.Errorf("unfit error text %q", err)
			}
			return
		}
		if !ValidUserID(user.Id) {
			t.Errorf("id %q", user.Id)
		}
		for _, m := range []string{user.GetPublicMetadataJson(), user.GetPrivateMetadataJson(), user.GetUnsafeMetadataJson(), user.GetExtraJson()} {
			if m != "" && (!utf8.ValidString(m) || !stdjson.Valid([]byte(m)) || m[0] != '{') {
				t.Errorf("metadata %q", m)
			}
		}
		// Encoding fails for invalid UTF-8, and JSON for invalid times.
		if _, err := proto.Marshal(user); err != nil {
			t.Error(err)
		}
		if _, err := protojson.Marshal(user); err != nil {
			t.Error(err)
		}
		again, err := DecodeUser(text)
		if err != nil || !proto.Equal(user, again) {
			t.Errorf("a second reading differs: %v", err)
		}
	})
}

func BenchmarkDecodePage(b *testing.B) {
	for _, name := range []string{"user.json", "user_plain.json"} {
		b.Run(name, func(b *testing.B) {
			var page bytes.Buffer
			page.WriteByte('[')
			for i := range MaxLookup {
				if i > 0 {
					page.WriteByte(',')
				}
				if err := stdjson.Compact(&page, readTestdata(b, name)); err != nil {
					b.Fatal(err)
				}
			}
			page.WriteByte(']')
			b.ReportAllocs()
			b.SetBytes(int64(page.Len()))
			for b.Loop() {
				if _, err := decodePage(page.Bytes(), MaxPage, func(string) {}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
