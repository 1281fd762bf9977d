package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/leaktest"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/telemetry"
	"github.com/clerkgate/clerkgate/internal/usage"
	"github.com/clerkgate/clerkgate/internal/usercache"
	"github.com/clerkgate/clerkgate/internal/webhook"
	"github.com/clerkgate/clerkgate/server"
)

// patience is a time-out that a busy machine does not reach.
const patience = 5 * time.Minute

// lineKey is the secret key that the line asks with.
const lineKey = "sk_test_line"

// line is the whole line: a client, a server, a gate, and a simulated Clerk
// over real sockets.
type line struct {
	clerkgatev1.UserServiceClient
	conn    *grpc.ClientConn
	sim     *clerksim.Sim
	httpURL string
}

// startLine runs a whole line until the test ends.
func startLine(t testing.TB, simulated clerksim.Config, q quota.Config) *line {
	return startTracedLine(t, simulated, q, nil, func(http.Header) {})
}

// startTracedLine is startLine with spans, made by traces unless it is nil.
// arrived is called with the headers of each request to Clerk.
func startTracedLine(t testing.TB, simulated clerksim.Config, q quota.Config, traces trace.TracerProvider, arrived func(http.Header)) *line {
	t.Helper()
	sim, err := clerksim.New(simulated)
	if err != nil {
		t.Fatal(err)
	}
	clerk := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived(r.Header)
		sim.ServeHTTP(w, r)
	}))
	var tracer trace.Tracer
	if traces != nil {
		tracer = traces.Tracer("line")
	}
	client, err := clerkapi.New(clerkapi.Config{BaseURL: clerk.URL, Key: func() string { return lineKey }, Timeout: patience, Tracer: tracer})
	if err != nil {
		t.Fatal(err)
	}
	store, err := usercache.NewStore(usercache.Config{})
	if err != nil {
		t.Fatal(err)
	}
	callers, observer := usage.New(), telemetry.NewGateObserver(tracer)
	g := gate.New(gate.Config{Upstream: client, Quota: q, Callers: callers, Stamp: store.Stamp, Keep: store.Keep, Observer: observer})
	cache, metrics := usercache.New(store, g, callers), prometheus.NewRegistry()
	addrs := make(chan server.Addresses, 1)
	s := server.New(server.Config{
		Users: cache, Quota: g, Requests: observer, GRPCListen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0", Logger: leaktest.Logger(slog.DiscardHandler),
		Metrics: metrics, Traces: traces, DefaultTimeout: patience, FullView: server.FullViewAny,
		OnListen: func(a server.Addresses) { addrs <- a },
	})
	err = telemetry.Register(metrics, telemetry.Sources{
		Version: "test", Gate: g, Requests: observer, Cache: cache, Store: store, Webhooks: webhook.New(webhook.Config{}), Server: s,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	gateCtx, stopGate := context.WithCancel(context.Background())
	served, gated, stored := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() { gated <- g.Run(gateCtx) }()
	go func() { stored <- store.Run(gateCtx) }()
	go func() { served <- s.Run(ctx) }()
	listening := <-addrs
	conn, err := leaktest.Dial(listening.GRPC.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		leaktest.Pages("http://" + listening.HTTP.String())
		conn.Close()
		stop()
		if err := <-served; err != nil {
			t.Errorf("server: %v", err)
		}
		stopGate()
		if err := <-gated; err != nil {
			t.Errorf("gate: %v", err)
		}
		if err := <-stored; err != nil {
			t.Errorf("store: %v", err)
		}
		client.CloseIdleConnections()
		clerk.Close()
	})
	return &line{clerkgatev1.NewUserServiceClient(conn), conn, sim, "http://" + listening.HTTP.String()}
}

// failureOf returns code, reason and field of a call's failure.
func failureOf(err error) string {
	st := status.Convert(err)
	text := st.Code().String()
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			text += " " + d.GetReason()
		case *errdetails.BadRequest:
			text += " " + d.GetFieldViolations()[0].GetField()
		}
	}
	return text
}

