package server

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// httpCall is a call by HTTP.
type httpCall struct {
	request *http.Request
	address netip.Prefix // that limits are counted by
	control *http.ResponseController
	writer  *pacedWriter
	trailer trailer
	ran     bool   // whether the interceptors have run
	release func() // frees the answer, if it is set
}

// httpCallKey is the context key of a call's *httpCall.
type httpCallKey struct{}

// callOf returns the call of a context that has one.
func callOf(ctx context.Context) *httpCall { return ctx.Value(httpCallKey{}).(*httpCall) }

// unknownPeer is the address of a peer that is not known. It is on no machine.
type unknownPeer struct{}

func (unknownPeer) Network() string { return "unknown" }
func (unknownPeer) String() string  { return "unknown" }

// peerOf returns the address of a request's peer.
func peerOf(r *http.Request) net.Addr {
	if c, ok := r.Context().Value(connectionKey{}).(connection); ok && c.peer != nil {
		return c.peer
	}
	return unknownPeer{}
}

func newHTTPCall(w http.ResponseWriter, r *http.Request, sendTimeout time.Duration) *httpCall {
	control := http.NewResponseController(w)
	return &httpCall{
		request: r, address: addressOf(peerOf(r)), control: control,
		writer: &pacedWriter{ResponseWriter: w, control: control, timeout: sendTimeout},
	}
}

// begin lifts the bounds of the request, which has been read: the call may wait for as
// long as its deadline allows.
func (c *httpCall) begin() {
	_ = c.control.SetReadDeadline(time.Time{})
	_ = c.control.SetWriteDeadline(time.Time{})
}

// end frees what the call holds.
func (c *httpCall) end() {
	if c.release != nil {
		c.release()
	}
}

// context returns ctx as gRPC hands it to its interceptors: with the peer, the metadata
// and the place of the trailers.
func (c *httpCall) context(ctx context.Context) context.Context {
	return grpc.NewContextWithServerTransportStream(incomingContext(ctx, c.request), &transportStream{c.request.URL.Path, &c.trailer})
}

// incomingContext returns ctx with the peer and the metadata of a request.
func incomingContext(ctx context.Context, r *http.Request) context.Context {
	p := &peer.Peer{Addr: peerOf(r)}
	if r.TLS != nil {
		p.AuthInfo = credentials.TLSInfo{
			State:          *r.TLS,
			CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		}
	}
	return metadata.NewIncomingContext(peer.NewContext(ctx, p), metadataOf(r.Header))
}

// metadataOf returns the headers of a request as the metadata of a call, without those
// of the protocols.
func metadataOf(h http.Header) metadata.MD {
	md := make(metadata.MD, len(h))
	for k, values := range h {
		k = strings.ToLower(k)
		if strings.HasPrefix(k, "grpc-") || strings.HasPrefix(k, "connect-") || strings.HasPrefix(k, "content-") || k == "cookie" {
			continue
		}
		md[k] = append(md[k], values...)
	}
	return md
}

// trailer collects the trailers of a call. It is safe for concurrent use.
type trailer struct {
	mu sync.Mutex
	md metadata.MD // guarded by mu
}

func (t *trailer) add(md metadata.MD) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.md = metadata.Join(t.md, md)
}

func (t *trailer) get() metadata.MD {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.md
}

// transportStream receives the trailers that grpc.SetTrailer sets for a unary call.
type transportStream struct {
	method  string
	trailer *trailer
}

func (s *transportStream) Method() string               { return s.method }
func (s *transportStream) SetHeader(metadata.MD) error  { return nil }
func (s *transportStream) SendHeader(metadata.MD) error { return nil }
func (s *transportStream) SetTrailer(md metadata.MD) error {
	s.trailer.add(md)
	return nil
}
