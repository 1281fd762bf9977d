package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/leaktest"
)

// TestMeter spends a limit in virtual time, alone and as one of four replicas.
func TestMeter(t *testing.T) {
	limit := caller.Limit{Count: 1000, Window: 10 * time.Second}
	for _, replicas := range []int64{0, 1, 4} {
		g := newGuard(nil, false, leaktest.Logger(slog.DiscardHandler))
		g.replicas.Store(replicas)
		share := 1000 / max(int(replicas), 1)
		start := time.Now()
		passed := 0
		for at := start; at.Before(start.Add(20 * time.Second)); at = at.Add(10 * time.Millisecond) {
			for passed <= 4*share && g.spend("a", limit, 1, 1, at) == nil {
				passed++
			}
		}
		if want := 3 * share; passed < want-2 || passed > want+2 { // the bucket, and the refill of 20 s
			t.Errorf("%d replicas: %d pass in 20 s, want %d", replicas, passed, want)
		}
		var over *overLimit
		if err := g.spend("a", limit, 10, 1, start.Add(20*time.Second)); !errors.As(err, &over) || over.retryAfter <= 0 || over.retryAfter > limit.Window {
			t.Errorf("%d replicas: %v", replicas, err)
		}
		if err := g.spend("b", limit, 1, 1, start.Add(20*time.Second)); err != nil {
			t.Errorf("another caller: %v", err)
		}
	}
}

// TestMeterFollowsTheFile changes a limit while it is in use.
func TestMeterFollowsTheFile(t *testing.T) {
	g, now := newGuard(nil, false, leaktest.Logger(slog.DiscardHandler)), time.Now()
	small, large := caller.Limit{Count: 1, Window: time.Minute}, caller.Limit{Count: 1000, Window: time.Second}
	if g.spend("a", small, 1, 1, now) != nil || g.spend("a", small, 1, 1, now) == nil {
		t.Error("the small limit")
	}
	_ = g.spend("a", large, 1, 1, now)
	if err := g.spend("a", large, 500, 1, now.Add(time.Second)); err != nil {
		t.Errorf("the large limit: %v", err)
	}
	if err := g.spend("a", small, 2, 1, now.Add(time.Hour)); err == nil {
		t.Error("more than the bucket holds passes")
	}
}

// TestTimeToTryAgain: what is refused passes after the time that its error has, and not
// earlier, also if that is longer than the window.
func TestTimeToTryAgain(t *testing.T) {
	for _, replicas := range []int64{1, 30} {
		g, now := newGuard(nil, false, leaktest.Logger(slog.DiscardHandler)), time.Now()
		g.replicas.Store(replicas)
		for _, limit := range []caller.Limit{{Count: 20, Window: 10 * time.Second}, {Count: 1, Window: 24 * time.Hour}, {Count: 1e9, Window: time.Second}} {
			name, least := fmt.Sprint(limit), maxBatch
			size := int(g.part(limit, least).size)
			if err := g.spend(name, limit, size, least, now); err != nil {
				t.Fatal(err)
			}
			for _, n := range []int{1, size} {
				var over *overLimit
				if err := g.spend(name, limit, n, least, now); !errors.As(err, &over) {
					t.Fatalf("%v, %d at once: %v", limit, n, err)
				}
				if over.retryAfter > 10*time.Millisecond {
					if err := g.spend(name, limit, n, least, now.Add(over.retryAfter*9/10)); err == nil {
						t.Errorf("%v of %d replicas, %d at once: passes before %v", limit, replicas, n, over.retryAfter)
					}
				}
				now = now.Add(over.retryAfter + time.Microsecond)
				if err := g.spend(name, limit, n, least, now); err != nil {
					t.Errorf("%v of %d replicas, %d at once: %v after %v", limit, replicas, n, err, over.retryAfter)
				}
			}
			var never *tooMany
			if err := g.spend(name, limit, size+1, least, now); !errors.As(err, &never) || never.most != size {
				t.Errorf("%v of %d replicas: more than the bucket holds: %v", limit, replicas, err)
			}
		}
	}
}