func idsOf(users []*clerkgatev1.User) []string {
	var ids []string
	for _, u := range users {
		ids = append(ids, u.GetId())
	}
	return ids
}

// TestNothingInvalidReachesClerk sends what can't be: Clerk is asked for nothing.
func TestNothingInvalidReachesClerk(t *testing.T) {
	l := startLine(t, clerksim.Config{Users: 5}, quota.Config{})
	for _, id := range []string{"-user_x", "+user_x", "../organizations", "", "user_", "user_a&limit=1", "user_ä", "user_" + strings.Repeat("x", 129)} {
		if _, err := l.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: id}); failureOf(err) != "InvalidArgument INVALID_ARGUMENT user_id" {
			t.Errorf("id %q: %v", id, err)
		}
		resp, err := l.BatchGetUsers(t.Context(), &clerkgatev1.BatchGetUsersRequest{UserIds: []string{id}})
		if err != nil || resp.Results[0].GetError().GetReason() != clerkgatev1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT {
			t.Errorf("id %q in a batch: %v, %v", id, resp, err)
		}
	}
	for _, ids := range [][]string{nil, slices.Repeat([]string{"user_1"}, 101)} {
		if _, err := l.BatchGetUsers(t.Context(), &clerkgatev1.BatchGetUsersRequest{UserIds: ids}); failureOf(err) != "InvalidArgument INVALID_ARGUMENT user_ids" {
			t.Errorf("%d ids: %v", len(ids), err)
		}
	}
	_, err := l.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: "user_1", MaxAge: durationpb.New(-time.Second)})
	if failureOf(err) != "InvalidArgument INVALID_ARGUMENT max_age" {
		t.Error(err)
	}
	for field, req := range map[string]*clerkgatev1.ListUsersRequest{
		"page_size":                                  {PageSize: -1},
		"page_token":                                 {PageToken: "damaged"},
		"order_by":                                   {OrderBy: "created_at&limit=500"},
		"filter.user_ids.values":                     {Filter: &clerkgatev1.UserFilter{UserIds: &clerkgatev1.StringList{}}},
		"filter.user_ids.values[0]":                  {Filter: &clerkgatev1.UserFilter{UserIds: &clerkgatev1.StringList{Values: []string{"-user_x"}}}},
		"filter.excluded_user_ids.values[0]":         {Filter: &clerkgatev1.UserFilter{ExcludedUserIds: &clerkgatev1.StringList{Values: []string{"+user_x"}}}},
		"filter.external_ids.values[0]":              {Filter: &clerkgatev1.UserFilter{ExternalIds: &clerkgatev1.StringList{Values: []string{"-x"}}}},
		"filter.email_addresses.values[0]":           {Filter: &clerkgatev1.UserFilter{EmailAddresses: &clerkgatev1.StringList{Values: []string{""}}}},
		"filter.created_at_after":                    {Filter: &clerkgatev1.UserFilter{CreatedAtAfter: &timestamppb.Timestamp{Nanos: -1}}},
		"filter.provider_user_ids":                   {Filter: &clerkgatev1.UserFilter{ProviderUserIds: &clerkgatev1.StringList{Values: []string{"1"}}}},
		"filter.excluded_organization_ids.values[0]": {Filter: &clerkgatev1.UserFilter{ExcludedOrganizationIds: &clerkgatev1.StringList{Values: []string{"-org_1"}}}},
	} {
		if _, err := l.ListUsers(t.Context(), req); failureOf(err) != "InvalidArgument INVALID_ARGUMENT "+field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if n := l.sim.Stats().Requests; n != 0 {
		t.Errorf("the simulator has counted %d requests", n)
	}
}

