package client

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a server that answers as a test wants. Methods without a function are UNIMPLEMENTED.
type fake struct {
	clerkgatev1.UnimplementedUserServiceServer
	clerkgatev1.UnimplementedQuotaServiceServer

	get        func(context.Context, *clerkgatev1.GetUserRequest) (*clerkgatev1.GetUserResponse, error)
	batch      func(context.Context, *clerkgatev1.BatchGetUsersRequest) (*clerkgatev1.BatchGetUsersResponse, error)
	list       func(context.Context, *clerkgatev1.ListUsersRequest) (*clerkgatev1.ListUsersResponse, error)
	invalidate func(context.Context, *clerkgatev1.InvalidateUsersRequest) (*clerkgatev1.InvalidateUsersResponse, error)
	stream     func(*clerkgatev1.StreamUsersRequest, grpc.ServerStreamingServer[clerkgatev1.StreamUsersResponse]) error
	acquire    func(context.Context, *clerkgatev1.AcquirePermitsRequest) (*clerkgatev1.AcquirePermitsResponse, error)
	release    func(context.Context, *clerkgatev1.ReleasePermitsRequest) (*clerkgatev1.ReleasePermitsResponse, error)

	wrap func(net.Conn) net.Conn // nil: connections are as they are

	mu    sync.Mutex
	calls []fakeCall // guarded by mu
}

// fakeCall is a call that has arrived.
type fakeCall struct {
	method      string
	md          metadata.MD
	at          time.Time
	left        time.Duration // until the deadline
	hasDeadline bool
}

func (f *fake) arrived(ctx context.Context, method string) {
	md, _ := metadata.FromIncomingContext(ctx)
	c := fakeCall{method: method[strings.LastIndex(method, "/")+1:], md: md, at: time.Now()}
	if deadline, ok := ctx.Deadline(); ok {
		c.left, c.hasDeadline = time.Until(deadline), true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, c)
}

// taken returns the calls that have arrived since it was last called.
func (f *fake) taken() []fakeCall {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.calls = nil }()
	return f.calls
}

func (f *fake) GetUser(ctx context.Context, req *clerkgatev1.GetUserRequest) (*clerkgatev1.GetUserResponse, error) {
	return f.get(ctx, req)
}

func (f *fake) BatchGetUsers(ctx context.Context, req *clerkgatev1.BatchGetUsersRequest) (*clerkgatev1.BatchGetUsersResponse, error) {
	return f.batch(ctx, req)
}

func (f *fake) ListUsers(ctx context.Context, req *clerkgatev1.ListUsersRequest) (*clerkgatev1.ListUsersResponse, error) {
	return f.list(ctx, req)
}

func (f *fake) InvalidateUsers(ctx context.Context, req *clerkgatev1.InvalidateUsersRequest) (*clerkgatev1.InvalidateUsersResponse, error) {
	return f.invalidate(ctx, req)
}

func (f *fake) StreamUsers(req *clerkgatev1.StreamUsersRequest, s grpc.ServerStreamingServer[clerkgatev1.StreamUsersResponse]) error {
	return f.stream(req, s)
}

func (f *fake) AcquirePermits(ctx context.Context, req *clerkgatev1.AcquirePermitsRequest) (*clerkgatev1.AcquirePermitsResponse, error) {
	return f.acquire(ctx, req)
}

func (f *fake) ReleasePermits(ctx context.Context, req *clerkgatev1.ReleasePermitsRequest) (*clerkgatev1.ReleasePermitsResponse, error) {
	return f.release(ctx, req)
}

// start serves f in memory until stop is called, and returns a client of it.
func (f *fake) start(t *testing.T, cfg Config) (c *Client, stop func()) {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	s := grpc.NewServer(
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 4 * time.Second, PermitWithoutStream: true}), // as the real one
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			f.arrived(ctx, info.FullMethod)
			return next(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			f.arrived(ss.Context(), info.FullMethod)
			return next(srv, ss)
		}),
	)
	clerkgatev1.RegisterUserServiceServer(s, f)
	clerkgatev1.RegisterQuotaServiceServer(s, f)
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) })
	cfg.Address = "127.0.0.1:1"
	cfg.DialOptions = append(cfg.DialOptions, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		conn, err := l.DialContext(ctx)
		if err == nil && f.wrap != nil {
			conn = f.wrap(conn)
		}
		return conn, err
	}))
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c, func() {
		_ = c.Close()
		s.Stop()
		serving.Wait()
	}
}

// run calls test with a client of f, and ends both.
func (f *fake) run(t *testing.T, cfg Config, test func(c *Client)) {
	t.Helper()
	c, stop := f.start(t, cfg)
	defer stop()
	test(c)
}

// refusal returns an error as the server's. retry is 0 if no time is known.
func refusal(code codes.Code, reason string, retry time.Duration) error {
	st, err := status.New(code, "refused").WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: "clerkgate"})
	if err == nil && retry > 0 {
		st, err = st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retry)})
	}
	if err != nil {
		panic(err)
	}
	return st.Err()
}

// found returns the answer of GetUser for an id.
func found(id string) *clerkgatev1.GetUserResponse {
	return &clerkgatev1.GetUserResponse{User: &clerkgatev1.User{Id: id}, Freshness: &clerkgatev1.Freshness{}}
}
