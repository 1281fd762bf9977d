package deploy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// caller calls through a proxy.
type caller struct {
	users clerkgatev1.UserServiceClient
	quota clerkgatev1.QuotaServiceClient
}

func (c caller) ids(t *testing.T) (ids []string) {
	t.Helper()
	resp, err := c.users.ListUsers(t.Context(), &clerkgatev1.ListUsersRequest{PageSize: 500})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range resp.Users {
		ids = append(ids, u.Id)
	}
	return ids
}

func (c caller) unary(t *testing.T, ids []string) {
	resp, err := c.users.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: ids[0]})
	if err != nil || resp.User.GetId() != ids[0] {
		t.Errorf("%v, %v", resp, err)
	}
}

func (c caller) stream(t *testing.T) {
	stream, err := c.users.StreamUsers(t.Context(), &clerkgatev1.StreamUsersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range m.Users {
			seen[u.Id] = true
		}
	}
	if len(seen) != 1200 {
		t.Errorf("%d users, want 1200", len(seen))
	}
}

func (c caller) errorDetails(t *testing.T) {
	var trailer metadata.MD
	_, err := c.users.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: "-user_x"}, grpc.Trailer(&trailer))
	st := status.Convert(err)
	if st.Code() != codes.InvalidArgument || len(st.Details()) != 2 {
		t.Fatalf("%v, details %v", err, st.Details())
	}
	if info, ok := st.Details()[0].(*errdetails.ErrorInfo); !ok || info.Reason != "INVALID_ARGUMENT" {
		t.Errorf("details %v", st.Details())
	}
	if got := trailer.Get("clerkgate-reason"); len(got) != 1 || got[0] != "INVALID_ARGUMENT" {
		t.Errorf("trailer %v", trailer)
	}
}

// deadline calls while Clerk hangs: the deadline must reach the server, which
// answers with its reason.
func (c caller) deadline(t *testing.T, clerk string) {
	fault := func(method, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(context.Background(), method, clerk+"/sim/faults", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode/100 != 2 {
			text, _ := io.ReadAll(resp.Body)
			t.Fatalf("%s: %s", resp.Status, text)
		}
	}
	defer fault(http.MethodDelete, "")
	var got []string
	for range 10 { // the server answers 50 ms before the deadline, which a busy machine may need
		fault(http.MethodPost, `{"kind":"hang","count":1}`)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		var trailer metadata.MD
		_, err := c.users.CountUsers(ctx, &clerkgatev1.CountUsersRequest{}, grpc.Trailer(&trailer))
		cancel()
		if status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("%v", err)
		}
		if got = trailer.Get("clerkgate-reason"); len(got) > 0 {
			break
		}
	}
	if len(got) != 1 || got[0] != "DEADLINE_EXCEEDED" {
		t.Errorf("the server's reason is %q", got)
	}
}

func (c caller) cancellation(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := c.quota.WatchQuota(ctx, &clerkgatev1.WatchQuotaRequest{MinInterval: durationpb.New(100 * time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	for {
		if _, err := stream.Recv(); err != nil {
			if status.Code(err) != codes.Canceled {
				t.Errorf("%v", err)
			}
			return
		}
	}
}

// underLoad calls all the time, from twenty callers, while restart runs. No call
// may fail.
func (c caller) underLoad(t *testing.T, ids []string, restart func()) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var calls, failed atomic.Int64
	var first sync.Once
	for i := range 20 {
		wg.Go(func() {
			for n := i; ctx.Err() == nil; n += 20 {
				call, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
				_, err := c.users.GetUser(call, &clerkgatev1.GetUserRequest{UserId: ids[n%len(ids)]})
				cancel()
				calls.Add(1)
				if err != nil {
					failed.Add(1)
					first.Do(func() { t.Errorf("a call failed: %v", err) })
				}
				time.Sleep(20 * time.Millisecond) // a load of a thousand calls a second at most
			}
		})
	}
	restart()
	cancel()
	wg.Wait()
	t.Logf("%d calls, %d failed", calls.Load(), failed.Load())
	if calls.Load() < 100 {
		t.Errorf("only %d calls", calls.Load())
	}
}