func TestWholeLine(t *testing.T) {
	l := startLine(t, clerksim.Config{Users: 1200}, quota.Config{Limit: 1000})
	ids := l.sim.UserIDs(1200)

	got, err := l.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: ids[0], View: clerkgatev1.UserView_USER_VIEW_FULL})
	if err != nil || got.User.GetId() != ids[0] || got.Freshness.GetServedFrom() != clerkgatev1.ServedFrom_SERVED_FROM_UPSTREAM || got.Freshness.GetFetchTime() == nil {
		t.Errorf("%v, %v", got, err)
	}
	_, err = l.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: "user_none"})
	if failureOf(err) != "NotFound USER_NOT_FOUND" {
		t.Error(err)
	}
	batch, err := l.BatchGetUsers(t.Context(), &clerkgatev1.BatchGetUsersRequest{UserIds: []string{ids[7], "user_none", "-user_x", ids[3], ids[7]}})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, r := range batch.Results {
		found = append(found, r.GetUser().GetId())
	}
	if diff := cmp.Diff([]string{ids[7], "", "", ids[3], ids[7]}, found); diff != "" {
		t.Errorf("batch (-want +got):\n%s", diff)
	}

	count, err := l.CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{})
	if err != nil || count.TotalCount != 1200 {
		t.Errorf("%v, %v", count, err)
	}
	for _, order := range []string{"-created_at", "last_name"} {
		req := &clerkgatev1.ListUsersRequest{OrderBy: order, PageSize: 500}
		seen := map[string]bool{}
		for pages := 1; ; pages++ {
			resp, err := l.ListUsers(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range idsOf(resp.Users) {
				seen[id] = true
			}
			if req.PageToken = resp.NextPageToken; req.PageToken == "" {
				if pages != 3 || len(seen) != 1200 {
					t.Errorf("%s: %d users in %d pages", order, len(seen), pages)
				}
				break
			}
		}
	}
	one, err := l.ListUsers(t.Context(), &clerkgatev1.ListUsersRequest{Filter: &clerkgatev1.UserFilter{UserIds: &clerkgatev1.StringList{Values: ids[:2]}, Banned: proto.Bool(false)}})
	if err != nil || len(one.Users) > 2 {
		t.Errorf("%v, %v", one, err)
	}
}

// TestStreamLosesNobody deletes the last user of each message while a stream of
// everybody is read and broken off after each message.
func TestStreamLosesNobody(t *testing.T) {
	l := startLine(t, clerksim.Config{Users: 1200}, quota.Config{Limit: 1000})
	want := l.sim.UserIDs(1200)
	var got []string
	req := &clerkgatev1.StreamUsersRequest{}
	for done := false; !done; {
		ctx, breakOff := context.WithCancel(t.Context())
		stream, err := l.StreamUsers(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, idsOf(m.Users)...)
		req.ResumeToken = m.ResumeToken
		if done = m.ResumeToken == ""; done {
			if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
				t.Errorf("after the last message: %v", err)
			}
		} else if err := l.sim.Delete(got[len(got)-1]); err != nil {
			t.Fatal(err)
		}
		breakOff()
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestThousandCallers asks for 1,000 users at once, each by a caller of its own.
func TestThousandCallers(t *testing.T) {
	l := startLine(t, clerksim.Config{
		Users: 1000, Latency: 20 * time.Millisecond,
		Quota: clerksim.Quota{Limit: 100, Burst: 200},
	}, quota.Config{Limit: 100, Burst: 200})
	ids := l.sim.UserIDs(1000)
	errs := make([]error, len(ids))
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i, id := range ids {
		wg.Go(func() {
			<-begin
			resp, err := l.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: id})
			if err == nil && resp.User.GetId() != id {
				err = fmt.Errorf("asked for %s, got %s", id, resp.User.GetId())
			}
			errs[i] = err
		})
	}
	close(begin)
	wg.Wait()
	failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	stats := l.sim.Stats()
	if len(failed) > 0 || stats.Requests > 25 || stats.RateLimited > 0 || stats.IDs != 1000 {
		t.Errorf("%d calls failed, such as %v; %d requests for %d ids, %d answered 429",
			len(failed), slices.Concat(failed, []error{nil})[0], stats.Requests, stats.IDs, stats.RateLimited)
	}
}
