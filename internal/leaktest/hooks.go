package leaktest

import (
	"bytes"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/clerkgate/clerkgate/internal/caller"
)

// wholeRun reports whether all tests of the package run.
func wholeRun() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.bench"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return false
		}
	}
	short := flag.Lookup("test.short")
	return short == nil || short.Value.String() != "true"
}

// watchDefaults watches the default logger and the default HTTP client.
func watchDefaults() {
	slog.SetDefault(Logger(slog.DiscardHandler))
	http.DefaultClient.Transport = Transport(http.DefaultTransport)
}

// Writer returns w, watched. Each write must be of whole lines.
func Writer(kind Kind, w io.Writer) io.Writer { return writer{kind, w} }

type writer struct {
	kind Kind
	io.Writer
}

func (w writer) Write(p []byte) (int, error) {
	Saw(w.kind, string(p))
	return w.Writer.Write(p)
}

// Logger returns a logger to a handler. All its lines are watched, at debug level too.
func Logger(to slog.Handler) *slog.Logger {
	watched := slog.NewTextHandler(Writer(Log, io.Discard), &slog.HandlerOptions{Level: slog.LevelDebug})
	return slog.New(slog.NewMultiHandler(to, watched))
}

// Dial is grpc.NewClient with watched answers, errors, headers and trailers.
func Dial(target string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient(target, append(options, DialOptions()...)...)
}

// DialOptions returns the options with which Dial watches a connection.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(unary), grpc.WithChainStreamInterceptor(stream)}
}

func unary(ctx context.Context, method string, req, resp any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	var header, trailer metadata.MD
	err := invoke(ctx, method, req, resp, conn, append(options, grpc.Header(&header), grpc.Trailer(&trailer))...)
	sawAnswer(resp, err)
	Saw(Answer, fmt.Sprint(header, trailer))
	return err
}

func sawAnswer(m any, err error) {
	if err != nil {
		Saw(Error, fmt.Sprint(err, status.Convert(err).Details()))
		return
	}
	if m, ok := m.(proto.Message); ok {
		b, _ := proto.Marshal(m) // texts are in it as they are
		Saw(Answer, string(b))
	}
}

func stream(ctx context.Context, d *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, d, conn, method, options...)
	if err != nil {
		sawAnswer(nil, err)
		return nil, err
	}
	return &watchedStream{s}, nil
}

type watchedStream struct{ grpc.ClientStream }

func (s *watchedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	sawAnswer(m, err)
	if err != nil {
		Saw(Answer, fmt.Sprint(s.Trailer()))
	}
	return err
}

// Transport returns t with watched answers. A body is looked at once it is read or closed.
func Transport(t http.RoundTripper) http.RoundTripper { return transport{t} }

type transport struct{ http.RoundTripper }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	Saw(HTTP, fmt.Sprint(resp.Status, resp.Header))
	resp.Body = &body{ReadCloser: resp.Body}
	return resp, nil
}

// CloseIdleConnections is for http.Client's method of this name.
func (t transport) CloseIdleConnections() {
	if c, ok := t.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

type body struct {
	io.ReadCloser
	read bytes.Buffer
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Write(p[:n])
	if err != nil {
		b.look()
	}
	return n, err
}

func (b *body) Close() error {
	b.look()
	return b.ReadCloser.Close()
}

// look looks for secrets in what was read since it last did.
func (b *body) look() {
	if b.read.Len() > 0 {
		Saw(HTTP, b.read.String())
		b.read.Reset()
	}
}

// viewer is the token of the caller in Viewer.
var viewer = caller.NewToken()

// Viewer returns an entry for a callers file: a caller that may see the metrics and the page,
// as which Pages reads them.
func Viewer() string {
	return fmt.Sprintf("{name: viewer, identity: {tokens: [{sha256: %s}]}, allow: {methods: [GetQuota, GetUsage], metrics: true}}",
		caller.HashToken(viewer))
}

// Pages reads the metrics and the page of a server by each of its URLs, and returns what the
// server refused to show: Viewer is missing in its callers file. A URL that does not answer is
// left out.
func Pages(urls ...string) (refused []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	watched := Transport(&http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true})
	for _, url := range urls {
		for _, path := range []string{"/metrics", "/", "/page/state"} {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
			if err != nil {
				panic(err)
			}
			req.Header.Set("Authorization", "Bearer "+viewer)
			if resp, err := watched.RoundTrip(req); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
					refused = append(refused, url+path)
				}
			}
		}
	}
	return refused
}

// Spans returns a processor that watches spans.
func Spans() sdktrace.SpanProcessor { return spans{} }

type spans struct{}

func (spans) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (spans) OnEnd(s sdktrace.ReadOnlySpan) {
	text := fmt.Sprint(s.Name(), s.Status())
	for _, a := range s.Attributes() {
		text += fmt.Sprintf(" %s=%q", a.Key, a.Value.String())
	}
	for _, e := range s.Events() {
		text += " " + e.Name
		for _, a := range e.Attributes {
			text += fmt.Sprintf(" %s=%q", a.Key, a.Value.String())
		}
	}
	Saw(Span, text)
}
func (spans) Shutdown(context.Context) error   { return nil }
func (spans) ForceFlush(context.Context) error { return nil }