// TestMetersAreForgotten: a meter is forgotten when its bucket is full again, and no earlier.
func TestMetersAreForgotten(t *testing.T) {
	g, now := newGuard(nil, false, leaktest.Logger(slog.DiscardHandler)), time.Now()
	limit := caller.Limit{Count: 4, Window: time.Minute}
	for _, name := range []string{"used", "refused", "given back"} {
		_ = g.spend(name, limit, 4, 1, now)
	}
	_ = g.spend("refused", limit, 1, 1, now)
	g.forgetMeters(now.Add(59 * time.Second))
	if len(g.meters) != 3 {
		t.Fatalf("%d meters are left after 59 s, want all", len(g.meters))
	}
	if g.spend("used", limit, 4, 1, now.Add(59*time.Second)) == nil || g.spend("used", limit, 3, 1, now.Add(59*time.Second)) != nil {
		t.Error("a meter that was not full has been forgotten")
	}
	g.giveBack("given back", 4)
	g.forgetMeters(now.Add(61 * time.Second))
	if len(g.meters) != 1 {
		t.Errorf("%d meters are left after a minute, want the one that was used since", len(g.meters))
	}
}

// TestCallersLimits exceeds the limits in the file. The cache is not asked then.
func TestCallersLimits(t *testing.T) {
	g := startGuarded(t, Config{})
	token := caller.NewToken()
	g.write(t, "  - name: limited\n    identity: {tokens: [{sha256: "+caller.HashToken(token)+"}]}\n"+
		"    allow: {methods: [GetUser, BatchGetUsers, ListUsers, CountUsers, StreamUsers], weight: 5, max_lookups: 100/1h, max_requests: 2/1h, permits: true}\n")
	if err := g.Reload(); err != nil {
		t.Fatal(err)
	}
	conn := g.dialAs(t, "Bearer "+token)
	users := clerkgatev1.NewUserServiceClient(conn)
	for i := range 100 {
		if _, err := users.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: "user_a"}); err != nil {
			t.Fatalf("lookup %d: %v", i, err)
		}
	}
	asked := len(g.up.asked())
	_, one := users.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: "user_a"})
	_, batch := users.BatchGetUsers(t.Context(), &clerkgatev1.BatchGetUsersRequest{UserIds: []string{"user_a"}})
	for name, err := range map[string]error{"GetUser": one, "BatchGetUsers": batch} {
		if got := reasonOf(err); got != "ResourceExhausted CALLER_OVER_QUOTA" || !hasRetryInfo(err) || !strings.Contains(err.Error(), " max_lookups;") {
			t.Errorf("%s beyond the limit: %v", name, err)
		}
	}
	if len(g.up.asked()) != asked {
		t.Error("the cache is asked beyond the limit")
	}
	for range 2 {
		if _, err := users.CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{}); err != nil {
			t.Error(err)
		}
	}
	_, count := users.CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{})
	_, list := users.ListUsers(t.Context(), &clerkgatev1.ListUsersRequest{})
	_, permits := clerkgatev1.NewQuotaServiceClient(conn).AcquirePermits(t.Context(), &clerkgatev1.AcquirePermitsRequest{Count: 1})
	for name, err := range map[string]error{"CountUsers": count, "ListUsers": list, "AcquirePermits": permits} {
		if got := reasonOf(err); got != "ResourceExhausted CALLER_OVER_QUOTA" || !hasRetryInfo(err) || !strings.Contains(err.Error(), " max_requests;") {
			t.Errorf("%s beyond the limit: %v", name, err)
		}
	}
	if got := g.up.asked()[0].options.Party; got != (gate.Party{Peer: "limited"}) {
		t.Errorf("at the gate: %+v", got)
	}
}

