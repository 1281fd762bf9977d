package usercache

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/usage"
)

// person returns a user of about a kilobyte, the usual size.
func person(i int) *clerkgatev1.User {
	id := fmt.Sprintf("user_%027d", i)
	name := fmt.Sprintf("person%d", i)
	verified := &clerkgatev1.Verification{Status: "verified", Strategy: "email_code"}
	return &clerkgatev1.User{
		Id: id, FirstName: &name, LastName: &name, Username: &name,
		ImageUrl:            proto.String("https://img.example/" + strings.Repeat("x", 100)),
		ProfileImageUrl:     proto.String("https://img.example/" + strings.Repeat("x", 100)), //nolint:staticcheck // Clerk still sends it
		PublicMetadataJson:  `{"plan":"pro","seats":25,"regions":["eu","us"]}`,
		PrivateMetadataJson: proto.String(`{"billing":"` + strings.Repeat("y", 200) + `"}`),
		UnsafeMetadataJson:  proto.String(`{"theme":"dark","note":"` + strings.Repeat("z", 200) + `"}`),
		EmailAddresses: []*clerkgatev1.UserEmailAddress{{
			Id: proto.String("idn_" + id), EmailAddress: name + "@example.com", Verification: verified,
			CreatedAt: timestamppb.Now(), UpdatedAt: timestamppb.Now(),
		}},
		CreatedAt: timestamppb.Now(), UpdatedAt: timestamppb.Now(), LastActiveAt: timestamppb.Now(),
	}
}

// heap returns the bytes in use after a collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkMemoryPerUser measures the memory of a cached user. The target is at most 1.3
// times its encoded bytes plus 200 B.
func BenchmarkMemoryPerUser(b *testing.B) {
	const n = 200_000
	for b.Loop() {
		before := heap()
		s, err := NewStore(Config{TTL: time.Hour, MaxBytes: 8 << 30})
		if err != nil {
			b.Fatal(err)
		}
		encoded := 0
		for i := range n {
			u := person(i)
			e, _ := s.Keep(u.Id, gate.Result{User: u, FetchTime: time.Now()}).(*Entry)
			encoded += len(e.public) + len(e.private)
		}
		s.memory.CleanUp()
		per := float64(heap()-before) / n
		enc := float64(encoded) / n
		if got := s.memory.EstimatedSize(); got != n {
			b.Fatalf("%d entries", got)
		}
		b.ReportMetric(per, "B/user")
		b.ReportMetric(enc, "encoded-B/user")
		b.ReportMetric(per/(1.3*enc+200), "of-aim")
		weight := float64(s.memory.WeightedSize()) / n
		b.ReportMetric(weight/per, "counted/real")
		s.memory.StopAllGoroutines()
		runtime.KeepAlive(s)
	}
}

// BenchmarkHit measures a lookup that memory answers, without gRPC.
func BenchmarkHit(b *testing.B) {
	s, err := NewStore(Config{TTL: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	defer s.memory.StopAllGoroutines()
	u := person(1)
	s.Keep(u.Id, gate.Result{User: u, FetchTime: time.Now()})
	c := New(s, gate.New(gate.Config{}), usage.New())
	ids := []string{u.Id}
	b.ReportAllocs()
	for b.Loop() {
		if r := c.Lookup(b.Context(), ids, Options{})[0]; r.Err != nil || r.ServedFrom != clerkgatev1.ServedFrom_SERVED_FROM_MEMORY {
			b.Fatal(r)
		}
	}
}