// TestWhatWasNotUsedIsGivenBack: permits that were not lent, and lists and counts that were
// refused before a request left, do not count against max_requests; others do.
func TestWhatWasNotUsedIsGivenBack(t *testing.T) {
	g := startGuarded(t, Config{})
	token := caller.NewToken()
	g.write(t, "  - name: limited\n    identity: {tokens: [{sha256: "+caller.HashToken(token)+"}]}\n"+
		"    allow: {methods: [ListUsers, CountUsers], max_requests: 3/1h, permits: true}\n")
	if err := g.Reload(); err != nil {
		t.Fatal(err)
	}
	conn := g.dialAs(t, "Bearer "+token)
	users, quotas := clerkgatev1.NewUserServiceClient(conn), clerkgatev1.NewQuotaServiceClient(conn)
	var fails error
	g.up.onCall = func(context.Context, call) error { return fails }
	calls := map[string]func() error{
		"AcquirePermits": func() error {
			_, err := quotas.AcquirePermits(t.Context(), &clerkgatev1.AcquirePermitsRequest{Count: 3})
			return err
		},
		"ListUsers": func() error {
			_, err := users.ListUsers(t.Context(), &clerkgatev1.ListUsersRequest{})
			return err
		},
		"CountUsers": func() error {
			_, err := users.CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{})
			return err
		},
	}
	for _, fails = range []error{&gate.Error{Kind: gate.ErrDeadlineTooShort}, &gate.Error{Kind: gate.ErrBreakerOpen}, &clerkapi.Error{Kind: clerkapi.ErrNotSent}} {
		for name, call := range calls {
			for range 5 {
				if got := reasonOf(call()); strings.Contains(got, "CALLER_OVER_QUOTA") || strings.HasPrefix(got, "OK") {
					t.Fatalf("%s that fails with %v: %s", name, fails, got)
				}
			}
		}
	}
	for _, fails = range []error{&clerkapi.Error{Kind: clerkapi.ErrRejected}, &gate.Error{Kind: gate.ErrRateLimited}, &gate.Error{Kind: gate.ErrBreakerOpen, Err: clerkapi.ErrBadAnswer}} {
		if got := reasonOf(calls["CountUsers"]()); strings.Contains(got, "CALLER_OVER_QUOTA") {
			t.Fatalf("a count that fails with %v: %s", fails, got)
		}
	}
	if got := reasonOf(calls["CountUsers"]()); got != "ResourceExhausted CALLER_OVER_QUOTA" {
		t.Errorf("after three requests: %s", got)
	}
}

// TestARetriedLeaseCountsOnce: permits that a retry with the same request_id has got already
// count once.
func TestARetriedLeaseCountsOnce(t *testing.T) {
	g := startGuarded(t, Config{})
	token := caller.NewToken()
	g.write(t, "  - name: limited\n    identity: {tokens: [{sha256: "+caller.HashToken(token)+"}]}\n    allow: {max_requests: 3/1h, permits: true}\n")
	if err := g.Reload(); err != nil {
		t.Fatal(err)
	}
	quotas := clerkgatev1.NewQuotaServiceClient(g.dialAs(t, "Bearer "+token))
	acquire := func(count int32, id string) string {
		_, err := quotas.AcquirePermits(t.Context(), &clerkgatev1.AcquirePermitsRequest{Count: count, RequestId: id})
		return reasonOf(err)
	}
	got := []string{acquire(1, "a"), acquire(1, "a"), acquire(1, "a"), acquire(1, "b"), acquire(1, "b"), acquire(1, "c"), acquire(1, "d")}
	want := []string{"OK", "OK", "OK", "OK", "OK", "OK", "ResourceExhausted CALLER_OVER_QUOTA"}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Fatalf("%q, want %q", got, want)
		}
	}
}

// TestMorePermitsThanMayBe: permits that the caller's limit can't ever allow at once are an
// error of the call, which need not be tried again.
func TestMorePermitsThanMayBe(t *testing.T) {
	g := startGuarded(t, Config{})
	token := caller.NewToken()
	g.write(t, "  - name: limited\n    identity: {tokens: [{sha256: "+caller.HashToken(token)+"}]}\n"+
		"    allow: {max_requests: 5/1h, permits: true}\n")
	if err := g.Reload(); err != nil {
		t.Fatal(err)
	}
	quota := clerkgatev1.NewQuotaServiceClient(g.dialAs(t, "Bearer "+token))
	for range 2 {
		_, err := quota.AcquirePermits(t.Context(), &clerkgatev1.AcquirePermitsRequest{Count: 6})
		if got := reasonOf(err); got != "InvalidArgument INVALID_ARGUMENT" || hasRetryInfo(err) || !strings.Contains(err.Error(), "count: must be 1 to 5") {
			t.Errorf("6 permits of at most 5: %v", err)
		}
	}
	if _, err := quota.AcquirePermits(t.Context(), &clerkgatev1.AcquirePermitsRequest{Count: 5}); err != nil {
		t.Errorf("5 permits: %v", err)
	}
}

// TestOverALimitByHTTP: a caller over one of its limits has the same status, reason and time
// to come back by gRPC and by HTTP.
func TestOverALimitByHTTP(t *testing.T) {
	g := startGuarded(t, Config{})
	token := caller.NewToken()
	g.write(t, "  - name: limited\n    identity: {tokens: [{sha256: "+caller.HashToken(token)+"}]}\n"+
		"    allow: {methods: [CountUsers, GetUser], max_lookups: 1/24h, max_requests: 1/24h}\n")
	if err := g.Reload(); err != nil {
		t.Fatal(err)
	}
	users := clerkgatev1.NewUserServiceClient(g.dialAs(t, "Bearer "+token))
	plain, url := httpClient(t, true, &tls.Config{RootCAs: g.ca.Pool()}), "https://"+g.at.HTTP.String()
	auth := http.Header{"Authorization": {"Bearer " + token}}
	for name, calls := range map[string][2]func() error{
		"CountUsers": {func() error {
			_, err := users.CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{})
			return err
		}, func() error {
			_, err := callByHTTP[clerkgatev1.CountUsersRequest, clerkgatev1.CountUsersResponse](t, plain, url, "/clerkgate.v1.UserService/CountUsers", &clerkgatev1.CountUsersRequest{}, auth)
			return err
		}},
		"GetUser": {func() error {
			_, err := users.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: "user_a"})
			return err
		}, func() error {
			_, err := callByHTTP[clerkgatev1.GetUserRequest, clerkgatev1.GetUserResponse](t, plain, url, getUserPath, &clerkgatev1.GetUserRequest{UserId: "user_a"}, auth)
			return err
		}},
	} {
		var byGRPC error
		for range maxBatch + 1 { // a bucket of lookups holds a batch
			if byGRPC = calls[0](); byGRPC != nil {
				break
			}
		}
		var byHTTP *connect.Error
		if !errors.As(calls[1](), &byHTTP) {
			t.Fatalf("%s by HTTP is not refused", name)
		}
		info, retry := detailsOf(t, byHTTP)
		if got := reasonOf(byGRPC); got != "ResourceExhausted CALLER_OVER_QUOTA" || byHTTP.Code() != connect.CodeResourceExhausted || info.GetReason() != "CALLER_OVER_QUOTA" {
			t.Errorf("%s: %s by gRPC, %v %v by HTTP", name, got, byHTTP.Code(), info)
		}
		want, got := retryOf(byGRPC), retry.GetRetryDelay().AsDuration()
		// Between the two calls the time to come back has shrunk a little.
		if got <= 0 || got > want || want-got > time.Minute {
			t.Errorf("%s: try again in %v by gRPC, in %v by HTTP", name, want, got)
		}
	}
}

// TestSharesFollowTheFile: a weight reaches the gate at the start, and with each new file.
func TestSharesFollowTheFile(t *testing.T) {
	g := startGuarded(t, Config{})
	if got := g.up.sharesNow()["billing"]; got != (gate.Share{Weight: 1}) {
		t.Errorf("at the start: %+v", got)
	}
	entry := "  - name: shared\n    identity: {label: true}\n    allow: {weight: %s, guaranteed: 20%%}\n"
	g.write(t, fmt.Sprintf(entry, "7"))
	if err := g.Reload(); err != nil {
		t.Fatal(err)
	}
	want := gate.Share{Weight: 7, Guaranteed: 20}
	if got := g.up.sharesNow()["shared"]; got != want {
		t.Errorf("after a change: %+v, want %+v", got, want)
	}
	g.write(t, fmt.Sprintf(entry, "many"))
	if err := g.Reload(); err == nil || g.up.sharesNow()["shared"] != want {
		t.Errorf("after an unusable file (%v): %+v, want %+v", err, g.up.sharesNow()["shared"], want)
	}
}

func hasRetryInfo(err error) bool { return retryOf(err) > 0 }
